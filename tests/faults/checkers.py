"""Decide from a history alone whether the promises were kept (DESIGN 6): pure functions, each with its list of violations.

What they share: an outcome that is unknown is never held against anybody, and never taken as proof. Calls overlap, and an
answer says only that the effect came somewhere between its call's beginning and its end: "after" means that one call began
when the other had ended. So a violation is a proof; that there is none is not.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Final, TypeVar

from tests.faults.checkers_of_campaigns import coupons_exact
from tests.faults.history import BALANCER, Call, History, Jobs, Kind, Outcome, Window
from tests.faults.users_lives import Life, lives_of
from tests.faults.violations import LOGIN_SUCCEEDED, Violation

T = TypeVar("T")

TOLD_WITHIN_S: Final = 1.0
"""How long after its revocation an access token may still be let in (DESIGN 5.4)."""

WELCOME_DUE: Final = "welcome_due"
"""The one kind of job that leaves no record."""

USER_REGISTERED: Final = "user_registered"
PASSWORD_CHANGED: Final = "password_changed"
"""The kinds of job that tell how often something took effect."""

RECOVERED_WITHIN_S: Final = 30.0
"""P12."""

_BEARER: Final = frozenset({Kind.ME, Kind.CHANGE_PROFILE, Kind.CHANGE_PASSWORD, Kind.LOGOUT})
"""Calls that present an access token."""

_BY_CLIENTS: Final = _BEARER | {Kind.REGISTER, Kind.LOGIN, Kind.REFRESH}
"""Calls over HTTP, which have a deadline."""


def acked_present(history: History) -> list[Violation]:
    """P1: whoever was told that they are registered stands in the primary in the end, under every name they gave."""
    found = []
    for life in lives_of(history):
        for registered in life.acknowledged(Kind.REGISTER):
            looked_up = [call for call in life.calls if call.kind is Kind.LOOK_UP]
            if not looked_up:
                found.append(Violation("an acknowledged registration was never looked up", (registered,)))
            found += [
                Violation("an acknowledged registration is lost", (registered, call))
                for call in looked_up
                if call.outcome is Outcome.REFUSED
            ]
        found += _profile_present(life)
    return found


def _profile_present(life: Life) -> Iterator[Violation]:
    """An acknowledged change of a profile is lost when what stands is neither it nor what may have come after it."""
    acknowledged = life.acknowledged(Kind.CHANGE_PROFILE)
    if not acknowledged:
        return
    last = max(acknowledged, key=lambda call: call.ended_s)
    possible = {
        call.wish
        for call in life.calls
        if call.kind is Kind.CHANGE_PROFILE and call.outcome is not Outcome.REFUSED and not call.ended_s < last.began_s
    } | {call.wish for call in life.calls if call.kind is Kind.CHANGE_PROFILE and call.outcome is Outcome.UNKNOWN}
    for call in life.calls:
        if call.kind is Kind.LOOK_UP and call.outcome is Outcome.OK and call.wish not in possible:
            yield Violation("an acknowledged change of a profile is lost", (last, call))


def no_false_404(history: History) -> list[Violation]:
    """P2, P9: 404 to nobody who was there, 403 to nobody whose password was right, 401 to no token that was alive.

    Who is gone in the end was lost, which is another promise (P1). Of refresh tokens `lost_answer` speaks.
    """
    found = []
    for life in lives_of(history):
        is_lost = any(call.kind is Kind.LOOK_UP and call.outcome is Outcome.REFUSED for call in life.calls)
        for call in life.calls:
            if call.outcome is not Outcome.REFUSED:
                continue
            if call.kind is Kind.LOGIN and call.status == 404 and not is_lost:
                proof = life.proof_of_being(before_s=call.began_s)
                if proof is not None:
                    found.append(Violation("a registered user was told 404", (proof, call)))
            if call.kind is Kind.LOGIN and call.status == 403:
                proof = life.proof_of_password(call)
                if proof is not None:
                    found.append(Violation("the right password was refused", (proof, call)))
            if call.kind in _BEARER and call.status == 401:
                opening = life.opening(call.session)
                if opening is not None and not life.may_have_ended(call.session, before_s=call.ended_s):
                    found.append(Violation("a live access token was refused", (opening, call)))
    return found


def password_epoch(history: History) -> list[Violation]:
    """P3: once a password is known to stand, none that it has replaced lets anybody in, nor does what it opened in a race.

    A password is known to stand from the moment at which its change was acknowledged, or a login with it: of a change whose
    answer was lost both passwords are possible until one is seen to work. A session opened by a login that had ended before
    the change began is `revoked_use`'s.
    """
    found = []
    for life in lives_of(history):
        for proof, label in life.proofs:
            for call in life.calls:
                if call.outcome is not Outcome.OK or call.began_s <= proof.ended_s or life.is_repeated(call):
                    continue
                if call.kind in {Kind.LOGIN, Kind.CHANGE_PASSWORD} and not life.may_follow(label, call.password):
                    found.append(Violation("an old password still works", (proof, call)))
                if call.kind is Kind.REFRESH or (call.kind in _BEARER and call.began_s > proof.ended_s + TOLD_WITHIN_S):
                    opening = life.opening(call.session)
                    if opening is not None and life.raced_with_its_end(opening, label):
                        found.append(
                            Violation("a session opened in a race by an old password lives", (proof, opening, call))
                        )
    return found


def revoked_use(history: History) -> list[Violation]:
    """P5: no token of an ended session is accepted, no token that was replaced and whose successor was used, and nobody who
    is disabled; access tokens have a second's grace."""
    found = []
    for life in lives_of(history):
        ends = list(life.ends())
        for call in life.calls:
            if call.outcome is not Outcome.OK or life.is_repeated(call):
                continue
            if call.kind in _BEARER or call.kind is Kind.REFRESH:
                grace_s = 0.0 if call.kind is Kind.REFRESH else TOLD_WITHIN_S
                found += [
                    Violation("a revoked session was accepted", (end.by, call))
                    for end in ends
                    if end.session == call.session and call.began_s > end.at_s + grace_s
                ][:1]
            if call.kind is Kind.REFRESH:
                found += [
                    Violation("a refresh token was accepted whose successor was used", (used, call))
                    for used in life.uses_of_successors(call.presented)
                    if used.outcome is Outcome.OK and used.ended_s < call.began_s
                ][:1]
            if call.kind is Kind.LOGIN:
                disabled = life.surely_disabled_during(call)
                if disabled is not None:
                    found.append(Violation("a disabled user was let in", (disabled, call)))
    return found


