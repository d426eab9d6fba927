"""Who has failed too often waits, and nobody else does; with the others' counters and without them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from tests.fakes.counters import InMemoryCounters
from tidegate.domain.errors import TooManyAttempts
from tidegate.domain.throttling import Counter, CounterKind, Limit
from tidegate.throttle import throttle as throttle_module
from tidegate.throttle.throttle import CountingThrottle

USER, PAIR = Counter(CounterKind.USER, b"user:ada"), Counter(CounterKind.PAIR, b"pair:ada@7")
ADDRESS = Counter(CounterKind.ADDRESS, b"address:7")
LOGIN = [USER, PAIR, ADDRESS]
LIMITS = {
    CounterKind.USER: Limit(at_most=20, window_s=1_000),
    CounterKind.PAIR: Limit(at_most=3, window_s=100),
    CounterKind.ADDRESS: Limit(at_most=50, window_s=100),
}


class Node:
    """One process with a throttle, a clock in hand, and what it told of refusals."""

    def __init__(
        self, shared: InMemoryCounters | None = None, *, tallies_max: int = 1_000, limits: dict[CounterKind, Limit] = LIMITS
    ) -> None:
        self.now_s = 10_000.0
        self.refused: list[CounterKind] = []
        self.throttle = CountingThrottle(
            limits=limits,
            shared=shared,
            now=lambda: self.now_s,
            tallies_max=tallies_max,
            on_refused=self.refused.append,
        )

    async def attempt(self, *, is_right: bool = False, counters: Sequence[Counter] = LOGIN) -> None:
        with await self.throttle.admit(counters) as attempt:
            await asyncio.sleep(0)
            if is_right:
                attempt.succeed()
            else:
                await attempt.fail()

    async def is_refused(self, *, is_right: bool = False, counters: Sequence[Counter] = LOGIN) -> bool:
        try:
            await self.attempt(is_right=is_right, counters=counters)
        except TooManyAttempts:
            return True
        return False


def story(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__doc__ = test.__doc__
    return run


@story
async def test_who_has_failed_too_often_is_told_when_to_come_back() -> None:
    node = Node()
    for _ in range(3):
        await node.attempt()
    with pytest.raises(TooManyAttempts) as refused:
        await node.attempt(is_right=True)
    assert node.refused == [CounterKind.PAIR]
    node.now_s += refused.value.retry_after_s - 0.01
    assert await node.is_refused()
    node.now_s += 0.02
    assert not await node.is_refused()


@story
async def test_a_refused_attempt_is_not_counted() -> None:
    """Else a client that goes on asking would never be let in again."""
    node = Node()
    for _ in range(3):
        await node.attempt()
    with pytest.raises(TooManyAttempts) as first:
        await node.attempt()
    for _ in range(10):
        assert await node.is_refused()
    with pytest.raises(TooManyAttempts) as last:
        await node.attempt()
    assert last.value.retry_after_s == first.value.retry_after_s


@story
async def test_another_address_and_another_user_are_not_refused() -> None:
    node = Node()
    for _ in range(3):
        await node.attempt()
    assert not await node.is_refused(counters=[USER, Counter(CounterKind.PAIR, b"pair:ada@8")])
    assert not await node.is_refused(counters=[Counter(CounterKind.PAIR, b"pair:bob@7"), ADDRESS])


@story
async def test_the_user_is_protected_from_many_addresses() -> None:
    node = Node()
    for number in range(20):
        await node.attempt(counters=[USER, Counter(CounterKind.PAIR, b"pair:ada@%d" % number)])
    assert await node.is_refused(counters=[USER, Counter(CounterKind.PAIR, b"pair:ada@new")])
    assert node.refused == [CounterKind.USER]


@story
async def test_right_passwords_count_nothing() -> None:
    node = Node(InMemoryCounters())
    for _ in range(100):
        await node.attempt(is_right=True)
    assert len(node.throttle._tallies) == 0


@story
async def test_twenty_right_logins_at_once_all_pass() -> None:
    """Though the pair may fail only three times: they wait for each other."""
    node = Node(InMemoryCounters())
    await asyncio.gather(*[node.attempt(is_right=True) for _ in range(20)])
    assert node.refused == []


@story
async def test_a_burst_of_guesses_is_bounded_as_the_same_guesses_in_turn_are() -> None:
    node = Node(InMemoryCounters())
    refused = await asyncio.gather(*[node.is_refused() for _ in range(500)])
    assert refused.count(False) == 3


@story
async def test_attempts_that_end_without_a_word_let_the_next_on() -> None:
    """The hash pool was full, or the caller went: nobody has guessed anything."""
    node = Node()
    entered = asyncio.Event()

    async def abandoned() -> None:
        with await node.throttle.admit(LOGIN):
            entered.set()
            await asyncio.sleep(60)

    waiting = [asyncio.create_task(abandoned()) for _ in range(3)]
    await entered.wait()
    fourth = asyncio.create_task(node.attempt(is_right=True))
    await asyncio.sleep(0)
    assert not fourth.done()
    waiting[0].cancel()
    await fourth
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(node.throttle._tallies) == 0


@story
async def test_a_place_that_its_waiter_cannot_use_goes_to_the_next() -> None:
    """The first waits for the pair and then for the address, which is crowded; the second needs the pair alone."""
    node = Node(
        limits={CounterKind.PAIR: Limit(at_most=1, window_s=100), CounterKind.ADDRESS: Limit(at_most=1, window_s=100)}
    )
    pair = await node.throttle.admit([PAIR])
    address = await node.throttle.admit([ADDRESS])
    first = asyncio.create_task(node.attempt(is_right=True, counters=[PAIR, ADDRESS]))
    await asyncio.sleep(0)
    second = asyncio.create_task(node.attempt(is_right=True, counters=[PAIR]))
    await asyncio.sleep(0)
    pair.__exit__(None, None, None)
    await asyncio.wait_for(second, 5)
    assert not first.done()
    address.__exit__(None, None, None)
    await asyncio.wait_for(first, 5)


@pytest.mark.parametrize("is_woken", [False, True])
def test_whoever_gives_up_waiting_takes_nobody_s_turn(is_woken: bool) -> None:
    async def test() -> None:
        node = Node(limits={CounterKind.PAIR: Limit(at_most=1, window_s=100)})
        held = await node.throttle.admit([PAIR])
        first, second = [asyncio.create_task(node.attempt(is_right=True, counters=[PAIR])) for _ in range(2)]
        await asyncio.sleep(0)
        if is_woken:
            held.__exit__(None, None, None)
            first.cancel()
        else:
            first.cancel()
            await asyncio.sleep(0)
            held.__exit__(None, None, None)
        await asyncio.wait_for(second, 5)
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()

    asyncio.run(test())


@story
async def test_waiters_are_bounded() -> None:
    node = Node(limits={CounterKind.PAIR: Limit(at_most=1, window_s=100)})
    held = await node.throttle.admit([PAIR])
    waiting = [
        asyncio.create_task(node.attempt(is_right=True, counters=[PAIR])) for _ in range(throttle_module._WAITERS_MAX)
    ]
    await asyncio.sleep(0)
    assert await node.is_refused(counters=[PAIR])
    held.__exit__(None, None, None)
    await asyncio.gather(*waiting)


@story
async def test_a_success_clears_what_is_the_caller_s_alone_and_nothing_else() -> None:
    """Behind the user's own logins nobody may go on guessing from elsewhere."""
    shared = InMemoryCounters()
    node, other = Node(shared), Node(shared)
    for _ in range(2):
        await node.attempt()
    await node.attempt(is_right=True)
    for each in (node, other):
        assert not await each.is_refused(is_right=True)
    assert {bucket.rpartition(b":")[0]: count for bucket, count in shared.buckets.items()} == {USER.key: 2, ADDRESS.key: 2}


