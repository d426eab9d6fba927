"""Nothing secret is ever told: a run full of canaries, through every endpoint and every failure, is searched for them.

The run is made once; the tests look at what it left.
"""

import base64
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.support.canaries import Canaries, octets_of
from tests.support.client import FORM, JSON, PROBLEM, Client, Reply, fresh_name, fresh_phone_number
from tests.support.databases import make_migrated_database
from tests.support.measures import log_lines, metrics_text
from tests.support.nodes import Node, running_node, running_worker
from tests.support.servers import frozen, kill, own_server
from tests.support.tables import rows
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

DSN_PASSWORD = "Dsn-kanarie-7f3a"
INTROSPECTION_SECRET = "Introspektions-kanarie-0123456789-abcdef"
ADDRESS = "203.0.113.77"


def a_password(what: str) -> str:
    """A password that every notation has to write in its own way."""
    return f'{what} "Säge" & 7% {fresh_name("pw")}'


@dataclass
class Run:
    """One node and all that it was told in confidence.

    Attributes:
        secrets: Passwords, hashes, tokens, keys: they are nobody's.
        personal: Login identifiers and addresses: they are the table's, not the log's.
        answers: Every answer, by what was called.
        words: What the commands said.
    """

    server: EmbeddedPostgres
    node: Node
    client: Client
    secrets: Canaries = field(default_factory=Canaries)
    personal: Canaries = field(default_factory=Canaries)
    answers: list[tuple[str, Reply]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def keep_hashes(self, column: str = "password") -> None:
        """Remember the hashes that stand in the table now."""
        for row in rows(self.node.dsn, f"SELECT {column} AS stored FROM users"):
            self.secrets.add("a password hash", row["stored"].removeprefix("!"))

    def keep_pair(self, reply: Reply) -> dict[str, str]:
        """Remember the tokens of *reply*."""
        pair: dict[str, str] = reply.json
        self.secrets.add("a refresh token", pair["refresh_token"])
        self.secrets.add("an access token", pair["access_token"])
        self.secrets.add("the signature of an access token", pair["access_token"].rpartition(".")[2])
        return pair

    def call(self, method: str, path: str, body: str = "", media_type: str = FORM, **headers: str) -> Reply:
        """Send one request and keep its answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"X-Forwarded-For": ADDRESS} | ({"Content-Type": media_type} if body else {})
        reply = self.client.send(method, path, body=body.encode() if body else None, headers=named)
        self.answers.append((f"{method} {path.partition('?')[0]}", reply))
        return reply

    def form(self, path: str, **fields: str) -> Reply:
        """Send a form; `token` is the access token that goes with it."""
        from_token = {"Authorization": f"Bearer {fields.pop('bearer')}"} if "bearer" in fields else {}
        return self.call("POST", path, urlencode(fields), **from_token)


def escaped(text: str) -> str:
    return quote(text, safe="")


@dataclass(frozen=True)
class Person:
    """Somebody whose every name is a canary."""

    username: str
    email: str
    phone_number: str
    password: str

    @classmethod
    def canary(cls, run: Run) -> "Person":
        name = run.personal.add("a username", fresh_name("kanarie"))
        return cls(
            username=name,
            email=run.personal.add("an email", f"{name}@kanarie.example"),
            phone_number=run.personal.add("a phone number", fresh_phone_number()),
            password=run.secrets.add("a password", a_password("chosen")),
        )

    def registration(self) -> str:
        return json.dumps(asdict(self))


def call_everything(run: Run, person: Person) -> None:
    """Use every endpoint as it is meant and as it is not, whatever is answered."""
    typed = run.secrets.add("a password", a_password("wrong"))
    run.call("POST", "/register", person.registration(), JSON)
    run.call("POST", "/register", person.registration(), JSON, Accept=PROBLEM)
    run.call("POST", "/login", person.registration(), JSON)
    run.call("POST", "/register", person.registration()[:-1], JSON)
    run.call("POST", "/register", person.registration(), FORM)
    run.call("POST", "/register", json.dumps(asdict(person) | {"password": [typed]}), JSON)
    run.call("POST", "/register", json.dumps({"username": typed, "password": typed, typed: typed}), JSON)
    run.call("POST", "/register", f'{{"password":"{typed[:10]}","password":"{typed[:10]}"}}', JSON)
    run.call("GET", f"/availability?username={person.username}&password={escaped(typed)}")
    run.call("GET", f"/{escaped(typed)}")
    for name in (person.username, "nobody-" + person.username):
        run.form("/login", username=name, password=typed)
        run.form("/login", username=name, email=person.email, password=typed)
    run.form("/login", phone_number=person.phone_number, password=person.password + "\0")
    run.form("/refresh", refresh_token=run.secrets.add("a refresh token that is none", f"no-token-{fresh_name()}"))
    logged_in = run.form("/login", email=person.email, password=person.password)
    if logged_in.status == 200:
        use_tokens(run, person, run.keep_pair(logged_in))


def use_tokens(run: Run, person: Person, pair: dict[str, str]) -> None:
    """All that wants a token, and both tokens where they do not belong."""
    token, refresh_token = pair["access_token"], pair["refresh_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    run.call("GET", "/me", **bearer)
    run.call("GET", f"/me?access_token={token}")
    run.call("GET", f"/{refresh_token}")
    run.call("GET", "/me", Authorization=f"Bearer {token}x")
    run.call("GET", "/me", Authorization=f"Basic {base64.b64encode(person.password.encode()).decode()}")
    run.call("PATCH", "/me", json.dumps({"full_name": "Ada", "password": person.password}), JSON, **bearer)
    run.call("PATCH", "/me", json.dumps({"full_name": [person.password]}), JSON, **bearer)
    run.call("GET", "/me/sessions", **bearer)
    run.call("DELETE", f"/me/sessions/{refresh_token}", **bearer)
    client = base64.b64encode(f"kanarie:{INTROSPECTION_SECRET}".encode()).decode()
    for credentials in (client, client[:-4]):
        run.call("POST", "/introspect", f"token={token}", FORM, Authorization=f"Basic {credentials}")
    refreshed = run.form("/refresh", refresh_token=refresh_token)
    if refreshed.status == 200:
        run.keep_pair(refreshed)
    wish = run.secrets.add("a password", a_password("new"))
    run.form("/me/password", bearer=token, current_password=wish, new_password=wish)
    run.form("/me/password", bearer=token, current_password=person.password, new_password="short")
    changed = run.form("/me/password", bearer=token, current_password=person.password, new_password=wish)
    if changed.status == 200:
        continued = run.keep_pair(changed)
        run.form("/refresh", refresh_token=refresh_token)
        run.form("/revoke", token=continued["access_token"])
        run.form("/logout", bearer=continued["access_token"], scope=wish)


def send_rubbish(run: Run) -> None:
    """What no parser takes, with a password in it."""
    typed = run.secrets.add("a password", a_password("rubbish")).encode()
    for octets in (
        typed + b"\r\n\r\n",
        b"POST /login HTTP/1.1\r\nContent-Length: " + typed + b"\r\n\r\n",
        b"POST /login HTTP/9.9\r\nAuthorization: Bearer " + typed + b"\r\n\r\n",
        b"GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + typed * 500 + b"\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nusername=x&password=" + typed,
    ):
        with socket.create_connection(("127.0.0.1", run.node.port), timeout=20) as connection:
            connection.sendall(octets)


def say_commands(run: Run) -> None:
    """What an operator does, well and badly."""
    typed = run.secrets.add("a password", a_password("operator"))
    name = run.personal.add("a username", fresh_name("kanarie-cli"))
    wrong_dsn = f"postgresql://tidegate:{DSN_PASSWORD}@127.0.0.1:1/none"
    short = run.secrets.add("a secret that is too short", "Kurz-kanarie-9b2")
    commands: Sequence[tuple[tuple[str, ...], str, dict[str, str]]] = (
        (("users", "add", "--username", name, "--password-stdin"), typed, {}),
        (("users", "add", "--username", name, "--password-stdin"), typed, {}),
        (("users", "add", "--username", "x", "--password-stdin"), run.secrets.add("a short password", "K4n!#rz"), {}),
        (("users", "show", name), "", {}),
        (("users", "disable", name), "", {}),
        (("config", "check"), "", {}),
        (("config", "list"), "", {}),
        (("keys", "list"), "", {}),
        (("migrate", "status"), "", {}),
        (("users", "show", name), "", {"PRIMARY_DSN": wrong_dsn}),
        (("migrate", "status"), "", {"PRIMARY_DSN": wrong_dsn}),
        (("api",), "", {"PRIMARY_DSN": wrong_dsn, "PORT": "1", "METRICS_PORT": "2"}),
        (("config", "check"), "", {"PRIMARY_DSN": f"mysql://tidegate:{DSN_PASSWORD}@127.0.0.1/none"}),
        (("config", "check"), "", {"REFRESH_MAC_KEY": short}),
        (("config", "check"), "", {"INTROSPECTION_CLIENT_SECRET": short}),
        (("config", "check"), "", {"REFRESH_MAC_KEY": short, "REFRESH_MAC_KEY_FILE": "/dev/null"}),
    )
    for words, text, settings in commands:
        changed = {f"TIDEGATE_{name}": value for name, value in settings.items()}
        done = replace(run.node, environment={**run.node.environment, **changed}).command(*words, text=text)
        run.words.append(f"{' '.join(words)}\n{done.returncode}\n{done.stdout}\n{done.stderr}")


def break_the_table(run: Run, person: Person) -> None:
    """Statements of ours that fail as a bug would: a column is gone, a row is not allowed."""
    for broken, mended in (
        ("RENAME password TO gone", "RENAME gone TO password"),
        ("RENAME full_name TO gone", "RENAME gone TO full_name"),
        ("ADD CONSTRAINT never CHECK (password = 'x') NOT VALID", "DROP CONSTRAINT never"),
    ):
        rows(run.node.dsn, f"ALTER TABLE users {broken}")
        before = len(run.answers)
        call_everything(run, Person.canary(run))
        call_everything(run, person)
        assert 500 in {reply.status for _, reply in run.answers[before:]}, broken
        rows(run.node.dsn, f"ALTER TABLE users {mended}")
    run.keep_hashes()


def take_the_database_away(run: Run, person: Person) -> None:
    """It stands still, then it dies, then it is back."""
    before = len(run.answers)
    with frozen(run.server):
        call_everything(run, person)
    assert 503 in {reply.status for _, reply in run.answers[before:]}
    kill(run.server)
    before = len(run.answers)
    call_everything(run, person)
    assert 503 in {reply.status for _, reply in run.answers[before:]}
    run.server.start()
    until(lambda: run.client.get("/health/ready").status == 200, "it is not ready again")
    call_everything(run, person)


@contextmanager
def running_all(folder: Path) -> Iterator[Run]:
    """A PostgreSQL that logs every statement, a node and a worker, whose every secret is a canary."""
    settings = {
        "INTROSPECTION_CLIENT_ID": "kanarie",
        "INTROSPECTION_CLIENT_SECRET": INTROSPECTION_SECRET,
        "TRUSTED_HOPS": "1",
        "API_PROCESSES": "2",
        "DATABASE_STATEMENT_TIMEOUT_MS": "200",
        "DATABASE_ACQUIRE_TIMEOUT_MS": "200",
        "DATABASE_CONNECT_TIMEOUT_MS": "500",
    }
    with own_server() as server:
        rows(server.dsn("postgres"), "ALTER SYSTEM SET log_statement = 'all'")
        rows(server.dsn("postgres"), "ALTER SYSTEM SET log_min_duration_statement = 0")
        rows(server.dsn("postgres"), "SELECT pg_reload_conf()")
        dsn = server.dsn(make_migrated_database(server)).replace("tidegate@", f"tidegate:{DSN_PASSWORD}@")
        with running_node(dsn, folder, **settings) as node, running_worker(node), node.client() as client:
            run = Run(server, node, client)
            run.secrets.add("the password of the database", DSN_PASSWORD)
            run.secrets.add("the introspection client's secret", INTROSPECTION_SECRET)
            mac_key = node.environment["TIDEGATE_REFRESH_MAC_KEY"]
            run.secrets.add("the key of the MAC", mac_key)
            run.secrets.add("the key of the MAC in octets", octets_of(mac_key))
            for key in json.loads(node.keys_file.read_text())["keys"]:
                run.secrets.add("a signing key", key["d"])
                run.secrets.add("a signing key in octets", octets_of(key["d"]))
            run.personal.add("an address", ADDRESS)
            yield run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All of it, done."""
    with running_all(tmp_path_factory.mktemp("node")) as run:
        person = Person.canary(run)
        call_everything(run, person)
        run.keep_hashes()
        send_rubbish(run)
        say_commands(run)
        break_the_table(run, person)
        take_the_database_away(run, person)
        run.keep_hashes()
        last = run.call("GET", "/health/live").headers["x-request-id"]
        until(lambda: last in run.node.log_file.read_text(), "the log is not written")
        yield run


def test_the_run_went_everywhere(run: Run) -> None:
    """Else it proves nothing."""
    assert {reply.status for _, reply in run.answers} >= {200, 400, 401, 403, 404, 415, 500, 503}
    kinds = set(run.secrets.texts.values())
    assert {"a password", "a password hash", "a refresh token", "an access token", "a signing key"} <= kinds
    outcomes = {line.get("outcome") for line in log_lines(run.node.log_file)}
    assert {"ok", "internal_error", "database_unavailable", "wrong_password", "invalid_refresh_token"} <= outcomes
    assert {line.get("error") for line in log_lines(run.node.log_file)} >= {"StatementFailed"}
    assert {line.get("source") for line in log_lines(run.node.folder / "worker.log")} >= {"worker"}
    written = run.server.log.read_text()
    assert "ERROR:  " in written
    assert "INSERT INTO users" in written


@pytest.mark.parametrize("name", ["api.log", "worker.log", "api.out", "worker.out"])
def test_no_log_tells_a_secret_or_who_somebody_is(name: str, run: Run) -> None:
    octets = (run.node.folder / name).read_bytes()
    assert run.secrets.found_in(octets) == []
    assert run.personal.found_in(octets) == []


def test_the_metrics_tell_neither(run: Run) -> None:
    octets = metrics_text(run.node).encode()
    assert run.secrets.found_in(octets) == []
    assert run.personal.found_in(octets) == []


def test_the_log_of_postgresql_holds_statements_without_values(run: Run) -> None:
    """Even one that logs every statement: values travel apart from them, and details of errors are left out."""
    octets = run.server.log.read_bytes()
    assert run.secrets.found_in(octets) == []
    assert run.personal.found_in(octets) == []


def test_the_tables_hold_no_secret_but_the_password_hash_in_its_column(run: Run) -> None:
    tables = rows(run.node.dsn, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    for (table,) in tables:
        for row in rows(run.node.dsn, f'SELECT to_jsonb(t) - $1 AS text FROM "{table}" t', "password"):
            assert run.secrets.found_in(row["text"].encode()) == [], table
    assert {table for (table,) in tables} >= {"users", "sessions", "jobs"}


def test_what_is_stored_as_a_password_is_a_hash(run: Run) -> None:
    hashes = {text for text, what in run.secrets.texts.items() if what == "a password hash"}
    others = Canaries({text: what for text, what in run.secrets.texts.items() if text not in hashes})
    for row in rows(run.node.dsn, "SELECT password FROM users"):
        assert row["password"].removeprefix("!").startswith("$argon2id$")
        assert others.found_in(row["password"].encode()) == []


def test_no_answer_tells_a_secret_but_the_tokens_it_hands_out(run: Run) -> None:
    for called, reply in run.answers:
        told = reply.body + repr(dict(reply.headers)).encode()
        found = run.secrets.found_in(told)
        if reply.status == 200 and called in {"POST /login", "POST /refresh", "POST /me/password"}:
            found = [each for each in found if "token" not in each]
        assert found == [], called


def test_an_answer_to_a_bug_tells_nothing_of_it(run: Run) -> None:
    bodies = {reply.body for _, reply in run.answers if reply.status == 500}
    plain = b'{"code":"500","message":"internal server error"}'
    assert plain in bodies
    for body in bodies - {plain}:
        assert json.loads(body) == {
            "type": "/docs#internal-server-error",
            "title": "internal server error",
            "status": 500,
            "detail": "Server got itself in trouble",
        }


def test_no_command_says_a_secret(run: Run) -> None:
    for said in run.words:
        assert run.secrets.found_in(said.encode()) == [], said.splitlines()[0]
        assert "Traceback" not in said


def test_no_command_line_and_no_title_of_a_process_shows_a_secret(run: Run) -> None:
    """Everybody on the machine may read them."""
    parent = run.node.process.pid
    pids = [parent, *Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    assert len(pids) == 4, "it, two API processes and the keeper of the existence filter"
    for pid in pids:
        assert run.secrets.found_in(Path(f"/proc/{pid}/cmdline").read_bytes()) == []


def test_the_search_finds_what_it_looks_for() -> None:
    """In every shape, and in the middle of other letters."""
    canaries = Canaries()
    text = canaries.add("a password", a_password("found"))
    for octets in (
        text.encode(),
        json.dumps({"password": text}).encode(),
        escaped(text).encode(),
        repr({"password": text}).encode(),
        base64.b64encode(b"ada:" + text.encode() + b"!"),
        base64.urlsafe_b64encode(b"x" + text.encode()),
        text.encode().hex().encode(),
    ):
        assert canaries.found_in(b"before " + octets + b" after")
    assert canaries.found_in(b"nothing") == []
