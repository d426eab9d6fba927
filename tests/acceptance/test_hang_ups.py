"""Five thousand clients hang up at all points of their requests, and nobody ever sees what is another's (DESIGN 6).

What could go wrong: a request that is cancelled while its statement is under way leaves a connection on which the answer is
still to come, and whoever is lent it next reads that. Who hangs up is served to the end, so hanging up alone cancels
nothing; the deadline does. So a few users write all the while what triggers hold for about as long as a request may take:
one statement is cancelled at its start, the next when its answer is just on its way.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from tests.support.client import PASSWORD, Person, Reply, fresh_name, fresh_phone_number
from tests.support.holdings import at_rest, must_be_given_back
from tests.support.lines import process_of
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.seeds import seeded
from tests.support.tables import rows
from tests.support.waiting import until, until_so
from tests.support.wires import Parting, Wire, hang_up, request
from tidegate.embedded.postgres import EmbeddedPostgres

HANG_UPS: Final = 5_000
AT_ONCE: Final = 64
DEADLINE_MS: Final = 1_000
WIRES_PER_PROCESS: Final = 2
"""Of each poller."""

HELD_AT_ONCE: Final = 6
"""Fewer than the connections of one process (8), should all of them reach the same: the pollers must find one."""

WARM_UPS: Final = 200

BUSY: Final = (503, b'{"code":"503","message":"service unavailable"}')

CHANGES: Final = {"A": "Änne", "B": "Боб"}
"""How the pollers' names begin; in other letters and of other lengths, lest a mix-up pass for right."""

HELD_AT_INSERT, HELD_AT_CHANGE = "held-at-insert", "held-at-change"
"""How the usernames begin whose registration is held, and whose change of password is, twice in its transaction."""

TRIGGERS: Final = f"""
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(TG_ARGV[0]::float8 + random() * TG_ARGV[1]::float8) FROM users
    WHERE userid = (to_jsonb(NEW) ->> TG_ARGV[2])::uuid AND starts_with(username, TG_ARGV[3]);
    RETURN NEW;
END $$;
CREATE TRIGGER hold_insert AFTER INSERT ON users FOR EACH ROW
EXECUTE FUNCTION hold(0.85, 0.3, 'userid', '{HELD_AT_INSERT}');
CREATE TRIGGER hold_change AFTER UPDATE OF password ON users FOR EACH ROW
EXECUTE FUNCTION hold(0.55, 0.1, 'userid', '{HELD_AT_CHANGE}');
CREATE TRIGGER hold_revocation AFTER UPDATE OF revoked_at ON sessions FOR EACH ROW
EXECUTE FUNCTION hold(0.55, 0.1, 'user_id', '{HELD_AT_CHANGE}');
"""
"""Each for a random time: at least, and at most as much more, in seconds. A registration is held for about `DEADLINE_MS`,
a change of password for longer, though no statement of it for as long as a statement may take."""


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    deadline_ms = str(DEADLINE_MS)
    with own_node(
        postgres,
        API_PROCESSES="2",
        REQUEST_DEADLINE_MS=deadline_ms,
        RECEIVE_DEADLINE_MS=deadline_ms,
        HASH_WAIT_MS_MAX=deadline_ms,
        DATABASE_ACQUIRE_TIMEOUT_MS=deadline_ms,
        DATABASE_CONNECT_TIMEOUT_MS=deadline_ms,
        DATABASE_STATEMENT_TIMEOUT_MS=deadline_ms,
    ) as node:
        for statement in TRIGGERS.split(";\nCREATE"):
            rows(node.dsn, statement if statement.startswith("\nCREATE") else f"CREATE{statement}")
        yield node


