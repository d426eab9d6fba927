"""The race of P3 at its narrowest: a login stands still right before its commit, and what ends it comes meanwhile.

Nothing here is left to chance: a trigger holds the sessions of one device at their INSERT, and each step waits until the
one before it can be seen to have come to where it stands.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

import asyncpg
import pytest

from tests.support.client import PASSWORD, Client, Person
from tests.support.lines import Line, open_lines
from tests.support.nodes import Node
from tests.support.revoking import Dead
from tests.support.tables import rows
from tests.support.waiting import until

DEVICE: Final = "a device that is held"
LOCK: Final = 7_010_203
"""Any number that nobody else takes an advisory lock on."""


class Holder:
    """Holds the sessions of the device at their INSERT, until it lets go."""

    def __init__(self, dsn: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(dsn))
        self._runner.run(self._connection.execute(f"SELECT pg_advisory_lock({LOCK})"))

    def let_go(self) -> None:
        self._runner.run(self._connection.execute("SELECT pg_advisory_unlock_all()"))

    @property
    def waiting(self) -> int:
        """How many transactions wait, for us or for each other."""
        return int(self._runner.run(self._connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


@pytest.fixture
def holder(shared_node: Node) -> Iterator[Holder]:
    rows(
        shared_node.dsn,
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.device = '{DEVICE}' THEN PERFORM pg_advisory_xact_lock_shared({LOCK}); END IF; RETURN NEW; END $$",
    )
    rows(shared_node.dsn, "CREATE TRIGGER hold AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION hold()")
    holder = Holder(shared_node.dsn)
    yield holder
    holder.close()
    rows(shared_node.dsn, "DROP FUNCTION hold CASCADE")


@pytest.fixture
def lines(shared_node: Node) -> Iterator[list[Line]]:
    """One to each API process."""
    with open_lines(shared_node) as lines:
        yield lines


@pytest.fixture
def held_login(client: Client, lines: list[Line], holder: Holder) -> Person:
    """Somebody who is logged in, and whose second login, on the first line, has reached its INSERT."""
    person = client.person()
    lines[0].ask("POST", "/login", {"username": person.username, "password": PASSWORD}, device=DEVICE)
    until(lambda: holder.waiting == 1, "the login does not reach its INSERT")
    return person


def test_a_change_of_password_waits_for_a_login_that_is_about_to_commit_and_ends_it(
    client: Client, lines: list[Line], holder: Holder, held_login: Person
) -> None:
    """It finds the password that it relies on and no session, but one is coming."""
    fields = {"current_password": PASSWORD, "new_password": "battery staple horse"}
    lines[1].ask("POST", "/me/password", fields, token=held_login.access_token)
    until(lambda: holder.waiting == 2, "the change does not wait for the login")
    holder.let_go()
    logged_in, changed = (line.answer() for line in lines)
    assert (logged_in.status, changed.status) == (200, 200)
    mine = {"access_token": held_login.access_token, "refresh_token": held_login.refresh_token}
    Dead(lines, [mine, logged_in.json]).must_be_dead()
    assert client.get("/me", token=changed.json["access_token"]).status == 200


def test_a_logout_of_all_waits_for_no_login(client: Client, lines: list[Line], holder: Holder, held_login: Person) -> None:
    """Both were asked at once and the password stands: a login that ends later goes on."""
    assert lines[1].form("/logout", {"scope": "all"}, token=held_login.access_token).status == 200
    assert holder.waiting == 1
    holder.let_go()
    logged_in = lines[0].answer()
    assert logged_in.status == 200
    assert client.get("/me", token=logged_in.json["access_token"]).status == 200
    mine = {"access_token": held_login.access_token, "refresh_token": held_login.refresh_token}
    Dead(lines, [mine]).must_be_dead()
