"""What one node changes and the others must hear of, and the words in which they ask whether they have heard everything."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class ChangeKind(StrEnum):
    """What has changed; the triggers of storage/schema.sql write these words."""

    SESSION_REVOKED = "session_revoked"
    PROFILE_CHANGED = "profile_changed"
    USER_ADDED = "user_added"
    USERS_ADDED = "users_added"
    """So many by one statement that they are not told one by one; without a subject."""
    LOST = "lost"
    """Changes were dropped untold; without a subject. Whoever hears of it has missed something."""


class Change(NamedTuple):
    """A change that waits to be told.

    Attributes:
        change_id: Of the row; says nothing of the order in which changes were committed.
        kind: A `ChangeKind`, or a word of a newer release.
        subject_id: Of the session or the user.
    """

    change_id: int
    kind: str
    subject_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message to all nodes: all changes that were waiting at one moment.

    Attributes:
        marker: Random, of this message alone.
        revoked: Sessions.
        changed: Users whose profiles have changed.
        added: New users.
        added_many: There are more new users, who are not named.
        has_lost: Changes were dropped untold.
    """

    marker: str
    revoked: tuple[UUID, ...] = ()
    changed: tuple[UUID, ...] = ()
    added: tuple[UUID, ...] = ()
    added_many: bool = False
    has_lost: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Asks to be told everything that is committed, and when that is done.

    Attributes:
        number: Of the one who asks.
        relay: Who is to answer; empty: everybody.
    """

    number: int
    relay: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Whatever was committed before the question reached the relay is told, in the message of this marker or before it.

    Attributes:
        number: Of the question.
        marker: Of a message that the stream has acknowledged.
        relay: Who answers.
    """

    number: int
    marker: str
    relay: str
