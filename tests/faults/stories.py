"""Histories made by hand, to show checkers what they must find and what they must not take for a proof."""

from collections.abc import Callable
from typing import Any, Final

from tests.faults import checkers
from tests.faults.history import Call, History, Kind, outcome_of
from tests.faults.violations import Violation

GRACE_S: Final = 10.0


class Story:
    """Calls of one user, each from *began* to *began* + 1 unless told otherwise, on node-1."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def call(self, kind: Kind, began: float, status: int | None = 200, *, to: float | None = None, **known: Any) -> Call:
        call = Call(
            number=len(self.calls) + 1,
            client="c",
            node=known.pop("node", "node-1"),
            kind=kind,
            began_s=began,
            ended_s=began + 1 if to is None else to,
            outcome=outcome_of(status),
            status=status,
            user=known.pop("user", "u"),
            **known,
        )
        self.calls.append(call)
        return call

    def register(self, began: float, status: int | None = 200) -> Call:
        return self.call(Kind.REGISTER, began, status, password=0)

    def look_up(self, began: float, status: int, wish: str | None = None) -> Call:
        return self.call(Kind.LOOK_UP, began, status, wish=wish)

    def login(
        self, began: float, label: int = 0, status: int | None = 200, *, opens: str | None = None, to: float | None = None
    ) -> Call:
        received = None if opens is None else f"{opens}.0"
        return self.call(Kind.LOGIN, began, status, to=to, password=label, opened=opens, received=received)

    def change(
        self,
        began: float,
        label: int,
        to_label: int,
        status: int | None = 200,
        *,
        session: str = "s",
        to: float | None = None,
    ) -> Call:
        return self.call(Kind.CHANGE_PASSWORD, began, status, to=to, password=label, new_password=to_label, session=session)

    def refresh(
        self, began: float, generation: int, status: int | None = 200, *, session: str = "s", gives: int | None = None
    ) -> Call:
        received = f"{session}.{generation + 1 if gives is None else gives}" if status == 200 else None
        presented = f"{session}.{generation}"
        return self.call(Kind.REFRESH, began, status, session=session, presented=presented, received=received)

    def me(self, began: float, status: int | None = 200, session: str = "s") -> Call:
        return self.call(Kind.ME, began, status, session=session)

    def log_out(self, began: float, scope: str = "this", status: int | None = 200, session: str = "s") -> Call:
        return self.call(Kind.LOGOUT, began, status, session=session, scope=scope)

    def history(self, **known: Any) -> History:
        return History(seed=0, calls=tuple(self.calls), **known)


def found_by(check: Callable[[History], list[Violation]], story: Story, **known: Any) -> list[str]:
    """What *check* says of *story*, in words."""
    return [violation.what for violation in check(story.history(**known))]


def lost_answers(story: Story) -> list[str]:
    """What `lost_answer` says of it."""
    return [violation.what for violation in checkers.lost_answer(story.history(), grace_s=GRACE_S)]
