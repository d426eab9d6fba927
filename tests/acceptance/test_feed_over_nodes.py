"""What is changed on one node is known on the other within a second, whatever of the queue is dead, stopped or wiped."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from tests.support.client import Client
from tests.support.lines import Line, open_lines, standing_still
from tests.support.measures import measure
from tests.support.nats_servers import frozen, kill, wipe
from tests.support.nodes import running_worker
from tests.support.revoking import refused_in_time
from tests.support.tables import rows, value
from tests.support.two_nodes import TwoNodes, two_nodes
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.storage.revocations import APPLICATION_NAME


@pytest.fixture(scope="module")
def pair(postgres: EmbeddedPostgres) -> Iterator[TwoNodes]:
    with two_nodes(postgres) as pair:
        yield pair


@dataclass
class Case:
    """A user with two sessions opened here, and a connection there.

    Attributes:
        dying: The access token of the session that is going to end.
        living: That of the other one.
    """

    pair: TwoNodes
    here: Client
    there: Line
    username: str
    dying: str
    living: str

    def end(self) -> None:
        assert self.here.form("/logout", {}, token=self.dying).status == 200

    def is_right_there(self) -> None:
        """The one is refused in time and for ever, the other is not."""
        refused_in_time([self.there], self.dying)
        assert self.there.get("/me", token=self.living).status == 200
        assert self.there.get("/me", token=self.dying).status == 401


@pytest.fixture
def case(pair: TwoNodes) -> Iterator[Case]:
    pair.until_fed()
    with pair.here.client() as client, open_lines(pair.there) as lines:
        username = client.register()
        dying, living = (client.log_in(username)["access_token"] for _ in range(2))
        assert lines[0].get("/me", token=dying).status == 200
        yield Case(pair, client, lines[0], username, dying, living)


_TRUSTED = "tidegate_revocation_feed_up"
_LISTENERS = "FROM pg_stat_activity WHERE datname = $1 AND application_name = $2"


def listeners(pair: TwoNodes, postgres: EmbeddedPostgres) -> int:
    """How many connections listen in the database itself."""
    return int(value(postgres.dsn("postgres"), f"SELECT count(*) {_LISTENERS}", pair.database, APPLICATION_NAME))


def end_listeners(pair: TwoNodes, postgres: EmbeddedPostgres) -> int:
    """End them, and return how many there were."""
    query = f"SELECT pg_terminate_backend(pid) {_LISTENERS}"
    return len(rows(postgres.dsn("postgres"), query, pair.database, APPLICATION_NAME))


def test_while_the_queue_is_well_it_alone_tells_the_nodes(case: Case, postgres: EmbeddedPostgres) -> None:
    until(lambda: listeners(case.pair, postgres) == 0, "a process still listens in the database")
    for ending in ("/logout", "/logout"):
        assert case.here.form(ending, {"scope": "others"}, token=case.living).status == 200
    case.is_right_there()
    assert listeners(case.pair, postgres) == 0


def test_who_is_disabled_by_the_command_line_is_out_on_every_node(case: Case) -> None:
    done = case.pair.here.command("users", "disable", case.username)
    assert done.returncode == 0, done.stderr
    refused_in_time([case.there], case.dying, case.living)


def test_a_session_that_is_revoked_by_hand_in_the_database_is_refused_on_every_node(case: Case) -> None:
    """No statement of ours does it; a trigger tells of it."""
    session_ids = case.here.get("/me/sessions", token=case.dying).json["sessions"]
    (session_id,) = [session["id"] for session in session_ids if session["current"]]
    rows(case.pair.here.dsn, f"UPDATE sessions SET revoked_at = now() WHERE session_id = '{session_id}'")
    case.is_right_there()


def test_a_changed_profile_is_seen_on_the_other_node_within_a_second(case: Case) -> None:
    assert case.there.get("/me", token=case.living).json["full_name"] != "Robert"
    changed = case.here.send_json("/me", {"full_name": "Robert"}, method="PATCH", token=case.living)
    assert changed.status == 200, changed.body
    acknowledged_at = time.monotonic()
    while True:
        sent_at = time.monotonic()
        if case.there.get("/me", token=case.living).json["full_name"] == "Robert":
            break
        assert sent_at - acknowledged_at < 1.0
        time.sleep(0.01)


# -- faults


@contextmanager
def queue_killed(pair: TwoNodes) -> Iterator[None]:
    kill(pair.queue)
    yield
    pair.queue.start()


@contextmanager
def queue_frozen(pair: TwoNodes) -> Iterator[None]:
    with frozen(pair.queue):
        yield


@contextmanager
def queue_wiped(pair: TwoNodes) -> Iterator[None]:
    wipe(pair.queue)
    yield


@contextmanager
def worker_frozen(pair: TwoNodes) -> Iterator[None]:
    with standing_still([pair.worker.pid]):
        yield


Fault = Callable[[TwoNodes], AbstractContextManager[None]]
FAULTS: list[Fault] = [queue_killed, queue_frozen, queue_wiped, worker_frozen]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_right_before_the_revocation_hides_nothing(case: Case, fault: Fault) -> None:
    with fault(case.pair):
        case.end()
        case.is_right_there()
    case.is_right_there()
    case.pair.until_fed()
    case.is_right_there()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_that_lasts_hides_nothing(case: Case, fault: Fault, postgres: EmbeddedPostgres) -> None:
    """Then the database tells the nodes itself, and the primary is not asked for each request."""
    with fault(case.pair):
        if fault is not queue_wiped:
            until(lambda: listeners(case.pair, postgres) == 2, "nobody listens in the database")
            until(lambda: measure(case.pair.there, _TRUSTED) == 1, "it is not trusted")
        case.end()
        case.is_right_there()
    case.pair.until_fed()
    case.is_right_there()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_right_after_the_revocation_hides_nothing(case: Case, fault: Fault) -> None:
    """The change is on its way: read by a relay, in the stream, or not yet."""
    for _ in range(5):
        case.end()
        with fault(case.pair):
            case.is_right_there()
        case.is_right_there()
        case.dying, case.living = (case.here.log_in(case.username)["access_token"] for _ in range(2))
        assert case.there.get("/me", token=case.dying).status == 200
    case.pair.until_fed()


def test_a_worker_that_is_killed_hides_nothing_and_another_takes_over(case: Case) -> None:
    with running_worker(case.pair.here) as other:
        os.kill(other.pid, signal.SIGKILL)
        case.end()
        case.is_right_there()
        other.wait()
    case.pair.until_fed()


def test_with_neither_the_queue_nor_a_listener_the_primary_is_asked(case: Case, postgres: EmbeddedPostgres) -> None:
    server = postgres.dsn("postgres")
    rows(server, f'ALTER DATABASE "{case.pair.database}" ALLOW_CONNECTIONS false')
    try:
        with frozen(case.pair.queue):
            until(lambda: end_listeners(case.pair, postgres) == measure(case.pair.there, _TRUSTED) == 0, "still trusted")
            case.end()
            case.is_right_there()
    finally:
        rows(server, f'ALTER DATABASE "{case.pair.database}" ALLOW_CONNECTIONS true')
    case.pair.until_fed()
    case.is_right_there()


@pytest.mark.parametrize("frozen_for_s", [0.0, 1.5])
def test_a_node_that_was_stopped_meanwhile_lets_nobody_in_when_it_goes_on(case: Case, frozen_for_s: float) -> None:
    """With what it knew when it was stopped it would; its own clock tells it that this is too old."""
    with standing_still(case.pair.processes(case.pair.there)):
        case.end()
        acknowledged_at = time.monotonic()
        case.there.ask("GET", "/me", token=case.dying)
        time.sleep(max(frozen_for_s, 1.0 - (time.monotonic() - acknowledged_at)))
    assert case.there.answer().status == 401
    case.is_right_there()


def test_the_table_of_what_waits_to_be_told_becomes_empty(case: Case) -> None:
    case.end()
    until(lambda: value(case.pair.here.dsn, "SELECT count(*) FROM changes") == 0, "changes wait for ever")
    with contextlib.ExitStack() as faults:
        faults.enter_context(frozen(case.pair.queue))
        assert case.here.form("/logout", {}, token=case.living).status == 200
        until(lambda: value(case.pair.here.dsn, "SELECT count(*) FROM changes") == 1, "it was removed untold")
    until(lambda: value(case.pair.here.dsn, "SELECT count(*) FROM changes") == 0, "changes wait for ever")


# -- names


def test_who_registers_here_is_in_the_filter_there_also_after_an_interruption(case: Case) -> None:
    def has_all() -> bool:
        names = value(case.pair.here.dsn, "SELECT count(username) + count(email) + count(phone_number) FROM users")
        return measure(case.pair.there, "tidegate_existence_names") == float(names)

    until(lambda: measure(case.pair.there, "tidegate_existence_fed_age_seconds") < 3, "the filter is not fed")
    until(has_all, "the filter there has not heard of all")
    case.here.register()
    until(has_all, "the filter there does not hear of who registers here")
    kill(case.pair.queue)
    case.here.register()
    case.pair.queue.start()
    until(has_all, "the filter there has missed who registered meanwhile")
    until(lambda: measure(case.pair.there, "tidegate_existence_fed_age_seconds") < 3, "the filter is not fed")
