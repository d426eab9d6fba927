"""While the database cannot, everybody hears 503 and nobody a lie; afterwards all is well without hands (P1, P9, P10, P12).

Promise P9: 401, 403 and 404 come of fresh data only. So whoever would have heard one of them hears 503 as well.
"""

import asyncio
import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Semaphore, Thread

import asyncpg
import pytest

from tests.support.client import PASSWORD, Client, Person, Reply, fresh_name
from tests.support.databases import make_migrated_database
from tests.support.lines import Line, open_lines
from tests.support.measures import measure
from tests.support.nodes import Node, running_node, running_worker
from tests.support.servers import frozen, kill, own_server
from tests.support.tables import rows, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

INTROSPECTION = ("resource-server", "a-secret-of-a-resource-server-0123456789")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """One that keeps what it has acknowledged, whatever ends it."""
    with own_server(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def node(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Two API processes and a worker that lose patience soon; the grace outlasts what this machine may need to recover."""
    folder: Path = tmp_path_factory.mktemp("node")
    dsn = server.dsn(make_migrated_database(server))
    with (
        running_node(
            dsn,
            folder,
            API_PROCESSES="2",
            REQUEST_DEADLINE_MS="4000",
            RECEIVE_DEADLINE_MS="4000",
            HASH_WAIT_MS_MAX="4000",
            DATABASE_ACQUIRE_TIMEOUT_MS="500",
            DATABASE_STATEMENT_TIMEOUT_MS="500",
            DATABASE_CONNECT_TIMEOUT_MS="1000",
            REFRESH_REUSE_GRACE_S="60",
            INTROSPECTION_CLIENT_ID=INTROSPECTION[0],
            INTROSPECTION_CLIENT_SECRET=INTROSPECTION[1],
        ) as node,
        running_worker(node),
    ):
        yield node


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


@dataclass(frozen=True)
class Call:
    """A request that nobody can answer without the database, asked by somebody of its own.

    Attributes:
        ask: Sends it.
        writes: Whether a database that only reads cannot answer it either.
    """

    ask: Callable[[Line, Person], None]
    writes: bool = True


def post(path: str, *, has_token: bool = True, **fields: str) -> Call:
    """A form; `{refresh_token}` and the like stand for what the person has."""

    def ask(line: Line, person: Person) -> None:
        filled = {name: text.format(**vars(person)) for name, text in fields.items()}
        line.ask("POST", path, filled, token=person.access_token if has_token else None)

    return Call(ask)


def get(path: str, method: str = "GET") -> Call:
    def ask(line: Line, person: Person) -> None:
        line.ask(method, path.format(**vars(person)), token=person.access_token)

    return Call(ask, writes=method != "GET")


def register(line: Line, _person: Person) -> None:
    body = f'{{"username":"{fresh_name()}","password":"{PASSWORD}"}}'
    line.connection.request("POST", "/register", body=body, headers={"Content-Type": "application/json"})


def introspect(line: Line, person: Person) -> None:
    credentials = base64.b64encode(":".join(INTROSPECTION).encode()).decode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {credentials}"}
    line.connection.request("POST", "/introspect", body=f"token={person.access_token}", headers=headers)


NEEDS_THE_DATABASE = {
    "a login": post("/login", has_token=False, username="{username}", password=PASSWORD),
    "a login with a wrong password": post("/login", has_token=False, username="{username}", password="x"),
    "a login of nobody": post("/login", has_token=False, username="nobody-{username}", password=PASSWORD),
    "a registration": Call(register),
    "a refresh": post("/refresh", has_token=False, refresh_token="{refresh_token}"),
    "a profile": get("/me"),
    "a list of sessions": get("/me/sessions"),
    "the end of a session": get("/me/sessions/{session_id}", method="DELETE"),
    "the end of no session": get("/me/sessions/00000000-0000-7000-8000-000000000000", method="DELETE"),
    "a change of password": post("/me/password", current_password=PASSWORD, new_password=f"{PASSWORD} new"),
    "a logout": post("/logout"),
    "a token given back": post("/revoke", token="{refresh_token}"),
    "an introspection": Call(introspect, writes=False),
    "whether a name is free": get("/availability?username={username}"),
    "whether all is ready": get("/health/ready"),
}

NEEDS_NOBODY = {
    "/health/live": 200,
    "/.well-known/jwks.json": 200,
    "/.well-known/oauth-authorization-server": 200,
    "/openapi.json": 200,
    "/nothing": 404,
}


def assert_unavailable(reply: Reply, what: str) -> None:
    assert (reply.status, reply.body) == (503, b'{"code":"503","message":"service unavailable"}'), (what, reply)
    assert 1 <= int(reply.headers["retry-after"]) <= 60, what
    assert reply.headers["cache-control"] == "no-store", what
    assert reply.headers["content-type"] == "application/json", what


@contextmanager
def locked(server: EmbeddedPostgres, node: Node) -> Iterator[None]:
    """Somebody else holds the tables, as a migration does that should not."""
    with asyncio.Runner() as runner:
        holder = runner.run(asyncpg.connect(node.dsn))
        transaction = holder.transaction()
        runner.run(transaction.start())
        runner.run(holder.execute("LOCK TABLE users, sessions IN ACCESS EXCLUSIVE MODE"))
        try:
            yield
        finally:
            runner.run(transaction.rollback())
            runner.run(holder.close())


@contextmanager
def killed(server: EmbeddedPostgres, node: Node) -> Iterator[None]:
    kill(server)
    try:
        yield
    finally:
        server.start()


@contextmanager
def standing_still(server: EmbeddedPostgres, node: Node) -> Iterator[None]:
    with frozen(server):
        yield


Away = Callable[[EmbeddedPostgres, Node], AbstractContextManager[None]]


def ask_everything(lines: Sequence[Line], calls: dict[str, Call], people: Sequence[Person]) -> Iterator[tuple[str, Reply]]:
    """Ask all *calls* at once, each on a line of its own and about a person of its own."""
    for line, call, person in zip(lines, calls.values(), people, strict=True):
        call.ask(line, person)
    for line, what in zip(lines, calls, strict=True):
        yield what, line.answer()


@pytest.mark.parametrize("away", [standing_still, killed, locked], ids=lambda away: away.__name__)
def test_while_it_is_away_everybody_hears_503_and_afterwards_all_is_well(
    away: Away, server: EmbeddedPostgres, node: Node, client: Client
) -> None:
    calls = dict(NEEDS_THE_DATABASE)
    if away is locked:
        del calls["whether all is ready"]  # the server itself answers
    people = [client.person() for _ in calls]
    with open_lines(node, per_process=-(-len(calls) // 2)) as opened:
        lines = opened[: len(calls)]
        with away(server, node):
            for _ in range(2):  # as it goes, with requests under way, and when it is known to be gone
                for what, reply in ask_everything(lines, calls, people):
                    assert_unavailable(reply, what)
            for path, status in NEEDS_NOBODY.items():
                assert client.get(path).status == status
            assert client.get("/me", token="nonsense").status == 401
            assert client.form("/refresh", {"refresh_token": "nonsense"}).status == 401
        until(lambda: {line.get("/health/ready").status for line in lines} == {200}, "it is not ready again")
    assert_all_is_well(node, client, dict(zip(calls, people, strict=True)))


def assert_all_is_well(node: Node, client: Client, people: dict[str, Person]) -> None:
    """Nothing that was answered 503 harmed anybody, whether or not it took place after all."""
    stayed = people["a refresh"]
    refreshed = client.form("/refresh", {"refresh_token": stayed.refresh_token})
    assert refreshed.status == 200
    assert client.get("/me", token=refreshed.json["access_token"]).status == 200
    assert client.get("/me", token=people["a profile"].access_token).status == 200
    newcomer = client.somebody()
    assert client.form("/login", {"username": newcomer.username, "password": "x"}).status == 403
    assert client.form("/login", {"username": fresh_name(), "password": PASSWORD}).status == 404
    until(lambda: client.get("/me", token=newcomer.access_token).json["last_login"] is not None, "the worker is gone")
    until(lambda: measure(node, "tidegate_revocation_feed_up") == 2, "the feed does not come back")


def test_a_database_that_takes_no_writes_tells_what_it_knows_and_no_more(
    server: EmbeddedPostgres, node: Node, client: Client
) -> None:
    """A primary that was demoted, or whose disk is full."""
    person, calls = client.person(), {what: call for what, call in NEEDS_THE_DATABASE.items() if call.writes}
    for unwritten in ("a login with a wrong password", "a login of nobody", "the end of no session"):
        del calls[unwritten]
    name = value(node.dsn, "SELECT current_database()::text")
    with open_lines(node, per_process=-(-len(calls) // 2)) as lines:
        set_read_only(server, node, name, "on")
        try:
            for what, reply in ask_everything(lines[: len(calls)], calls, [person] * len(calls)):
                assert_unavailable(reply, what)
            for line in lines:
                assert line.get("/me", token=person.access_token).status == 200
        finally:
            set_read_only(server, node, name, "off")
    assert client.form("/refresh", {"refresh_token": person.refresh_token}).status == 200
    assert client.form("/logout", token=person.access_token).status == 200


def set_read_only(server: EmbeddedPostgres, node: Node, database: str, setting: str) -> None:
    """Let every session of *database* take no writes; those that are open begin anew."""
    rows(server.dsn("postgres"), f'ALTER DATABASE "{database}" SET default_transaction_read_only = {setting}')
    rows(server.dsn("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
    with node.client() as client:
        until(lambda: client.get("/health/ready").status == 200, "the connections do not come back")


@dataclass
class Crowd:
    """Clients that never stop, each doing one thing, and all that they were told.

    Attributes:
        registered: Names whose registration was acknowledged.
        unexpected: What a healthy node may say but this one must not, or what no node may say.
        over: Ends them.
        at_work: One for each client that has had its first answer: what it needed before, a healthy node gave it.
    """

    node: Node
    registered: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)
    at_work: Semaphore = field(default_factory=lambda: Semaphore(0))

    def run(self, act: Callable[[Client], Iterator[tuple[Reply, int]]]) -> None:
        """Do *act* on and on; it yields answers, each with the status that is the truth."""
        with self.node.client() as client:
            try:
                for times, (reply, truth) in enumerate(act(client)):
                    if times == 0:
                        self.at_work.release()
                    if reply.status not in {truth, 503}:
                        self.unexpected.append(f"{act.__name__}: {reply.status} {reply.body!r}")
                    if self.over.is_set():
                        return
            except Exception as error:
                self.unexpected.append(f"{act.__name__}: {error!r}")

    def register(self, client: Client) -> Iterator[tuple[Reply, int]]:
        while True:
            name = fresh_name()
            reply = client.send_json("/register", {"username": name, "password": PASSWORD})
            if reply.status == 200:
                self.registered.append(name)
            yield reply, 200

    def refresh(self, client: Client) -> Iterator[tuple[Reply, int]]:
        """One session, refreshed for ever: whoever hears 503 comes back with the same token (promise P7)."""
        token = client.somebody().refresh_token
        while True:
            reply = client.form("/refresh", {"refresh_token": token})
            if reply.status == 200:
                token = reply.json["refresh_token"]
            yield reply, 200

    def read(self, client: Client) -> Iterator[tuple[Reply, int]]:
        token = client.somebody().access_token
        while True:
            yield client.get("/me", token=token), 200

    def mistype(self, client: Client) -> Iterator[tuple[Reply, int]]:
        name = client.register()
        while True:
            yield client.form("/login", {"username": name, "password": PASSWORD}), 200
            yield client.form("/login", {"username": name, "password": "x"}), 403
            yield client.form("/login", {"username": f"nobody-{name}", "password": "x"}), 404


@contextmanager
def a_crowd(node: Node) -> Iterator[Crowd]:
    """One of whom all are at work, there for as long as the block lasts."""
    crowd = Crowd(node)
    acts = (crowd.register, crowd.register, crowd.refresh, crowd.refresh, crowd.read, crowd.mistype)
    threads = [Thread(target=crowd.run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        for _ in acts:
            assert crowd.at_work.acquire(timeout=60), crowd.unexpected
        yield crowd
    finally:
        crowd.over.set()
        for thread in threads:
            thread.join()


def test_whoever_was_told_success_is_registered_however_often_the_database_is_killed(
    server: EmbeddedPostgres, node: Node, client: Client
) -> None:
    """Promises P1, P7, P9 and P12, with a crowd that is answered all the while."""
    with a_crowd(node) as crowd:
        for _ in range(2):
            grown = len(crowd.registered) + 20
            until(lambda: len(crowd.registered) >= grown or bool(crowd.unexpected), "nobody is registered")  # noqa: B023 - now
            kill(server)
            until(lambda: client.get("/health/ready").status == 503, "it says that it is ready")
            server.start()
        until(lambda: client.get("/health/ready").status == 200, "it is not ready again")
    assert crowd.unexpected == []
    stored = {row["username"] for row in rows(node.dsn, "SELECT username FROM users")}
    assert set(crowd.registered) <= stored
    for name in crowd.registered[::20]:
        assert client.log_in(name)
