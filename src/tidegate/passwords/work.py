"""What a hash thread can be given: a hash in Argon2, which may be computed in turn with another, or any other work."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.passwords.engine import ENGINE
from tidegate.passwords.notations import StoredHash
from tidegate.passwords.notations.argon2 import Argon2Hash, Argon2Work


@dataclass(frozen=True, slots=True, repr=False)
class Alone:
    """Work that a thread does by itself. It has no repr, for it holds the password.

    Attributes:
        compute: Lets go of the GIL meanwhile.
    """

    compute: Callable[[], Any]


Work = Argon2Work[Any] | Alone


def verifying(stored: StoredHash, password: bytes) -> Work:
    """The work of comparing *password* with *stored*."""
    if isinstance(stored, Argon2Hash):
        return stored.work(password)
    return Alone(lambda: stored.verify(password))


def kind_of(work: Work) -> Hashable:
    """What is equal for works that can be computed in turn; None for one that cannot."""
    return work.cost if isinstance(work, Argon2Work) and work.cost.lanes == 1 else None


def compute(works: Sequence[Work]) -> list[Any]:
    """The results of *works*: one, or several of the same kind, computed in turn.

    Raises:
        MemoryError: There is not enough of it.
    """
    first, *others = works
    if isinstance(first, Alone):
        return [first.compute()]
    if not others:
        return [first.alone()]
    together = [first, *(other for other in others if isinstance(other, Argon2Work))]
    digests = ENGINE.digests(first.cost, [work.given for work in together])
    return [work.conclude(digest) for work, digest in zip(together, digests, strict=True)]
