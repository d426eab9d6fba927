"""What is to happen in a run: which faults, where, and for how long, drawn from a seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

REPLICAS: Final = 2
"""How many follow the primary, where a fault needs any."""

_HOLD_S: Final = (0.5, 3.5)


@dataclass(frozen=True)
class Planned:
    """One fault of a plan."""

    name: str
    node: str
    hold_s: float


def plan_of(seed: int, names: Sequence[str], *, count: int | None = None, hold_s: float | None = None) -> list[Planned]:
    """*count* of *names* in an order of chance, or each of them in the given order; on nodes and for times of chance."""
    chance = random.Random(f"plan {seed}")
    drawn = list(names) if count is None else chance.sample(list(names), count)
    return [Planned(name, chance.choice(("node-1", "node-2")), hold_s or chance.uniform(*_HOLD_S)) for name in drawn]
