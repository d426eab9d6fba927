"""What is said of a setting where it is declared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a setting is for, and which values it takes.

    Attributes:
        text: A sentence.
        unit: In words, empty where a number counts things or there is no number.
        low: The least value.
        high: The greatest value.
        choices: All values, where they are few.
        is_secret: Never shown; `.._FILE` is accepted.
        otherwise: For a default that is computed, how.
        for_up: Read by `tidegate up` only.
    """

    text: str
    unit: str = ""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    is_secret: bool = False
    otherwise: str = ""
    for_up: bool = False
