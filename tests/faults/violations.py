"""What checkers find."""

from dataclasses import dataclass
from typing import Final

from tests.faults.history import Call, shown

LOGIN_SUCCEEDED: Final = "login_succeeded"
"""The kind of job whose effect is when its user last logged in, and whose number is a place in the line of a campaign."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken.

    Attributes:
        what: In words.
        calls: The proof.
    """

    what: str
    calls: tuple[Call, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}\n{shown(self.calls)}" if self.calls else self.what
