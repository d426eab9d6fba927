"""What happened in a run: every call as its client saw it, every fault, and what was read back at the end.

A history is all that a checker may look at. It holds no password and no token: passwords are known by labels, tokens by the
beginnings of their digests.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

BALANCER: Final = "balancer"
"""Whom clients ask, in a run in which they do not know the nodes."""


class Outcome(StrEnum):
    """How a call ended, as far as its client can tell."""

    OK = "ok"
    """It was acknowledged: whatever it promises must be so from now on."""
    REFUSED = "refused"
    """It was told no: it has changed nothing."""
    UNKNOWN = "unknown"
    """No answer, half an answer, or 5xx: it may have taken effect, may still do so, or never. Proof of nothing."""


class Kind(StrEnum):
    """What was asked for."""

    REGISTER = "register"
    LOGIN = "login"
    REFRESH = "refresh"
    LOGOUT = "logout"
    ME = "me"
    CHANGE_PROFILE = "change profile"
    CHANGE_PASSWORD = "change password"
    DISABLE = "disable"
    ENABLE = "enable"
    LOOK_UP = "look up"
    """In the primary itself, after the run: OK when the row is there, REFUSED when it is not."""
    PROBE = "probe"
    """A whole round of register, login, /me and refresh on one node: OK only if all of them were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call.

    Attributes:
        number: In the order in which calls began.
        client: Who asked; one client asks one thing after the other, except where it races with itself.
        node: Who was asked.
        began_s: Before the first byte was sent; on the clock of the harness.
        ended_s: After the last byte of the answer had come, or it was clear that none would.
        status: Of the answer; None: there was none, or not all of it.
        user: The username that was registered; what a call says of a user it says of this one.
        named_by: The kind of login identifier that was used.
        password: The label of the password that was presented.
        new_password: The label of the password that was asked for.
        session: Whose token was presented.
        presented: The refresh token that was presented.
        received: The refresh token that came back.
        opened: The session that the answer opened.
        scope: Of a logout.
        wish: What the profile was to hold, or held.
        key: What the request was to take effect once under, however often it is sent.
    """

    number: int
    client: str
    node: str
    kind: Kind
    began_s: float
    ended_s: float
    outcome: Outcome
    status: int | None = None
    user: str = ""
    named_by: str = ""
    password: int | None = None
    new_password: int | None = None
    session: str | None = None
    presented: str | None = None
    received: str | None = None
    opened: str | None = None
    scope: str | None = None
    wish: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpan:
    """One fault, from its first effect to the last act of healing it.

    Attributes:
        name: As the plan has it.
        targets: The nodes that could not answer because of it, or whose answers could not come through; a dependency that
            all nodes need names none of them, for a node must answer in time whatever it depends on.
    """

    name: str
    targets: frozenset[str]
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a run, on the clock of the harness."""

    began_s: float
    ended_s: float

    def holds(self, call: Call) -> bool:
        """Whether *call* ended in it."""
        return self.began_s <= call.ended_s < self.ended_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A job as the transaction left it that caused it; `at_us` is when, on the primary's clock."""

    job: str
    kind: str
    user: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """That a job was taken out, and when its user had last logged in by what was committed then, itself included."""

    job: str
    latest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect of a job on a user, as the primary wrote it down in the transaction that had the effect."""

    user: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What became of the jobs.

    Attributes:
        put: All that were ever committed.
        effects: All that were ever committed, in any order.
        done: Of each job that was taken out of the table, as often as it was.
        latest_us: What stands in the end: when each user last logged in.
        waiting: The jobs that are still there.
        audited: The jobs that have left a record, each as often as it has; None: nobody has looked.
        users: By username, what jobs call them.
    """

    put: tuple[Put, ...] = ()
    effects: tuple[Effect, ...] = ()
    done: tuple[Done, ...] = ()
    latest_us: dict[str, int] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    audited: tuple[str, ...] | None = None
    users: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A row of `grants`; `rank` is its place in the line."""

    user: str
    rank: int
    state: str
    coupon: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is read back of a campaign by first logins, to be counted anew.

    Attributes:
        cap: How many coupons there are.
        issued: The campaign's own counter of those that have gone.
        held: The campaign's own counter of seats without a coupon.
        state: The campaign's.
        eligible: Who has registered through it.
        grants: Its own.
        coupons: The codes of all coupons that there are, by coupon.
        mirrored: The coupons that stand at users, by user.
    """

    cap: int
    issued: int
    held: int
    state: str
    eligible: frozenset[str]
    grants: tuple[Grant, ...]
    coupons: dict[str, str]
    mirrored: dict[str, tuple[str, ...]]
    complaint: str = ""
    """What `tidegate campaigns verify` has to say, if it ended with anything but 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A whole run."""

    seed: int
    calls: tuple[Call, ...]
    faults: tuple[FaultSpan, ...] = ()
    jobs: Jobs = field(default_factory=Jobs)
    nodes: tuple[str, ...] = ()
    healed_s: float = 0.0
    """When the last fault was healed and the probes began."""
    peaks: tuple[Window, ...] = ()
    """Before each storm and after the last: as many logins as the nodes can hash, and no more; none: this was no storm."""
    storms: tuple[Window, ...] = ()
    """Many more than that."""
    campaign: Campaign | None = None
    """None: there was none."""
    unrest: str = ""
    """What jobs, sessions, locks and workers looked like when the run did not come to rest; for people."""

    def of_user(self) -> dict[str, list[Call]]:
        """The calls of each user, in the order in which they began."""
        found: dict[str, list[Call]] = {}
        for call in sorted(self.calls, key=lambda call: call.began_s):
            if call.user:
                found.setdefault(call.user, []).append(call)
        return found


