"""What is to be done after the answer: each job is a row written by the transaction that causes it (DESIGN 5.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class JobKind(StrEnum):
    """What happened, or is to be done; the values are those in the tables `jobs` and `audit`."""

    LOGIN_SUCCEEDED = "login_succeeded"
    USER_REGISTERED = "user_registered"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - not one
    SESSION_REVOKED = "session_revoked"
    SESSIONS_REVOKED = "sessions_revoked"
    REFRESH_REUSED = "refresh_reused"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"
    WELCOME_DUE = "welcome_due"
    SEAT_HELD = "seat_held"
    SEAT_LAPSED = "seat_lapsed"
    COUPON_GRANTED = "coupon_granted"
    COUPON_RESERVED = "coupon_reserved"
    COUPON_RELEASED = "coupon_released"
    COUPON_REDEEMED = "coupon_redeemed"
    COUPON_VOIDED = "coupon_voided"
    CAMPAIGN_CHANGED = "campaign_changed"
    """About a campaign, whose id stands in the place of a user's."""


NOTICES: Final = (JobKind.WELCOME_DUE,)
"""The kinds that reach outside; the indexes of `jobs` know them too."""

RECORDED: Final = tuple(kind for kind in JobKind if kind not in NOTICES)
"""The kinds that become rows of `audit`."""

UNFINISHED: Final = "Unfinished"
"""In the place of an error's class: a try that began and did not end. Its worker died or was stopped, or the database cut
it off; nobody knows whose fault that was."""

BACK_OFF_S_MIN: Final = 1.0
BACK_OFF_S_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job as a worker holds it.

    Attributes:
        job_id: Given by the database; every delivery and every try has the same.
        user_id: Whom it is about; they may be gone. For `CAMPAIGN_CHANGED`: which campaign.
        at: When what caused it happened, by the primary's clock, aware, UTC.
        tries: How often it has failed, or has been begun alone and not ended.
    """

    job_id: int
    kind: JobKind
    user_id: UUID
    at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """One job that is to be published.

    Attributes:
        tries: How often it has failed.
        age_s: How long ago it was put, in seconds.
    """

    job_id: int
    tries: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs wait, and for how long the oldest has, in seconds."""

    waiting: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a notice goes to.

    Attributes:
        email: None: they gave none.
    """

    user_id: UUID
    email: str | None
    full_name: str | None


class NoticeUndelivered(Exception):  # noqa: N818 - it names what is the case
    """A notice could not be handed over.

    Attributes:
        why: The class of what went wrong, such as ``SMTPRecipientsRefused``; never an address.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def back_off_s(tries: int, *, share: float) -> float:
    """How long a job waits after its failure number *tries*, in seconds.

    Args:
        tries: From 1; each doubles the wait, up to a bound.
        share: Drawn from 0 to 1: the wait lies between its half and its whole, so that those who failed together do not
            come back together.
    """
    longest = min(BACK_OFF_S_MAX, BACK_OFF_S_MIN * (1 << min(tries - 1, 32)))
    return longest * (0.5 + 0.5 * share)


def halves(jobs: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Split a batch in which one job must be at fault."""
    middle = len(jobs) // 2
    return jobs[:middle], jobs[middle:]
