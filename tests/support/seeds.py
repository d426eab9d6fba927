"""The seed of everything that a race leaves to chance, printed so that a failure can be repeated."""

import os
import random
from typing import Final

SEED: Final = int(os.environ.get("TIDEGATE_TEST_SEED", "20261122"))


def seeded(name: str) -> random.Random:
    """What the race *name* draws from; repeat a run with TIDEGATE_TEST_SEED set to the seed that was printed."""
    print(f"TIDEGATE_TEST_SEED={SEED} for {name}")
    return random.Random(f"{SEED} {name}")