def live_successors(history: History) -> list[Violation]:
    """P6: however often a refresh token is presented, there is one successor."""
    found = []
    answered: dict[str, list[Call]] = {}
    for call in history.calls:
        if call.kind is Kind.REFRESH and call.outcome is Outcome.OK and call.presented is not None:
            answered.setdefault(call.presented, []).append(call)
    for calls in answered.values():
        first = calls[0]
        other = next((call for call in calls if call.received != first.received), None)
        if other is not None:
            found.append(Violation("a refresh token has two successors", (first, other)))
    return found


def lost_answer(history: History, *, grace_s: float) -> list[Violation]:
    """P7: a refresh token that nobody ended, and whose successor nobody has used, lives *grace_s* after its first use."""
    found = []
    for life in lives_of(history):
        for call in life.calls:
            if call.kind is not Kind.REFRESH or call.status != 401 or life.opening(call.session) is None:
                continue
            is_excused = (
                life.may_have_been_told_to_end(call.session, before_s=call.ended_s)
                or life.was_refused_before(call)
                or any(life.is_reuse(other, grace_s=grace_s) for other in life.presentations(call.session, call.ended_s))
            )
            if not is_excused:
                before = [other for other in life.calls if other.presented == call.presented and other is not call]
                found.append(Violation("a client was logged out", (*before, call)))
    return found


def keyed_once(history: History) -> list[Violation]:
    """What was asked for under an idempotency key takes effect once, and every later answer tells of that one effect.

    A client's names are nobody else's, so a registration that may have been made is the only thing that could stand in the
    way of its repetition. A change of a password tells of the session that it opened, as long as that lives.
    """
    found: list[Violation] = []
    put = Counter((put.user, put.kind) for put in history.jobs.put)
    for life in lives_of(history):
        for calls in life.keyed.values():
            found += _of_one_key(life, calls)
        user = history.jobs.users.get(life.calls[0].user, "")
        if put[user, USER_REGISTERED] > 1:
            found.append(Violation(f"{life.calls[0].user} was registered twice"))
        changes = {
            call.new_password
            for call in life.calls
            if call.kind is Kind.CHANGE_PASSWORD and call.outcome is not Outcome.REFUSED
        }
        if put[user, PASSWORD_CHANGED] > len(changes):
            found.append(Violation(f"a password of {life.calls[0].user} was changed twice by one request"))
    return found


