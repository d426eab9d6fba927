"""What is to be done after the answer: each job is a row written by the transaction that causes it (DESIGN 5.6)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class LoginSucceeded:
    """A user logged in; the worker writes `users.last_login`.

    Attributes:
        at: When the session was opened, by the primary's clock, aware, UTC.
    """

    user_id: UUID
    at: datetime
