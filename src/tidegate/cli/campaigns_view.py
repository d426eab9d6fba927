"""How a campaign that is watched is shown: a page that is drawn anew in its place, a line a look, or JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tidegate.domain.campaigns import CampaignState, RankBy
from tidegate.wiring.administration import JOBS_COUNTED_MAX, CampaignLook

_COLOURS: Final[Mapping[CampaignState, str]] = {
    CampaignState.DRAFT: "33",
    CampaignState.ACTIVE: "32",
    CampaignState.PAUSED: "33",
    CampaignState.ENDED: "31",
    CampaignState.EXHAUSTED: "35",
}
"""SGR parameters of ECMA-48."""

_ORDER: Final[Mapping[RankBy, str]] = {
    RankBy.LOGIN: "by first login",
    RankBy.REGISTRATION: "by registration",
}
_LABEL_LETTERS: Final = 14
_NUMBER_LETTERS: Final = 10
_BAR_LETTERS_MAX: Final = 60
_UNHEARD: Final = "the database does not answer; this goes on when it does"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A campaign, and how fast it went since the look before.

    Attributes:
        at: When it was looked at; aware.
        registrations_per_s: Since the look before, as the other two; 0 at the first.
    """

    look: CampaignLook
    at: datetime
    registrations_per_s: float = 0.0
    first_logins_per_s: float = 0.0
    grants_per_s: float = 0.0


def watched(look: CampaignLook, *, at: datetime, before: Watched | None) -> Watched:
    """Compare *look* with the one *before*. What became less, since it was counted anew or voided, has no speed."""
    if before is None:
        return Watched(look=look, at=at)
    seconds = max(0.001, (at - before.at).total_seconds())

    def speed(now: int, then: int) -> float:
        return max(0, now - then) / seconds

    return Watched(
        look=look,
        at=at,
        registrations_per_s=speed(look.registrations, before.look.registrations),
        first_logins_per_s=speed(look.first_logins, before.look.first_logins),
        grants_per_s=speed(look.issued, before.look.issued),
    )


def page(shown: Watched, *, width: int, height: int, is_coloured: bool, is_heard: bool = True) -> list[str]:
    """All of it, in at most *height* lines of *width* letters; *is_heard*: whether the last look was answered."""
    look = shown.look
    head = f"{look.code}: {look.state}, {_ORDER[look.rank_by]}, closes {_utc(look.closes_at)}; {look.name}"[:width]
    held = f"   {look.held} held" if look.held else ""
    lines = [
        head,
        _row("registrations", look.registrations, _per_s(shown.registrations_per_s)),
        _row("first logins", look.first_logins, _per_s(shown.first_logins_per_s)),
        _row("coupons", look.issued, f"{_per_s(shown.grants_per_s)}   of {look.cap}{held}"),
        _row("seats left", look.left, _bar(look, width=width - _LABEL_LETTERS - _NUMBER_LETTERS - 3)),
        _row("jobs waiting", _jobs(look), f"   oldest {look.oldest_job_s:.1f} s"),
        _row("last coupon", _delay(look), "   after the first login" if look.last_delay_s is not None else ""),
        "Ctrl-C ends this view and nothing else" if is_heard else _UNHEARD,
    ]
    lines = [line[:width].rstrip() for line in lines]
    if is_coloured:
        lines[0] = lines[0].replace(f": {look.state},", f": \x1b[{_COLOURS[look.state]}m{look.state}\x1b[0m,", 1)
    return lines if len(lines) <= height else [*lines[: max(0, height - 1)], "..."[:width]][:height]


def line(shown: Watched) -> str:
    """All of it in one line, for a log."""
    look = shown.look
    delay = "" if look.last_delay_s is None else f", last coupon {look.last_delay_s:.1f} s after the first login"
    return (
        f"{shown.at:%H:%M:%S} {look.code} {look.state}: {look.registrations} registrations, "
        f"{look.first_logins} first logins, {look.issued} of {look.cap} coupons ({shown.grants_per_s:.0f}/s), "
        f"{look.left} seats left, {look.held} held, {_jobs(look)} jobs wait (oldest {look.oldest_job_s:.1f} s){delay}"
    )


def unheard(at: datetime) -> str:
    """What is told instead when the database does not answer."""
    return f"{at:%H:%M:%S} {_UNHEARD}"


def json_of(shown: Watched) -> dict[str, Any]:
    """All of it for a program: speeds a second, delays in seconds."""
    look = shown.look
    return {
        "at": shown.at.isoformat(timespec="milliseconds"),
        "code": look.code,
        "state": look.state,
        "registrations": look.registrations,
        "registrations_per_s": round(shown.registrations_per_s, 1),
        "first_logins": look.first_logins,
        "first_logins_per_s": round(shown.first_logins_per_s, 1),
        "cap": look.cap,
        "issued": look.issued,
        "grants_per_s": round(shown.grants_per_s, 1),
        "left": look.left,
        "held": look.held,
        "jobs_waiting": look.jobs_waiting,
        "oldest_job_s": round(look.oldest_job_s, 3),
        "last_delay_s": None if look.last_delay_s is None else round(look.last_delay_s, 3),
    }


def _row(label: str, value: int | str, after: str) -> str:
    return f"{label:<{_LABEL_LETTERS}}{value:>{_NUMBER_LETTERS}}{after}"


def _per_s(speed: float) -> str:
    return f"{speed:>8.0f}/s" if speed else " " * 10


def _bar(look: CampaignLook, *, width: int) -> str:
    letters = min(_BAR_LETTERS_MAX, width - 2)
    if letters < 1:
        return ""
    issued = letters * look.issued // look.cap
    taken = letters * (look.issued + look.held) // look.cap
    return f"   [{'#' * issued}{'+' * (taken - issued)}{'.' * (letters - taken)}]"


def _jobs(look: CampaignLook) -> str:
    return f"{look.jobs_waiting}{'+' if look.jobs_waiting >= JOBS_COUNTED_MAX else ''}"


def _delay(look: CampaignLook) -> str:
    return "-" if look.last_delay_s is None else f"{look.last_delay_s:.1f} s"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
