"""What may and what must have become of one user and of their sessions, as far as the calls of a history prove it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from tests.faults.history import Call, History, Kind, Outcome


@dataclass(frozen=True, slots=True)
class End:
    """That a session has surely ended.

    Attributes:
        session: Which.
        at_s: At the latest.
        by: The answer that proves it.
    """

    session: str
    at_s: float
    by: Call


class Life:
    """The calls about one user.

    Attributes:
        calls: In the order in which they began.
        keyed: Those that had a key, by key.
    """

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self._made_of = {
            call.new_password: call.password for call in calls if call.kind is Kind.CHANGE_PASSWORD and call.new_password
        }
        self.keyed: dict[str, list[Call]] = {}
        for call in calls:
            if call.key is not None:
                self.keyed.setdefault(call.key, []).append(call)
        self._openings: dict[str, Call] = {}
        for call in calls:
            if call.opened is not None and call.outcome is Outcome.OK:
                # Under a key the first try may have opened it, and its answer been lost.
                tried = self.keyed.get(call.key or "", [call])[0]
                self._openings.setdefault(call.opened, replace(call, began_s=tried.began_s))

    def acknowledged(self, kind: Kind) -> list[Call]:
        """The calls of *kind* that were answered well."""
        return [call for call in self.calls if call.kind is kind and call.outcome is Outcome.OK]

    def opening(self, session: str | None) -> Call | None:
        """The login or the change of password whose answer named *session* first."""
        return None if session is None else self._openings.get(session)

    @cached_property
    def proofs(self) -> list[tuple[Call, int]]:
        """Each answer that proves that a password stood before it came, and that password's label."""
        found = []
        for call in self.calls:
            if call.outcome is Outcome.OK:
                label = call.new_password if call.kind is Kind.CHANGE_PASSWORD else call.password
                if call.kind in {Kind.LOGIN, Kind.CHANGE_PASSWORD} and label is not None:
                    found.append((call, label))
        return found

    def is_repeated(self, call: Call) -> bool:
        """Whether a call of its key began before *call* and may have had the effect, of which *call* then only tells."""
        before = self.keyed.get(call.key or "", [])
        return any(other.began_s < call.began_s and other.outcome is not Outcome.REFUSED for other in before)

    def may_follow(self, stood: int, label: int | None) -> bool:
        """Whether *label* may be the password some time after *stood* was: it is that one, or was made of it by changes.

        Each label is asked for by one call, which names the password that it replaces; so no other can come back.
        """
        while label is not None:
            if label == stood:
                return True
            label = self._made_of.get(label)
        return False

    def password_of(self, opening: Call) -> int | None:
        """The label of the password that a session stands on."""
        return opening.new_password if opening.kind is Kind.CHANGE_PASSWORD else opening.password

    def raced_with_its_end(self, opening: Call, stands: int) -> bool:
        """Whether *opening* relied on a password that the one that *stands* replaced, in a change that it overlapped."""
        label = self.password_of(opening)
        return not self.may_follow(stands, label) and not self._ended_before_the_change(opening, label)

    def _ended_before_the_change(self, opening: Call, label: int | None) -> bool:
        return all(
            opening.ended_s < call.began_s
            for call in self.calls
            if call.kind is Kind.CHANGE_PASSWORD and call.password == label and call.outcome is not Outcome.REFUSED
        )

    def proof_of_being(self, *, before_s: float) -> Call | None:
        """An answer that came before *before_s* and proves that the user is in the database."""
        for call in self.calls:
            if call.kind in {Kind.REGISTER, Kind.LOGIN} and call.outcome is Outcome.OK and call.ended_s < before_s:
                return call
        return None

    def proof_of_password(self, asked: Call) -> Call | None:
        """An answer that proves that the password of *asked* was right all the while, or None if it may have been wrong."""
        if self._may_have_been_disabled(asked):
            return None
        for call in self.calls:
            is_change = call.kind is Kind.CHANGE_PASSWORD and call.password == asked.password
            if is_change and call.began_s < asked.ended_s and call.outcome is not Outcome.REFUSED:
                return None
        first = next((call for call in self.calls if call.kind is Kind.REGISTER), None)
        if first is not None and first.password == asked.password and first.outcome is Outcome.OK:
            return first if first.ended_s < asked.began_s else None
        proofs = [call for call, label in self.proofs if label == asked.password and call.ended_s < asked.began_s]
        return proofs[0] if proofs else None

    def _may_have_been_disabled(self, asked: Call) -> bool:
        may_be = False
        for call in self.calls:
            if call.kind is Kind.DISABLE and call.outcome is not Outcome.REFUSED and call.began_s < asked.ended_s:
                may_be = True
            if call.kind is Kind.ENABLE and call.outcome is Outcome.OK and call.ended_s < asked.began_s:
                may_be = False  # an operator does one thing after the other
        return may_be

    def surely_disabled_during(self, asked: Call) -> Call | None:
        """The disabling that was acknowledged before *asked* began, if nobody has tried to undo it before *asked* ended."""
        last = None
        for call in self.calls:
            if call.kind is Kind.DISABLE and call.outcome is Outcome.OK and call.ended_s < asked.began_s:
                last = call
            if call.kind is Kind.ENABLE and call.began_s < asked.ended_s:
                last = None
        return last

    def ends(self) -> Iterator[End]:
        """All ends of sessions that are proven, but for those of `raced_with_its_end`."""
        for call in self.calls:
            if call.kind is Kind.REFRESH and call.status == 401 and call.session is not None:
                yield End(call.session, call.ended_s, call)
            if call.outcome is not Outcome.OK:
                continue
            for session, opening in self._openings.items():
                if self._surely_ends(call, session, opening):
                    yield End(session, call.ended_s, call)

    def _surely_ends(self, call: Call, session: str, opening: Call) -> bool:
        came_before = opening.ended_s < call.began_s
        match call.kind:
            case Kind.LOGOUT:
                is_this = session == call.session
                return {"this": is_this, "others": came_before and not is_this, "all": is_this or came_before}[
                    call.scope or ""
                ]
            case Kind.DISABLE:
                return came_before
            case Kind.LOGIN | Kind.CHANGE_PASSWORD:
                stands = call.new_password if call.kind is Kind.CHANGE_PASSWORD else call.password
                label = self.password_of(opening)
                if stands is None or self.may_follow(stands, label):
                    return False
                return self._ended_before_the_change(opening, label)
            case _:
                return False

    def may_have_been_told_to_end(self, session: str | None, *, before_s: float) -> bool:
        """Whether somebody asked for something before *before_s* that ends *session*, and was not told no.

        What was acknowledged before the session's opening began ended others; what was not may come late.
        """
        opening = self.opening(session)
        for call in self.calls:
            if call.outcome is Outcome.REFUSED or call.began_s >= before_s:
                continue
            if call.outcome is Outcome.OK and opening is not None and call.ended_s < opening.began_s:
                continue
            if call.kind in {Kind.CHANGE_PASSWORD, Kind.DISABLE} and call.opened != session:
                return True
            if call.kind is Kind.LOGOUT and (call.scope == "all" or (call.scope == "this") == (call.session == session)):
                return True
        return False

    def may_have_ended(self, session: str | None, *, before_s: float) -> bool:
        """As `may_have_been_told_to_end`, or by a refresh that may have been taken for reuse."""
        return self.may_have_been_told_to_end(session, before_s=before_s) or any(
            call.status == 401 or self.is_reuse(call, grace_s=0.0) for call in self.presentations(session, before_s)
        )

    def presentations(self, session: str | None, before_s: float) -> list[Call]:
        """The refreshes of *session* that began before *before_s*."""
        return [
            call for call in self.calls if call.kind is Kind.REFRESH and call.session == session and call.began_s < before_s
        ]

    def uses_of_successors(self, presented: str | None) -> list[Call]:
        """The refreshes that presented what a refresh of *presented* has answered."""
        answered = {
            call.received
            for call in self.calls
            if call.kind is Kind.REFRESH and call.presented == presented and call.received is not None
        }
        return [call for call in self.calls if call.kind is Kind.REFRESH and call.presented in answered]

    def is_reuse(self, call: Call, *, grace_s: float) -> bool:
        """Whether the refresh *call* may be taken for reuse: its successor was used, or its first use is too old."""
        if any(used.began_s < call.ended_s for used in self.uses_of_successors(call.presented)):
            return True
        return any(
            call.ended_s - other.began_s >= grace_s
            for other in self.calls
            if other.presented == call.presented and other.number != call.number and other.began_s < call.ended_s
        )

    def was_refused_before(self, call: Call) -> bool:
        """Whether a refresh of the same session was refused before; that one is to be judged."""
        return any(
            other.status == 401 and (other.ended_s, other.number) < (call.ended_s, call.number)
            for other in self.presentations(call.session, call.ended_s)
        )


def lives_of(history: History) -> list[Life]:
    """One for each user."""
    return [Life(calls) for calls in history.of_user().values()]