class TestWithTheOthers:
    def test_what_one_node_counted_another_goes_by(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            one, other = Node(shared), Node(shared)
            for _ in range(2):
                await one.attempt()
            await other.attempt()
            assert await other.is_refused()
            assert await one.is_refused()

        asyncio.run(test())

    def test_the_window_before_is_shared_too(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            one, other = Node(shared), Node(shared)
            for _ in range(3):
                await one.attempt()
            one.now_s = other.now_s = 10_100.0
            assert await other.is_refused()
            other.now_s = 10_190.0
            assert not await other.is_refused()

        asyncio.run(test())

    @pytest.mark.parametrize("how", ["away", "late", "emptied"])
    def test_without_them_the_process_goes_by_what_it_counted_itself(self, how: str) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            node = Node(shared)
            for _ in range(2):
                await node.attempt()
            shared.is_up = how != "away"
            shared.is_late = how == "late"
            shared.buckets.clear()
            assert not await node.is_refused()
            assert await node.is_refused()

        asyncio.run(test())

    def test_what_a_process_counted_alone_counts_on_when_they_are_back(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            node = Node(shared)
            shared.is_up = False
            for _ in range(2):
                await node.attempt()
            shared.is_up = True
            await node.attempt()
            assert await node.is_refused()

        asyncio.run(test())

    def test_who_is_known_to_be_refused_costs_them_no_question(self) -> None:
        """A flood of guesses is refused by memory alone."""

        async def test() -> None:
            shared = InMemoryCounters()
            node = Node(shared)
            for _ in range(3):
                await node.attempt()
            asked = shared.asked
            for _ in range(10):
                assert await node.is_refused()
            assert shared.asked == asked

        asyncio.run(test())

    def test_a_right_login_asks_once_and_tells_nothing(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            await Node(shared).attempt(is_right=True)
            assert (shared.asked, shared.buckets) == (1, {})

        asyncio.run(test())


class TestCount:
    """Calls that only their address tells about."""

    def test_it_refuses_at_the_limit_without_asking(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            node = Node(shared)
            for _ in range(50):
                node.throttle.check([ADDRESS])
                node.throttle.count([ADDRESS])
            with pytest.raises(TooManyAttempts):
                node.throttle.check([ADDRESS])
            with pytest.raises(TooManyAttempts):
                node.throttle.count([ADDRESS])
            assert shared.asked == 0
            await node.throttle.aclose()

        asyncio.run(test())

    def test_the_others_hear_of_many_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttle_module, "_GATHER_S", 0.01)

        async def test() -> None:
            shared = InMemoryCounters()
            node, other = Node(shared), Node(shared)
            for _ in range(30):
                node.throttle.count([ADDRESS])
            assert shared.buckets == {}
            await node.throttle.aclose()
            assert list(shared.buckets.values()) == [30]
            for _ in range(20):
                other.throttle.count([ADDRESS])
            await other.throttle.aclose()
            # It has heard of the 30 when it told of its own.
            with pytest.raises(TooManyAttempts):
                other.throttle.count([ADDRESS])

        asyncio.run(test())

    def test_a_failure_of_a_password_is_told_at_once_with_what_had_gathered(self) -> None:
        async def test() -> None:
            shared = InMemoryCounters()
            node = Node(shared)
            node.throttle.count([ADDRESS])
            await node.attempt()
            assert {bucket.rpartition(b":")[0]: count for bucket, count in shared.buckets.items()} == {
                USER.key: 1,
                PAIR.key: 1,
                ADDRESS.key: 2,
            }

        asyncio.run(test())


def test_no_limit_counts_nothing() -> None:
    async def test() -> None:
        node = Node(limits={kind: Limit(at_most=0, window_s=100) for kind in CounterKind})
        await asyncio.gather(*[node.attempt() for _ in range(100)])
        assert len(node.throttle._tallies) == 0

    asyncio.run(test())


def test_memory_is_bounded_and_what_is_under_way_stays() -> None:
    """Who makes up addresses pushes out the longest unused, never an attempt that may yet fail."""

    async def test() -> None:
        node = Node(tallies_max=10)
        with await node.throttle.admit([PAIR]) as attempt:
            for number in range(100):
                await node.attempt(counters=[Counter(CounterKind.ADDRESS, b"address:%d" % number)])
            await attempt.fail()
        assert len(node.throttle._tallies) <= 11
        node.throttle.check([PAIR])
        for _ in range(2):
            await node.attempt(counters=[PAIR])
        assert await node.is_refused(counters=[PAIR])

    asyncio.run(test())
