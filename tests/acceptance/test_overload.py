"""What cannot be hashed in time is refused at once, and whoever needs no hash notices nothing (DESIGN 5.1, 5.9)."""

import base64
import functools
import hashlib
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.support.client import PASSWORD, Client, Reply, fresh_name
from tests.support.lines import Line, answers_as_they_come, open_lines
from tests.support.measures import log_lines, measure
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.tables import change, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

PLACES = 2
"""One hash thread, and one that may wait."""

HASTY_MS = "400"
HASTIER_MS = "200"

REFUSED = (503, b'{"code":"503","message":"service unavailable"}')


LINES = 5


@functools.cache
def slow_hash(number: int) -> str:
    """As dear a hash of `PASSWORD` as is verified: seconds, so that all else here happens while one is made."""
    salt = f"seasalt{number}"
    digest = base64.b64encode(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt.encode(), 2_000_000, 64)).decode()
    return f"pbkdf2_sha256$2000000${salt}${digest}"


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(postgres, API_PROCESSES="1", HASH_THREADS="1", HASH_QUEUE_MAX=str(PLACES - 1)) as node:
        yield node


@pytest.fixture(scope="module")
def lines(node: Node) -> Iterator[list[Line]]:
    with open_lines(node, per_process=LINES) as lines:
        yield lines


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


@pytest.fixture
def slow(node: Node) -> list[str]:
    """Usernames of people whose passwords take seconds to verify; there is no rehash while others wait."""
    return [somebody_slow(node, number) for number in range(LINES)]


def somebody_slow(node: Node, number: int) -> str:
    """Who has the same *number* has the same hash; whoever tries the same password then shares the work."""
    username = fresh_name("slow")
    statement = "INSERT INTO users (userid, username, password) VALUES (gen_random_uuid(), $1, $2)"
    assert change(node.dsn, statement, username, slow_hash(number)) == 1
    return username


def hashes(node: Node) -> float:
    """How many have been made."""
    return measure(node, "tidegate_hash_seconds_count")


def is_idle(node: Node) -> bool:
    """Whether none is made and none waits; known to the second."""
    return measure(node, "tidegate_hash_running") == measure(node, "tidegate_hash_waiting") == 0


def log_in(line: Line, username: str) -> None:
    line.ask("POST", "/login", {"username": username, "password": PASSWORD})


def is_refused(reply: Reply) -> bool:
    """Whether there was no place for it; if so, in the words of the contract."""
    if reply.status != 503:
        return False
    assert (reply.status, reply.body) == REFUSED
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert reply.headers["cache-control"] == "no-store"
    return True


def test_the_surplus_is_refused_before_any_hash_is_done_and_the_rest_is_served(
    node: Node, client: Client, lines: list[Line], slow: list[str]
) -> None:
    somebody = client.somebody()
    made = hashes(node)
    for line, username in zip(lines, slow, strict=True):
        log_in(line, username)
    answers = answers_as_they_come(lines)
    surplus = [reply for _, reply in islice(answers, len(lines) - PLACES)]
    assert all(is_refused(reply) for reply in surplus)

    # Whoever needs no hash is served, and who needs one is told.
    assert client.get("/me", token=somebody.access_token).status == 200
    assert client.form("/refresh", {"refresh_token": somebody.refresh_token}).status == 200
    assert client.get("/.well-known/jwks.json").status == 200
    # Nobody is looked up for a login that cannot be served: that there is no such user is not known.
    assert is_refused(client.form("/login", {"username": fresh_name(), "password": PASSWORD}))
    # Nor is a form read: what is wrong with it is told once there is room (ADR 0018).
    assert is_refused(client.form("/login", {"username": slow[0]}))
    assert client.form("/refresh", {}).status == 400
    assert is_refused(client.send_json("/register", {"username": fresh_name(), "password": PASSWORD}))
    ready = client.get("/health/ready")
    assert ready.status == 200, "a node that is full is of use, and comes back by itself"
    assert ready.json == {"status": "ready", "full": ["login", "register", "import"]}
    assert measure(node, "tidegate_hash_running") <= 1
    assert hashes(node) == made, "all this was to happen while the first hash was made"

    assert [reply.status for _, reply in answers] == [200] * PLACES
    statement = "SELECT count(*) FROM sessions JOIN users ON userid = user_id WHERE username = ANY($1)"
    assert value(node.dsn, statement, slow) == PLACES, "who was refused must leave nothing behind"
    assert client.log_in(somebody.username)
    assert client.form("/login", {"username": slow[0]}).status == 400


