"""Real nodes behind a real HAProxy: killed, rolled over under load, and lied to about who asks."""

import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.balancers import until_status
from tests.support.client import PASSWORD, Client, fresh_name
from tests.support.fleets import WELL, Caller, Fleet, a_fleet, calling
from tests.support.own_nodes import own_node
from tests.support.waiting import until
from tests.support.wires import request
from tidegate.embedded.postgres import EmbeddedPostgres

CALLERS = 6


@pytest.fixture(scope="module")
def fleet(postgres: EmbeddedPostgres) -> Iterator[Fleet]:
    with a_fleet(postgres) as running:
        yield running


class BusyCaller(Caller):
    """It reads, refreshes its tokens and logs in anew."""

    async def turn(self) -> None:
        await super().turn()
        if reply := await self.ask(request("POST", "/refresh", fields={"refresh_token": self.person.refresh_token})):
            pair = reply.json
            self.person = replace(self.person, access_token=pair["access_token"], refresh_token=pair["refresh_token"])
        await self.ask(request("POST", "/login", fields={"username": self.person.username, "password": PASSWORD}))


def callers_of(fleet: Fleet, kind: type[Caller]) -> list[Caller]:
    with Client(fleet.port) as client:
        return [kind(fleet.port, client.somebody()) for _ in range(CALLERS)]


def test_both_nodes_are_rolled_over_under_load_and_no_request_fails(fleet: Fleet) -> None:
    """SIGTERM: the node says that it is not ready, answers what still comes, and goes when nothing is under way."""
    with calling(callers_of(fleet, BusyCaller)) as heard:
        for number in (1, 2):
            before = len(heard())
            fleet.stop(number)
            fleet.start(number)
            until_status(fleet.haproxy, number, "UP")
            until(lambda before=before: len(heard()) > before + 20, "nobody is answered")  # type: ignore[misc] # bound now
    assert set(heard()) == {WELL}, fleet.haproxy.log.read_text()


def test_a_node_that_is_killed_costs_those_who_read_nothing(fleet: Fleet) -> None:
    """What it had under way is asked of the other; there is not one error."""
    try:
        with calling(callers_of(fleet, Caller)) as heard:
            until(lambda: len(heard()) > 200, "nobody is answered")
            fleet.kill(1)
            before = len(heard())
            until_status(fleet.haproxy, 1, "DOWN")
            until(lambda: len(heard()) > before + 200, "nobody is answered")
    finally:
        fleet.stop(1)
        fleet.start(1)
        until_status(fleet.haproxy, 1, "UP")
    assert set(heard()) == {WELL}, fleet.haproxy.log.read_text()


def test_what_a_client_writes_of_its_address_does_not_reach_the_throttle(postgres: EmbeddedPostgres) -> None:
    """Three failures from one address are allowed here; a new address in X-Forwarded-For each time must not buy another."""
    settings = {"THROTTLE_ADDRESS_FAILURES": "3", "API_PROCESSES": "1"}
    with a_fleet(postgres, **settings) as fleet, Client(fleet.port) as client:
        fields = {"username": fresh_name(), "password": PASSWORD}
        told = [client.form("/login", fields, X_Forwarded_For=f"203.0.113.{number}").status for number in range(1, 12)]
        # Each node counts for itself here, for there is no cache that they share.
        assert told.count(404) <= 6
        assert told[-1] == 429


def test_a_node_that_is_told_to_stop_says_so_and_answers_what_still_comes(postgres: EmbeddedPostgres) -> None:
    """The race that this closes is seldom lost even without it, so here it is seen without a race."""
    with own_node(postgres, TRUSTED_HOPS="1", STOP_NOTICE_MS="5000", API_PROCESSES="1") as node:
        with node.client() as client:
            assert client.get("/health/ready").status == 200
            node.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/health/ready").status == 503, "it does not say that it stops")
            reply = client.get("/health/live")
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert node.process.wait(60) == 0
