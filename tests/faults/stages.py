"""What a fault is given to work on."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.calling import Caller, Calls, Person
from tests.faults.history import Recorder
from tests.faults.parts import Node, Parts


@dataclass(frozen=True)
class Stage:
    """What a fault works on.

    Attributes:
        parts: All of them.
        node: The one that was drawn for this fault.
        chance: What else is left to chance.
        hold: Waits for as long as the plan says that the fault lasts.
        recorder: For what the fault asks for itself, beside the clients.
        persons: Whom the fault has registered itself; they are looked up in the end, as everybody is.
    """

    parts: Parts
    node: Node
    chance: random.Random
    hold: Callable[[], None]
    recorder: Recorder
    persons: list[Person] = field(default_factory=list)

    def calls(self, name: str) -> Calls:
        """A client of the fault's own, called *name*."""
        return Calls(name, self.recorder, Caller({node.name: node.front.port for node in self.parts.nodes}))

    def other_node(self) -> Node:
        """One that was not drawn."""
        return next(node for node in self.parts.nodes if node is not self.node)
