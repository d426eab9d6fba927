"""What a fault is given to work on."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.parts import Node, Parts


@dataclass(frozen=True)
class Stage:
    """What a fault works on.

    Attributes:
        parts: All of them.
        node: The one that was drawn for this fault.
        chance: What else is left to chance.
        hold: Waits for as long as the plan says that the fault lasts.
    """

    parts: Parts
    node: Node
    chance: random.Random
    hold: Callable[[], None]
