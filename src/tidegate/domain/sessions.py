"""One login on one device: what is kept of it, and what can happen to its refresh token."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

FIRST_GENERATION = 0
"""The generation of the refresh token that a login hands out; each rotation adds one (DESIGN 5.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session about to be opened.

    Attributes:
        device: What the client calls itself (User-Agent), cut to 255 characters; None when it said nothing.
        address: The client's address, textual.
    """

    session_id: UUID
    user_id: UUID
    device: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """What a user may see of one of their live sessions. Times are aware, UTC."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    device: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLifetimes:
    """How long a session lives. All in seconds.

    Attributes:
        idle_s: Without a refresh.
        absolute_s: Whatever happens.
        reuse_grace_s: How long after a rotation the token that was replaced still yields the same successor.
    """

    idle_s: int
    absolute_s: int
    reuse_grace_s: int


class Fate(Enum):
    """What presenting a refresh token of generation g did to its session."""

    ROTATED = auto()
    """g was the live one: the session is now at g + 1."""
    REPEATED = auto()
    """g was replaced a moment ago and its successor is unused: the same successor again, nothing changed."""
    REUSED = auto()
    """g is older than that: the session is revoked now, and that is committed."""
    DEAD = auto()
    """No such session, or it is expired or revoked, or its user is gone."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The outcome of one refresh.

    Attributes:
        fate: What happened.
        user_id: Whose session; None when `fate` is DEAD.
    """

    fate: Fate
    user_id: UUID | None
