"""Real nodes behind a real nginx, rolled over under load: it asks none how it is, so it is they who must lose nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.fleets import WELL, Caller, FleetBehindNginx, a_fleet_behind_nginx, calling
from tests.support.waiting import until
from tests.support.wires import request
from tidegate.embedded.postgres import EmbeddedPostgres

CALLERS = 6


@pytest.fixture(scope="module")
def fleet(postgres: EmbeddedPostgres) -> Iterator[FleetBehindNginx]:
    with a_fleet_behind_nginx(postgres) as running:
        yield running


@dataclass
class BusyCaller(Caller):
    """It logs in, refreshes its tokens and reads, all of which but the last nginx may not send twice."""

    async def turn(self) -> None:
        await super().turn()
        reply = await self.ask(request("POST", "/refresh", fields={"refresh_token": self.person.refresh_token}))
        if reply is not None and reply.status == 200:
            pair = reply.json
            self.person = replace(self.person, access_token=pair["access_token"], refresh_token=pair["refresh_token"])
        await self.ask(request("POST", "/login", fields={"username": self.person.username, "password": PASSWORD}))


def test_both_nodes_are_rolled_over_under_load_and_no_request_fails(fleet: FleetBehindNginx) -> None:
    """SIGTERM: nginx goes on sending until the port is closed; who has come by then is answered, others go elsewhere."""
    with Client(fleet.port) as client:
        callers = [BusyCaller(fleet.port, client.somebody()) for _ in range(CALLERS)]
    with calling(callers) as heard:
        for number in (1, 2):
            before = len(heard())
            fleet.stop(number)
            fleet.start(number)
            until(lambda before=before: len(heard()) > before + 20, "nobody is answered")  # type: ignore[misc] # bound now
    assert set(heard()) == {WELL}, fleet.nginx.log.read_text()