def _of_one_key(life: Life, calls: Sequence[Call]) -> Iterator[Violation]:
    first = next((call for call in calls if call.outcome is Outcome.OK), None)
    for call in calls:
        if call.kind is Kind.REGISTER and call.outcome is Outcome.REFUSED and life.is_repeated(call):
            yield Violation("a registration was refused when it was repeated under its key", tuple(calls))
        if first is None or call.kind is not Kind.CHANGE_PASSWORD or call is first:
            continue
        if call.outcome is Outcome.OK and call.opened != first.opened:
            yield Violation("one key has opened two sessions", (first, call))
        is_refused = call.outcome is Outcome.REFUSED and call.began_s > first.ended_s
        if is_refused and not life.may_have_been_told_to_end(first.opened, before_s=call.ended_s):
            yield Violation("a change of a password was refused when it was repeated under its key", (first, call))


def effects_once(history: History) -> list[Violation]:
    """P8: each job that was committed has had its effect in the end, once, and nothing else has had one."""
    jobs = history.jobs
    waiting = set(jobs.waiting)
    logins = {put.job: put for put in jobs.put if put.kind == LOGIN_SUCCEEDED}
    found = [Violation(f"job {job} still waits") for job in jobs.waiting]
    # A later login's effect stands for an earlier one's, so what stood at the end of the run alone would hide a loss.
    found += [
        Violation(f"job {done.job} was taken out without its effect")
        for done in jobs.done
        if done.job in logins and done.latest_us < logins[done.job].at_us
    ]
    found += [
        Violation(f"the effect of job {put.job} is lost")
        for put in logins.values()
        if put.job not in waiting and jobs.latest_us.get(put.user, 0) < put.at_us
    ]
    if jobs.audited is not None:
        found += _records_wrong(jobs, waiting, jobs.audited)
    found += [Violation(f"job {job} was done twice") for job in _repeated([done.job for done in jobs.done])]
    found += [Violation(f"an effect came twice: {effect}") for effect in _repeated(jobs.effects)]
    causes = {(put.user, put.at_us) for put in logins.values()}
    found += [
        Violation(f"an effect without a cause: {effect}")
        for effect in jobs.effects
        if (effect.user, effect.at_us) not in causes
    ]
    return found


def _records_wrong(jobs: Jobs, waiting: set[str], audited: Sequence[str]) -> Iterator[Violation]:
    recorded = set(audited)
    for put in jobs.put:
        if put.kind != WELCOME_DUE and put.job not in waiting and put.job not in recorded:
            yield Violation(f"job {put.job} has left no record")
    for job in _repeated(audited):
        yield Violation(f"job {job} has two records, and was done twice")


def _repeated(things: Sequence[T]) -> list[T]:
    return [thing for thing, times in Counter(things).items() if times > 1]


def deadline(history: History, *, within_s: float) -> list[Violation]:
    """P10: whatever fails, a call ends within *within_s*; but nobody answers for a node that cannot run or be reached."""
    found = []
    for call in history.calls:
        if call.kind not in _BY_CLIENTS or call.ended_s - call.began_s <= within_s:
            continue
        stands_still = any(
            call.node in fault.targets and fault.began_s < call.ended_s and call.began_s < fault.ended_s
            for fault in history.faults
        )
        if not stands_still:
            found.append(Violation(f"a call took {call.ended_s - call.began_s:.1f} s", (call,)))
    return found


def honest_failures(history: History) -> list[Violation]:
    """P9: what we cannot do now is 503; any other 5xx says that it is a bug, and then it is one.

    502 and 504 are what a balancer says of a node that did not answer it.
    """
    return [
        Violation(f"a call was answered {call.status}", (call,))
        for call in history.calls
        if call.kind in _BY_CLIENTS
        and call.status is not None
        and call.status >= 500
        and call.status != 503
        and not (call.node == BALANCER and call.status in {502, 504})
    ]


