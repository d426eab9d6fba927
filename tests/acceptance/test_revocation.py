"""Whatever ends a session: its refresh token is refused at once, its access tokens within 1 s, on every process (P5)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.lines import Line, api_processes, open_lines, standing_still
from tests.support.measures import measure
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.revoking import refused_in_time
from tests.support.tables import rows, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

PROCESSES = 3
NEW_PASSWORD = "battery staple horse"

Pair = Mapping[str, str]


@dataclass
class Case:
    """A user with two sessions, and another user.

    Attributes:
        mine: The pair whose access token does the ending.
        other: The same user's, from another device.
        anothers: Somebody else's.
        username: The user's.
    """

    node: Node
    client: Client
    username: str
    mine: Pair
    other: Pair
    anothers: Pair

    def end(self, path: str, **fields: str) -> Pair:
        """Do it by a form and this user's own access token; the answer, where that is a pair."""
        reply = self.client.form(path, fields, token=self.mine["access_token"])
        assert reply.status == 200, (reply.status, reply.body)
        answered: Pair = reply.json
        return answered

    def other_session_id(self) -> str:
        listed = self.client.get("/me/sessions", token=self.mine["access_token"]).json["sessions"]
        (session_id,) = [session["id"] for session in listed if not session["current"]]
        return str(session_id)


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """Three API processes, so that two of them hear of each revocation by the feed alone."""
    with own_node(postgres, API_PROCESSES=str(PROCESSES)) as node:
        yield node


@pytest.fixture(scope="module")
def lines(node: Node) -> Iterator[list[Line]]:
    """One to each process."""
    with open_lines(node) as lines:
        assert {line.pid for line in lines} == set(api_processes(node))
        assert len(lines) == PROCESSES
        yield lines


@pytest.fixture
def case(node: Node) -> Iterator[Case]:
    client = node.client()
    username = client.register()
    mine, other = client.log_in(username), client.log_in(username)
    yield Case(node, client, username, mine, other, client.log_in(client.register()))
    client.close()


def log_out_this(case: Case) -> tuple[list[Pair], list[Pair]]:
    case.end("/logout")
    return [case.mine], [case.other]


def log_out_others(case: Case) -> tuple[list[Pair], list[Pair]]:
    case.end("/logout", scope="others")
    return [case.other], [case.mine]


def log_out_all(case: Case) -> tuple[list[Pair], list[Pair]]:
    case.end("/logout", scope="all")
    return [case.mine, case.other], []


