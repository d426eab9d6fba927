"""A release with migrations is rolled out under load beside the old one, and nobody notices (docs/UPGRADING.md).

As in production: all share a Valkey; what is new also has a NATS and a replica, of which the old release knows nothing.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.balancers import until_status
from tests.support.client import PASSWORD, Client, fresh_name, fresh_phone_number
from tests.support.commands import tidegate
from tests.support.fleets import WELL, Caller, Fleet, a_fleet, calling
from tests.support.measures import measure
from tests.support.nats_servers import own_nats
from tests.support.nodes import free_ports, running_worker
from tests.support.older import LAST_VERSION, OlderRelease, older_release
from tests.support.own_replicas import own_replica_of
from tests.support.valkeys import own_valkey
from tests.support.waiting import until
from tests.support.wires import request
from tidegate.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.full

CALLERS = 4
ENOUGH = 60
"""Requests of each stage, of which a turn of a caller has 9."""

NEW_PASSWORD = PASSWORD + " that is new"


@dataclass
class Resident:
    """What somebody was promised, and is to find again after the roll-out.

    Attributes:
        identifiers: Each names them at a login.
        kept: A refresh token of a session that was left alone since.
        gone: Access tokens of sessions that a change of the password has ended.
    """

    identifiers: dict[str, str]
    password: str
    kept: str = ""
    gone: list[str] = field(default_factory=list)


@dataclass
class Newcomer(Caller):
    """Registers somebody new in each turn, and does for them all that a user can do."""

    residents: list[Resident] = field(default_factory=list)

    async def turn(self) -> None:
        name = fresh_name()
        person = Resident(
            {"username": name, "email": f"{name}@example.com", "phone_number": fresh_phone_number()}, PASSWORD
        )
        if await self.ask(request("POST", "/register", members={**person.identifiers, "password": PASSWORD})) is None:
            return
        self.residents.append(person)
        pairs = [
            await self._pair("/login", {kind: value, "password": PASSWORD}) for kind, value in person.identifiers.items()
        ]
        person.kept = pairs[-1].get("refresh_token", "")
        token = (await self._pair("/refresh", {"refresh_token": pairs[0].get("refresh_token", "")})).get("access_token", "")
        await self.ask(request("GET", "/me", token=token))
        await self.ask(request("PATCH", "/me", token=token, members={"full_name": "Ada"}))
        if len(self.residents) % 2:
            return
        fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        changed = await self._pair("/me/password", fields, token=token)
        if changed:
            person.password, person.kept = NEW_PASSWORD, changed["refresh_token"]
            person.gone += [pair.get("access_token", "") for pair in pairs]
            await self.ask(request("GET", "/me", token=changed["access_token"]))

    async def _pair(self, path: str, fields: dict[str, str], *, token: str | None = None) -> dict[str, str]:
        reply = await self.ask(request("POST", path, token=token, fields=fields))
        pair: dict[str, str] = reply.json if reply is not None and reply.status == 200 else {}
        return pair


@dataclass
class RollOut:
    """What the stages of one roll-out share."""

    fleet: Fleet
    callers: Sequence[Newcomer]

    def heard(self) -> list[str]:
        return [each for caller in self.callers for each in caller.heard]

    def under_load(self) -> None:
        """Let the callers go on for a while, and look that none was refused anything."""
        before = len(self.heard())
        until(lambda: len(self.heard()) > before + ENOUGH, "nobody is answered")
        assert set(self.heard()) == {WELL}, self.fleet.haproxy.log.read_text()

    def replace_node(self, number: int, source: Path | None = None) -> None:
        """By one of the release in *source*, or of ours, as docs/UPGRADING.md says of releases that give no notice."""
        self.fleet.drain(number)
        self.fleet.stop(number)
        self.fleet.start(number, source=source)
        self.fleet.undrain(number)
        until_status(self.fleet.haproxy, number, "UP")

    def ask_database(self, query: str, *values: object) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.fleet.dsn)
            try:
                rows: list[asyncpg.Record] = await connection.fetch(query, *values)
            finally:
                await connection.close()
            return rows

        return asyncio.run(ask())

    def count(self, query: str, *values: object) -> int:
        return int(self.ask_database(query, *values)[0][0])


@contextlib.contextmanager
def a_worker(roll_out: RollOut, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the release that node *number* is of now."""
    with running_worker(roll_out.fleet.node(number)) as worker:
        yield worker
        assert worker.poll() is None, "the worker ended by itself"


