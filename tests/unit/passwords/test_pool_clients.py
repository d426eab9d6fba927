"""Nothing is begun for a client who has gone, and what is under way goes on: the permit belongs to the job."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from tests.fakes.passwords import SOMEBODY
from tests.unit.passwords.gates import Gate, a_pool, all_submitted, closing, told, until
from tidegate.api.clients import Client
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane

CLIENT: ContextVar[Client | None] = ContextVar("client", default=None)


class Crowd:
    """A pool of one thread, and clients who log in to it.

    Attributes:
        refused: How many got no hash, and why.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.pool = a_pool(threads=1, queue_max=2, on_refused=self._note, client=CLIENT.get)

    def _note(self, _lane: Lane, reason: str) -> None:
        self.refused[reason] += 1

    def asks(self, client: Client, password: str) -> "asyncio.Task[bool]":
        async def ask() -> bool:
            CLIENT.set(client)
            return await self.pool.matches(password, "any", user_id=SOMEBODY, lane=Lane.LOGIN)

        return asyncio.create_task(ask())


LEAVINGS = [Client.gone, Client.sends_no_more]


@pytest.mark.parametrize("leaves", LEAVINGS)
def test_who_leaves_before_the_hash_has_begun_gets_none_and_frees_the_place(
    gate: Gate, leaves: Callable[[Client], None]
) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool) as pool:
            running = crowd.asks(Client(), "running")
            await gate.entered(1)
            waiting = crowd.asks(client, "waiting")
            await all_submitted(pool, 2)
            leaves(client)
            assert pool.waiting == 0
            with pytest.raises(HashPoolSaturated):
                await waiting
            assert crowd.refused == {"gone": 1}
            gate.open()
            assert await running
            assert gate.passwords == [b"running"]
            assert client.on_leaving is None

    told(story())


def test_who_leaves_while_the_hash_is_made_waits_no_more_and_its_place_stays_taken(gate: Gate) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool) as pool:
            running = crowd.asks(client, "running")
            await gate.entered(1)
            client.gone()
            with pytest.raises(HashPoolSaturated):
                await running
            assert pool.running == 1
            assert not pool.is_idle()
            client.gone()  # once more changes nothing
            assert crowd.refused == {"gone": 1}
            gate.open()
            await until(pool.is_idle)

    told(story())


def test_who_only_sends_no_more_while_the_hash_is_made_may_still_listen(gate: Gate) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool):
            running = crowd.asks(client, "running")
            await gate.entered(1)
            client.sends_no_more()
            gate.open()
            assert await running
            assert crowd.refused == {}

    told(story())


def test_nothing_is_begun_for_who_has_gone_before(gate: Gate) -> None:
    """While its user was looked up."""

    async def story() -> None:
        crowd, client = Crowd(), Client()
        client.gone()
        async with closing(crowd.pool):
            with pytest.raises(HashPoolSaturated):
                await crowd.asks(client, "x")
            assert crowd.refused == {"gone": 1}
            assert gate.passwords == []

    told(story())


def test_who_sends_no_more_is_served_where_it_costs_nobody_a_place(gate: Gate) -> None:
    """As `nc -N` and some old clients do; without a crowd they shall not notice that most who do so have gone."""

    async def story() -> None:
        crowd, client = Crowd(), Client()
        client.sends_no_more()
        async with closing(crowd.pool):
            served = crowd.asks(client, "served")
            await gate.entered(1)
            with pytest.raises(HashPoolSaturated):
                await crowd.asks(client, "not served")
            assert crowd.refused == {"gone": 1}
            gate.open()
            assert await served

    told(story())


def test_a_shared_hash_is_made_for_those_who_stay(gate: Gate) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool) as pool:
            running = crowd.asks(Client(), "running")
            await gate.entered(1)
            gone, stays = crowd.asks(client, "same"), crowd.asks(Client(), "same")
            await all_submitted(pool, 2)
            await asyncio.sleep(0)
            client.gone()
            with pytest.raises(HashPoolSaturated):
                await gone
            assert pool.waiting == 1
            gate.open()
            assert await running
            assert await stays

    told(story())


def test_a_client_whose_hash_is_done_is_not_watched_any_more(gate: Gate) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool):
            gate.open()
            assert await crowd.asks(client, "x")
            assert client.on_leaving is None
            client.gone()
            assert crowd.refused == {}

    told(story())


def test_who_leaves_between_the_answer_and_its_hearing_changes_nothing(gate: Gate) -> None:
    async def story() -> None:
        crowd, client = Crowd(), Client()
        async with closing(crowd.pool) as pool:
            running = crowd.asks(client, "x")
            await gate.entered(1)
            gate.open()
            while not pool._done:  # without a turn of the loop, in which the caller would hear it
                time.sleep(0.001)  # noqa: ASYNC251 - see above
            pool._settle()
            client.gone()
            assert await running
            assert crowd.refused == {}

    told(story())


def test_who_is_cancelled_counts_as_gone(gate: Gate) -> None:
    """As a request over its deadline is."""

    async def story() -> None:
        crowd = Crowd()
        async with closing(crowd.pool):
            late = crowd.asks(Client(), "late")
            await gate.entered(1)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            assert crowd.refused == {"gone": 1}
            gate.open()

    told(story())


def test_a_pool_that_nobody_told_of_clients_serves_those_it_cannot_know() -> None:
    async def story() -> None:
        async with closing(a_pool()) as pool:
            assert await pool.matches("x", await pool.hash("x", lane=Lane.REGISTER), user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())
