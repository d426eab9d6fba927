"""What time it is."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time of this node; it never decides what has expired in the database."""

    def now(self) -> datetime:
        """Now, aware, UTC."""