def goodput(
    history: History,
    *,
    share_min: float = 0.9,
    refused_within_s: float = 0.020,
    slower_at_most: float = 2.0,
) -> list[Violation]:
    """P11: in a storm as many logins succeed as at the peak, refusals are quick, /me and /refresh hardly slower.

    Args:
        history: Without a storm there is nothing to judge.
        share_min: Of the logins a second of the peaks about a storm; the median of all storms.
        refused_within_s: 99 in 100 refusals.
        slower_at_most: How many times as long as at the peak the others may take, at p99.
    """
    if not history.storms:
        return []
    found = []
    shares = storm_shares(history)
    if median(shares) < share_min:
        found.append(Violation("logins a second in storms, of those at the peaks about them: " + _listed(shares)))
    refusals = [_took_s(call) for call in history.calls if call.status == 503 and _is_in(call, history.storms)]
    if refusals and (took_s := _percentile(refusals, 99)) > refused_within_s:
        found.append(Violation(f"refusals took up to {took_s * 1000:.0f} ms (p99)"))
    for kind in (Kind.ME, Kind.REFRESH):
        calm, busy = (
            [
                _took_s(call)
                for call in history.calls
                if call.kind is kind and call.outcome is Outcome.OK and _is_in(call, windows)
            ]
            for windows in (history.peaks, history.storms)
        )
        if not calm or not busy:
            continue
        before_s, took_s = _percentile(calm, 99), _percentile(busy, 99)
        if took_s > slower_at_most * before_s:
            found.append(Violation(f"{kind} took {took_s * 1000:.0f} ms in the storm, {before_s * 1000:.0f} before (p99)"))
    return found


def storm_shares(history: History) -> list[float]:
    """Of each storm: its logins a second as a share of the mean of the peaks before and after it.

    Both at its side, because what else a machine has to do changes from minute to minute.
    """
    shares = []
    for number, storm in enumerate(history.storms):
        about = [_logins_per_s(history, peak) for peak in history.peaks[number : number + 2]]
        at_peak = fmean(about) if about else 0.0
        shares.append(_logins_per_s(history, storm) / at_peak if at_peak else 0.0)
    return shares


def _listed(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _is_in(call: Call, windows: Sequence[Window]) -> bool:
    return any(window.holds(call) for window in windows)


def _logins_per_s(history: History, window: Window) -> float:
    good = sum(call.kind is Kind.LOGIN and call.outcome is Outcome.OK for call in history.calls if window.holds(call))
    return good / (window.ended_s - window.began_s)


def _took_s(call: Call) -> float:
    return call.ended_s - call.began_s


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def recovered(history: History, *, within_s: float = RECOVERED_WITHIN_S) -> list[Violation]:
    """P12: once the last fault is over every node serves everything within *within_s*, and nobody has touched it."""
    found = []
    probed = [call for call in history.calls if call.kind is Kind.PROBE]
    for node in dict.fromkeys([*history.nodes, *(call.node for call in probed)]):
        probes = [call for call in probed if call.node == node]
        if not any(call.outcome is Outcome.OK and call.ended_s <= history.healed_s + within_s for call in probes):
            found.append(Violation(f"{node} did not recover", tuple(probes[-1:])))
    return found


Checker = Callable[[History], list[Violation]]


def checkers(*, grace_s: float, within_s: float) -> Mapping[str, Checker]:
    """All that judge any run: by name.

    Args:
        grace_s: How long a refresh token that was replaced yields the same successor.
        within_s: The nodes' deadline, and what a busy machine may add to it.
    """
    return {
        "acked_present": acked_present,
        "no_false_404": no_false_404,
        "password_epoch": password_epoch,
        "revoked_use": revoked_use,
        "live_successors": live_successors,
        "lost_answer": lambda history: lost_answer(history, grace_s=grace_s),
        "keyed_once": keyed_once,
        "effects_once": effects_once,
        "deadline": lambda history: deadline(history, within_s=within_s),
        "goodput": goodput,
        "recovered": recovered,
        "honest_failures": honest_failures,
        "coupons_exact": coupons_exact,
    }


def judge(history: History, judges: Mapping[str, Checker]) -> dict[str, list[Violation]]:
    """What each of *judges* finds; those that find nothing are left out."""
    verdicts = {name: check(history) for name, check in judges.items()}
    return {name: found for name, found in verdicts.items() if found}


def told(verdicts: Mapping[str, Iterable[Violation]]) -> str:
    """*verdicts* for people, the first few of each."""
    return "\n".join(
        f"{name}: {len(list(found))} violations\n" + "\n".join(f"  {each}" for each in list(found)[:3])
        for name, found in verdicts.items()
    )