def refused(roll_out: RollOut) -> None:
    """Whoever starts the new code too early is told, and nothing of it runs."""
    settings = {
        name.removeprefix("TIDEGATE_"): value
        for name, value in roll_out.fleet.node(1).environment.items()
        if name.startswith("TIDEGATE_")
    }
    port, metrics_port = free_ports(2)
    for command in ("api", "worker"):
        done = tidegate(command, settings=settings | {"PORT": str(port), "METRICS_PORT": str(metrics_port)})
        assert (done.returncode, "tidegate migrate up" in done.stderr) == (os.EX_PROTOCOL, True), done.stderr


def migrated(roll_out: RollOut) -> None:
    done = tidegate("migrate", "up", settings={"PRIMARY_DSN": roll_out.fleet.dsn})
    assert done.returncode == 0, done.stderr
    assert roll_out.count("SELECT count(*) FROM schema_migrations WHERE version > $1", LAST_VERSION) > 0


def logged_in(port: int) -> str:
    """Somebody who registered and logged in where *port* is, by their username."""
    with Client(port) as client:
        return client.somebody().username


def each_hears_of_the_other(fleet: Fleet) -> None:
    """What one node revokes the other refuses, whichever of them is the old one."""
    (one, _), (other, _) = fleet.ports
    for ended, seen in ((one, other), (other, one)):
        with Client(ended) as client, Client(seen) as elsewhere:
            token = client.somebody().access_token
            assert elsewhere.get("/me", token=token).status == 200
            assert client.form("/logout", token=token).status == 200
            until(lambda elsewhere=elsewhere, token=token: elsewhere.get("/me", token=token).status == 401, "still let in")  # type: ignore[misc] # bound now


JOBS_OF = "SELECT count(*) FROM jobs JOIN users ON userid = user_id WHERE username = $1 AND kind = $2"

AUDIT_OF = "SELECT event FROM audit JOIN users ON userid = user_id WHERE username = $1 ORDER BY 1"

RECORDED = """
SELECT username, last_login = (SELECT max(created_at) AT TIME ZONE 'utc' FROM sessions WHERE user_id = userid) AS is_latest,
    (SELECT count(*) FROM sessions WHERE user_id = userid) AS logins,
    (SELECT count(*) FROM audit WHERE user_id = userid AND event = 'login_succeeded') AS audited
FROM users WHERE username = ANY ($1) ORDER BY username
"""


def test_a_release_with_migrations_is_rolled_out_under_load_and_no_request_fails(postgres: EmbeddedPostgres) -> None:
    with (
        older_release() as older,
        own_replica_of(postgres, "rolling") as replica,
        own_nats() as nats,
        own_valkey() as valkey,
        a_fleet(postgres, older, API_PROCESSES="1", CACHE_URL=valkey.url) as fleet,
    ):
        database = urlsplit(fleet.dsn).path.removeprefix("/")
        fleet.of_ours |= {"QUEUE_URL": nats.url, "REPLICA_DSNS": replica.dsn(database)}
        with Client(fleet.port) as client:
            somebody = client.somebody()
        callers = [Newcomer(fleet.port, somebody) for _ in range(CALLERS)]
        roll_out = RollOut(fleet, callers)
        with calling(callers):
            forward(roll_out)
            back(roll_out, older)
        assert set(roll_out.heard()) == {WELL}, fleet.haproxy.log.read_text()
        assert_promises_are_kept(fleet, [each for caller in callers for each in caller.residents])