def change_password(case: Case) -> tuple[list[Pair], list[Pair]]:
    continued = case.end("/me/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    return [case.mine, case.other], [continued]


def end_the_other_by_its_id(case: Case) -> tuple[list[Pair], list[Pair]]:
    reply = case.client.delete(f"/me/sessions/{case.other_session_id()}", token=case.mine["access_token"])
    assert reply.status == 200, reply.body
    return [case.other], [case.mine]


def give_back_the_refresh_token(case: Case) -> tuple[list[Pair], list[Pair]]:
    case.end("/revoke", token=case.mine["refresh_token"])
    return [case.mine], [case.other]


def give_back_the_access_token(case: Case) -> tuple[list[Pair], list[Pair]]:
    case.end("/revoke", token=case.mine["access_token"], token_type_hint="access_token")
    return [case.mine], [case.other]


def disable(case: Case) -> tuple[list[Pair], list[Pair]]:
    done = case.node.command("users", "disable", case.username)
    assert done.returncode == 0, done.stderr
    return [case.mine, case.other], []


def delete(case: Case) -> tuple[list[Pair], list[Pair]]:
    done = case.node.command("users", "delete", case.username, "--yes")
    assert done.returncode == 0, done.stderr
    return [case.mine, case.other], []


Ending = Callable[[Case], tuple[list[Pair], list[Pair]]]
"""Ends sessions; the pairs that must die by it, and those of the same user that must not."""

BY_THE_USER: list[Ending] = [
    log_out_this,
    log_out_others,
    log_out_all,
    change_password,
    end_the_other_by_its_id,
    give_back_the_refresh_token,
    give_back_the_access_token,
]
BY_THE_OPERATOR: list[Ending] = [disable, delete]


def ended_everywhere(case: Case, lines: list[Line], dead: list[Pair], living: list[Pair]) -> None:
    """Assert that *dead* are refused and *living* and the other user's are not, by every process."""
    for pair in dead:
        refused_in_time(lines, pair["access_token"])
        for line in lines:
            reply = line.form("/refresh", {"refresh_token": pair["refresh_token"]})
            assert (reply.status, reply.json["message"]) == (401, "unauthorized")
    for pair in (*living, case.anothers):
        for line in lines:
            assert line.get("/me", token=pair["access_token"]).status == 200
            assert line.form("/refresh", {"refresh_token": pair["refresh_token"]}).status == 200


@pytest.mark.parametrize("ending", [*BY_THE_USER, *BY_THE_OPERATOR], ids=lambda ending: ending.__name__)
def test_what_is_ended_is_refused_on_every_process_and_nothing_else(ending: Ending, case: Case, lines: list[Line]) -> None:
    ended_everywhere(case, lines, *ending(case))


def test_a_refresh_token_is_refused_at_once_by_every_process(case: Case, lines: list[Line]) -> None:
    """No feed, no second: the row decides."""
    case.end("/logout")
    assert [line.form("/refresh", {"refresh_token": case.mine["refresh_token"]}).status for line in lines] == [401] * 3


class TestWithoutTheFeed:
    """A process that has lost the feed of revocations asks the primary instead (DESIGN 5.4)."""

    @pytest.mark.parametrize("ending", BY_THE_USER, ids=lambda ending: ending.__name__)
    def test_a_feed_that_breaks_right_before_the_revocation_misses_nothing(
        self, ending: Ending, case: Case, lines: list[Line], postgres: EmbeddedPostgres
    ) -> None:
        name = database_of(case.node)
        until(lambda: feeds(postgres, name) == PROCESSES, "a feed does not come back")
        assert end_feeds(postgres, name) == PROCESSES
        ended_everywhere(case, lines, *ending(case))

    def test_a_feed_that_stands_still_right_before_the_revocation_misses_nothing(
        self, case: Case, lines: list[Line], postgres: EmbeddedPostgres
    ) -> None:
        """The connection is open and nothing comes: only the age of the last heartbeat tells."""
        name = database_of(case.node)
        until(lambda: feeds(postgres, name) == PROCESSES, "a feed does not come back")
        pids = [row["pid"] for row in rows(postgres.dsn("postgres"), f"SELECT pid {_FEEDS}", name)]
        with standing_still(pids):
            dead, living = log_out_this(case)
            ended_everywhere(case, lines, dead, [])
        ended_everywhere(case, lines, dead, living)

    def test_while_no_process_has_a_feed_revocations_hold_and_nobody_else_is_refused(
        self, case: Case, lines: list[Line], postgres: EmbeddedPostgres
    ) -> None:
        name = database_of(case.node)
        with nobody_let_in(postgres, name):
            until(
                lambda: end_feeds(postgres, name) == measure(case.node, "tidegate_revocation_feed_up") == 0,
                "a process still trusts its feed",
            )
            ended_everywhere(case, lines, *log_out_this(case))
            assert case.client.form("/logout", token=case.other["access_token"]).status == 200
            ended_everywhere(case, lines, [case.other], [])
        until(lambda: measure(case.node, "tidegate_revocation_feed_up") == PROCESSES, "the feed does not come back")
        ended_everywhere(case, lines, [case.mine, case.other], [])


@contextmanager
def nobody_let_in(server: EmbeddedPostgres, database: str) -> Iterator[None]:
    """Let PostgreSQL refuse every new connection to *database*; those that are open stay."""
    rows(server.dsn("postgres"), f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
    try:
        yield
    finally:
        rows(server.dsn("postgres"), f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')


def database_of(node: Node) -> str:
    """The name of *node*'s database."""
    return str(value(node.dsn, "SELECT current_database()::text"))


_FEEDS = (
    "FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'tidegate%'"
    " AND (query LIKE 'LISTEN %' OR query LIKE '%pg_listening_channels%')"
)


def feeds(server: EmbeddedPostgres, database: str) -> int:
    """How many connections to *database* listen. Asked from outside, for nobody may be let in."""
    return int(value(server.dsn("postgres"), f"SELECT count(*) {_FEEDS}", database))


def end_feeds(server: EmbeddedPostgres, database: str) -> int:
    """End every connection that listens, and return how many there were."""
    return len(rows(server.dsn("postgres"), f"SELECT pg_terminate_backend(pid) {_FEEDS}", database))
