"""What the parts of the feed are tried with."""

from collections.abc import Callable, Sequence

from tidegate.domain.changes import Answer, Change, ChangeKind, Told


class FakeWaiting:
    """`feed.relay.WaitingChanges` in a list.

    Attributes:
        on_read: Called in the middle of each reading.
    """

    def __init__(self, *changes: Change) -> None:
        self.changes = list(changes)
        self.is_away = False
        self.reads = 0
        self.on_read: Callable[[], None] = lambda: None

    async def read(self, *, at_most: int) -> Sequence[Change]:
        if self.is_away:
            raise ConnectionError
        self.reads += 1
        found = self.changes[:at_most]
        self.on_read()
        return found

    async def remove(self, changes: Sequence[Change]) -> None:
        self.changes = [change for change in self.changes if change not in changes]

    async def condense(self) -> None:
        self.changes = [Change(99, ChangeKind.LOST, None)]


class FakeTeller:
    """`feed.relay.Teller` that keeps what it was given, in order.

    Attributes:
        happened: What was told, and what was answered to whom.
    """

    def __init__(self) -> None:
        self.happened: list[Told | tuple[str, Answer]] = []
        self.is_away = False

    async def tell(self, told: Told) -> None:
        if self.is_away:
            raise ConnectionError
        self.happened.append(told)

    async def answer(self, reply_to: str, answer: Answer) -> None:
        self.happened.append((reply_to, answer))

    @property
    def told(self) -> list[Told]:
        return [event for event in self.happened if isinstance(event, Told)]

    @property
    def answered(self) -> list[tuple[str, Answer]]:
        return [event for event in self.happened if not isinstance(event, Told)]