def forward(roll_out: RollOut) -> None:
    """The database, one node, the worker, the other node."""
    fleet = roll_out.fleet
    with a_worker(roll_out, 2):
        roll_out.under_load()
        refused(roll_out)
        migrated(roll_out)
        roll_out.under_load()
        roll_out.replace_node(1)
        roll_out.under_load()
        each_hears_of_the_other(fleet)
        by_new_code = logged_in(fleet.ports[0][0])
        until(lambda: roll_out.count(JOBS_OF, by_new_code, "login_succeeded") == 0, "the old worker leaves what it knows")
        assert roll_out.count(JOBS_OF, by_new_code, "user_registered") == 1
        assert roll_out.count("SELECT count(*) FROM changes") > 0, "who told of them?"
        beside_a_new_worker(roll_out)
    by_old_code = logged_in(fleet.ports[1][0])
    assert roll_out.count(JOBS_OF, by_old_code, "login_succeeded") == 1
    with a_worker(roll_out, 1):
        roll_out.under_load()
        roll_out.replace_node(2)
        roll_out.under_load()
        until_done(roll_out)
        # Who was logged in by the old code is recorded by the new worker; the old one keeps no such records.
        assert [row[0] for row in roll_out.ask_database(AUDIT_OF, by_old_code)] == ["login_succeeded"]
        assert [row[0] for row in roll_out.ask_database(AUDIT_OF, by_new_code)] == ["user_registered"]
        assert_recorded_once(roll_out, [by_old_code, by_new_code])
        until_told(roll_out)


def beside_a_new_worker(roll_out: RollOut) -> None:
    """Old and new, both of nodes and of workers, with all that the new ones have."""
    fleet = roll_out.fleet
    with a_worker(roll_out, 1):
        roll_out.under_load()
        until_told(roll_out)
        until(lambda: measure(fleet.node(1), "tidegate_feed_by_queue") == 1, "the queue tells nothing")
        until(lambda: measure(fleet.node(1), "tidegate_replica_up") == 1, "the replica is not asked")
        read = measure(fleet.node(1), "tidegate_user_lookups_total", outcome="replica")
        roll_out.under_load()
        until(  # a busy machine's replica may be too far behind for a moment, and is not asked then
            lambda: measure(fleet.node(1), "tidegate_user_lookups_total", outcome="replica") > read,
            "the replica is up, and nobody reads from it",
        )
        each_hears_of_the_other(fleet)
        both = [logged_in(port) for _ in range(5) for port, _ in fleet.ports]
        until_done(roll_out)
        assert_recorded_once(roll_out, both)


def until_done(roll_out: RollOut) -> None:
    """Wait until all jobs that were put before are done, and see that none was given up."""
    put = roll_out.count("SELECT coalesce(max(job_id), 0) FROM jobs")
    until(lambda: roll_out.count("SELECT count(*) FROM jobs WHERE job_id <= $1", put) == 0, "jobs are left")
    assert roll_out.count("SELECT count(*) FROM dead_jobs") == 0


def until_told(roll_out: RollOut) -> None:
    """Wait until all changes that were made before are told, and gone."""
    made = roll_out.count("SELECT coalesce(max(change_id), 0) FROM changes")
    until(lambda: roll_out.count("SELECT count(*) FROM changes WHERE change_id <= $1", made) == 0, "changes are left")


def assert_recorded_once(roll_out: RollOut, names: list[str]) -> None:
    """Each of *names* has logged in once: that moment is their last login, whoever did the job, and no record is double."""
    found = roll_out.ask_database(RECORDED, names)
    assert len(found) == len(names)
    for row in found:
        assert row["is_latest"], row
        assert row["audited"] <= row["logins"] == 1, row


def back(roll_out: RollOut, older: OlderRelease) -> None:
    """A node and its worker are the old ones again, on the schema as it is now."""
    roll_out.replace_node(1, older.source)
    with a_worker(roll_out, 1):
        roll_out.under_load()
        each_hears_of_the_other(roll_out.fleet)
        until(lambda: roll_out.count("SELECT count(*) FROM jobs WHERE kind = 'user_registered'") > 0, "nobody comes")
        somebody = logged_in(roll_out.fleet.ports[1][0])
        until(lambda: roll_out.count(JOBS_OF, somebody, "login_succeeded") == 0, "the old worker does nothing")


def assert_promises_are_kept(fleet: Fleet, residents: Sequence[Resident]) -> None:
    """Everybody finds their account by one of their names, and their session; what was ended stays so."""
    kinds = ("username", "email", "phone_number")
    with Client(fleet.port) as client:
        for number, person in enumerate(residents):
            kind = kinds[number % 3]
            reply = client.form("/login", {kind: person.identifiers[kind], "password": person.password})
            assert reply.status == 200, (number, kind, reply.body)
            assert client.form("/refresh", {"refresh_token": person.kept}).status == 200
            assert {client.get("/me", token=token).status for token in person.gone} <= {401}
    assert any(person.gone for person in residents)