def digest(token: str) -> str:
    """What stands for *token* in a history."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def outcome_of(status: int | None) -> Outcome:
    """What *status* proves. 503 proves nothing: the answer of the database may have been what was lost."""
    if status is None or status >= 500:
        return Outcome.UNKNOWN
    return Outcome.OK if status < 300 else Outcome.REFUSED


@dataclass
class Open:
    """A call under way; its client notes here what it learns."""

    status: int | None = None
    noted: dict[str, Any] = field(default_factory=dict)

    def note(self, **learnt: Any) -> None:
        """Keep fields of `Call`."""
        self.noted |= learnt


class Recorder:
    """Writes calls down, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._calls: list[Call] = []
        self._faults: list[FaultSpan] = []

    @contextmanager
    def call(self, kind: Kind, *, client: str, node: str, **known: Any) -> Iterator[Open]:
        """Record what happens in the block as one call; if anything is raised in it, the outcome is unknown."""
        with self._lock:
            self._number += 1
            number = self._number
        under_way = Open()
        began_s = time.monotonic()
        try:
            yield under_way
        except BaseException:
            under_way.status = None
            raise
        finally:
            ended_s = time.monotonic()
            told: dict[str, Any] = {
                "number": number,
                "client": client,
                "node": node,
                "kind": kind,
                "began_s": began_s,
                "ended_s": ended_s,
                "status": under_way.status,
                "outcome": outcome_of(under_way.status),
            }
            call = Call(**told | known | under_way.noted)
            with self._lock:
                self._calls.append(call)

    @contextmanager
    def fault(self, name: str, targets: frozenset[str]) -> Iterator[None]:
        """Record that *name* was there during the block."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            span = FaultSpan(name=name, targets=targets, began_s=began_s, ended_s=time.monotonic())
            with self._lock:
                self._faults.append(span)

    @property
    def calls(self) -> tuple[Call, ...]:
        """What has been recorded, in the order in which it ended."""
        with self._lock:
            return tuple(self._calls)

    @property
    def faults(self) -> tuple[FaultSpan, ...]:
        """The faults that are over."""
        with self._lock:
            return tuple(self._faults)


_CALL_FIELDS: Final = tuple(each.name for each in fields(Call))


def as_json(history: History) -> str:
    """*history* as text, for whoever wants to look at it later."""

    def plain(value: object) -> object:
        assert isinstance(value, frozenset)
        return sorted(value)

    return json.dumps(asdict(history), default=plain)


def from_json(text: str) -> History:
    """The history that *text* was made of."""
    read = json.loads(text)
    calls = [Call(**call | {"kind": Kind(call["kind"]), "outcome": Outcome(call["outcome"])}) for call in read["calls"]]
    faults = [FaultSpan(**span | {"targets": frozenset(span["targets"])}) for span in read["faults"]]
    jobs = Jobs(
        put=tuple(Put(**put) for put in read["jobs"]["put"]),
        effects=tuple(Effect(**effect) for effect in read["jobs"]["effects"]),
        done=tuple(Done(**done) for done in read["jobs"]["done"]),
        latest_us=read["jobs"]["latest_us"],
        waiting=tuple(read["jobs"]["waiting"]),
        audited=None if read["jobs"].get("audited") is None else tuple(read["jobs"]["audited"]),
        users=read["jobs"].get("users", {}),
    )
    return History(
        seed=read["seed"],
        calls=tuple(calls),
        faults=tuple(faults),
        jobs=jobs,
        nodes=tuple(read["nodes"]),
        healed_s=read["healed_s"],
        peaks=tuple(Window(**window) for window in read.get("peaks", ())),
        storms=tuple(Window(**window) for window in read.get("storms", ())),
        campaign=_campaign(read["campaign"]) if read.get("campaign") else None,
        unrest=read.get("unrest", ""),
    )


def _campaign(read: dict[str, Any]) -> Campaign:
    return Campaign(
        **read
        | {
            "eligible": frozenset(read["eligible"]),
            "grants": tuple(Grant(**grant) for grant in read["grants"]),
            "mirrored": {user: tuple(coupons) for user, coupons in read["mirrored"].items()},
        }
    )


def shown(calls: Sequence[Call]) -> str:
    """*calls* for people, one a line, without what is not known."""
    lines = []
    for call in calls:
        told = {name: getattr(call, name) for name in _CALL_FIELDS}
        lines.append(" ".join(f"{name}={value}" for name, value in told.items() if value not in {None, ""}))
    return "\n".join(lines)