@dataclass
class Storm:
    """Those who hang up, those who are held and those who watch.

    Attributes:
        crowd: Who hang up, as the pollers do on other connections.
        forgetful: Who hang up at their refresh, until the reuse ends their sessions.
        statuses: What the pollers, and those who are held, were answered.
        late: How many changes of password took too long; they are held in the statements of their transaction.
    """

    node: Node
    chance: random.Random
    pollers: dict[str, Person]
    crowd: list[Person]
    forgetful: list[Person]
    is_over: bool = False
    late: int = 0
    statuses: dict[str, Counter[int]] = field(default_factory=lambda: {"polled": Counter(), "held": Counter()})

    async def run(self, hang_ups: int) -> None:
        """Let *hang_ups* clients hang up while the others go on."""
        wires = {name: await self._wires_of(person) for name, person in self.pollers.items()}
        held = [await self._wire() for _ in range(HELD_AT_ONCE)]
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, mine in wires.items():
                    for wire in mine:
                        tasks.create_task(self._poll(name, wire))
                for wire in held:
                    tasks.create_task(self._be_held(wire))
                await self._hang_up_often(hang_ups)
                # A busy machine hashes little meanwhile, and who gets no hash comes to no statement.
                await until_so(lambda: self.late >= HELD_AT_ONCE, "no change of password comes as far as its statements")
                self.is_over = True
            for name, mine in wires.items():
                for wire in mine:
                    assert self._judge(name, await wire.ask(self._me(name))) == 200, "nobody is in the way any more"
        finally:
            for wire in (*held, *(wire for mine in wires.values() for wire in mine)):
                wire.close()

    async def _wire(self) -> Wire:
        """One that has been answered: a busy machine may send its first request too late after it was opened."""
        while True:
            wire = await Wire.to(self.node.port)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                assert (await wire.ask(request("GET", "/health/live"))).status == 200
                return wire
            wire.close()

    async def _wires_of(self, person: Person) -> list[Wire]:
        """As many to each API process as there are to be; the kernel decides which one a connection goes to."""
        by_process: dict[str, list[Wire]] = {}
        while len(by_process) < 2 or any(len(wires) < WIRES_PER_PROCESS for wires in by_process.values()):
            wire = await self._wire()
            reply = await wire.ask(request("GET", "/me", token=person.access_token))
            wires = by_process.setdefault(process_of(reply), [])
            if len(wires) < WIRES_PER_PROCESS:
                wires.append(wire)
            else:
                wire.close()
        return [wire for wires in by_process.values() for wire in wires]

    def _me(self, name: str) -> bytes:
        return request("GET", "/me", token=self.pollers[name].access_token)

    async def _poll(self, name: str, wire: Wire) -> None:
        while not self.is_over:
            self.statuses["polled"][self._judge(name, await wire.ask(self._me(name)))] += 1

    def _judge(self, name: str, reply: Reply) -> int:
        """Whether the poller *name* was told of itself, or that it must wait."""
        if reply.status != 200:
            assert (reply.status, reply.body) == BUSY
            return reply.status
        person, profile = self.pollers[name], reply.json
        told = profile.pop("userid"), profile.pop("username"), profile.pop("email"), profile.pop("phone_number")
        assert told == (person.user_id, person.username, person.email, person.phone_number)
        assert (profile.pop("full_name") or CHANGES[name]).startswith(CHANGES[name])
        assert profile.pop("coupons") == []
        assert profile.keys() <= {"birthdate", "last_login"}
        return 200

    async def _be_held(self, wire: Wire) -> None:
        while not self.is_over:
            await self._register(wire, HELD_AT_INSERT)
            name = await self._register(wire, HELD_AT_CHANGE)
            if name is None:
                continue
            pair = await self._ask(wire, request("POST", "/login", fields={"username": name, "password": PASSWORD}))
            if pair.status == 200:
                fields = {"current_password": PASSWORD, "new_password": f"{PASSWORD} new"}
                change = request("POST", "/me/password", token=pair.json["access_token"], fields=fields)
                self.late += (await self._ask(wire, change)).status == 503

    async def _register(self, wire: Wire, stem: str) -> str | None:
        """The new user's name, or None if that took too long."""
        members = {"username": fresh_name(stem), "password": PASSWORD}
        reply = await self._ask(wire, request("POST", "/register", members=members))
        return members["username"] if reply.status == 200 else None

    async def _ask(self, wire: Wire, whole: bytes) -> Reply:
        """Ask for what may take too long."""
        reply = await wire.ask(whole)
        assert reply.status == 200 or (reply.status, reply.body) == BUSY
        self.statuses["held"][reply.status] += 1
        return reply

    async def _hang_up_often(self, times: int) -> None:
        to_come = iter(range(times))

        async def one_by_one() -> None:
            for _ in to_come:
                await hang_up(self.node.port, self._request(), self.chance.choice(list(Parting)), self.chance)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(one_by_one())

    def _request(self) -> bytes:
        """By a poller or one of the crowd; every fifth costs a hash."""
        name, poller = self.chance.choice(list(self.pollers.items()))
        person = self.chance.choice([poller, *self.crowd])
        match self.chance.randrange(10):
            case 0:
                return request("POST", "/login", fields={"username": person.username, "password": PASSWORD})
            case 1:
                return request("POST", "/register", members={"username": fresh_name("gone"), "password": PASSWORD})
            case 2 | 3 | 4:
                forgetful = self.chance.choice(self.forgetful)
                return request("POST", "/refresh", fields={"refresh_token": forgetful.refresh_token})
            case 5 | 6 | 7:
                return request("GET", "/me", token=person.access_token)
            case _:
                number = self.chance.randrange(10**6)
                change = {"full_name": f"{CHANGES[name]} {number}" if person is poller else f"of the crowd {number}"}
                return request("PATCH", "/me", token=person.access_token, members=change)


def backend_ids(node: Node) -> set[int]:
    """PostgreSQL's processes that serve the pools: a connection whose statement was cancelled is replaced."""
    statement = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidegate'"
    return {row["pid"] for row in rows(node.dsn, statement)}


def person_of(node: Node) -> Person:
    """Somebody new; a machine that is busy hashes nothing within the deadline, and then it is asked again."""
    name, number = fresh_name(), fresh_phone_number()
    members = {"username": name, "email": f"{name}@example.com", "phone_number": number, "password": PASSWORD}
    with node.client() as client:
        until(lambda: client.send_json("/register", members).status in (200, 400), "nobody can register")
        replies: list[Reply] = []

        def has_logged_in() -> bool:
            replies.append(client.form("/login", {"username": name, "password": PASSWORD}))
            return replies[-1].status == 200

        until(has_logged_in, "nobody can log in")
    return Person.of(name, number, replies[-1].json)


def test_nobody_sees_what_is_another_s_while_five_thousand_hang_up(node: Node) -> None:
    """And everything that they took comes back."""
    pollers = {name: person_of(node) for name in CHANGES}
    crowd, forgetful = ([person_of(node) for _ in range(6)] for _ in range(2))
    chance = seeded("hang-ups")
    asyncio.run(Storm(node, chance, pollers, crowd, forgetful).run(WARM_UPS))  # some descriptors open when first needed
    before, backends = at_rest(node), backend_ids(node)

    storm = Storm(node, chance, pollers, crowd, forgetful)
    asyncio.run(storm.run(HANG_UPS))

    print(storm.statuses, len(backend_ids(node) - backends), "connections replaced")
    must_be_given_back(node, before)
    assert backend_ids(node) - backends, "no request was cancelled at a statement"
    assert storm.statuses["polled"][200] > storm.statuses["polled"][503]
    assert person_of(node)