def test_identical_retries_share_one_hash(node: Node, lines: list[Line], slow: list[str]) -> None:
    """Who reloads the page of a slow login costs no more than who waits."""
    made, shared = hashes(node), measure(node, "tidegate_hash_shared_total", lane="login")
    for line in lines:
        log_in(line, slow[0])
    answers = [reply for _, reply in answers_as_they_come(lines)]
    assert [reply.status for reply in answers] == [200] * LINES
    assert len({reply.json["refresh_token"] for reply in answers}) == LINES
    until(lambda: is_idle(node), "there is more to be done")
    assert hashes(node) == made + 2, "one to verify, one to bring it to the current profile: the thread was free for one"
    assert measure(node, "tidegate_hash_shared_total", lane="login") == shared + LINES - 1


def test_who_hangs_up_frees_a_waiting_place_but_no_thread(node: Node, client: Client, slow: list[str]) -> None:
    """The permit belongs to the job, else a crowd that reloads would have us start more hashes than we have cores."""
    somebody = client.somebody()
    made, gone = hashes(node), measure(node, "tidegate_hash_refused_total", reason="gone")
    with open_lines(node, per_process=PLACES + 1) as lines:
        for line, username in zip(lines, slow, strict=False):
            log_in(line, username)
        _, first = next(answers_as_they_come(lines))
        assert is_refused(first), "else not all places are taken"
    until(lambda: measure(node, "tidegate_hash_refused_total", reason="gone") > gone, "nobody is gone")
    assert hashes(node) == made, "this was to happen while the first hash was made"
    assert client.log_in(somebody.username)
    # On a machine so busy that the first had not begun either, that is not made.
    assert hashes(node) <= made + 2, "that of who was gone before it began is not to be made"
    until(lambda: is_idle(node), "the places are not free again")


@pytest.fixture(scope="module")
def hasty_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """Whose requests end long before a slow hash does."""
    with own_node(
        postgres,
        API_PROCESSES="1",
        HASH_THREADS="1",
        HASH_QUEUE_MAX=str(PLACES - 1),
        HASH_WAIT_MS_MAX=HASTIER_MS,
        REQUEST_DEADLINE_MS=HASTY_MS,
        RECEIVE_DEADLINE_MS=HASTY_MS,
        DATABASE_ACQUIRE_TIMEOUT_MS=HASTY_MS,
        DATABASE_STATEMENT_TIMEOUT_MS=HASTY_MS,
        DATABASE_CONNECT_TIMEOUT_MS=HASTY_MS,
    ) as node:
        yield node


def test_a_deadline_ends_the_request_and_not_the_hash(hasty_node: Node) -> None:
    """Promise P10. The thread goes on, so its place stays taken; what nobody waits for any more is not begun."""
    node, slow = hasty_node, [somebody_slow(hasty_node, number) for number in range(3)]
    made = hashes(node)
    with node.client() as client, open_lines(node, per_process=2) as lines:
        late = client.form("/login", {"username": slow[0], "password": PASSWORD})
        assert is_refused(late)
        for line, username in zip(lines, slow[1:], strict=True):
            log_in(line, username)
        replies = [line.answer() for line in lines]
        assert all(is_refused(reply) for reply in replies)
        assert hashes(node) == made, "this was to happen while the first hash was made"
        ids = {reply.headers["x-request-id"] for reply in (late, *replies)}
        until(lambda: len(outcomes(node, ids)) == 3, "the log is not written")
        assert sorted(outcomes(node, ids)) == ["deadline_exceeded", "hash_pool_saturated", "hash_pool_saturated"]
        assert [measure(node, "tidegate_hash_refused_total", reason=why) for why in ("gone", "late", "full")] == [1, 1, 1]

        until(lambda: hashes(node) > made and is_idle(node), "the places are not free again")
        assert hashes(node) == made + 1, "a hash was begun that nobody waited for"
    assert value(node.dsn, "SELECT count(*) FROM sessions") == 0, "nobody was there to be given the tokens"


def outcomes(node: Node, request_ids: set[str]) -> list[str]:
    return [line["outcome"] for line in log_lines(node.log_file) if line.get("request_id") in request_ids]
