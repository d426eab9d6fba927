"""One line and one count for every request, whoever answered it and however it ended."""

import re
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.client import FORM, JSON, PASSWORD, Client, Person, Reply, fresh_name
from tests.support.lines import open_lines
from tests.support.measures import log_lines, measure, metrics_text
from tests.support.nodes import Node
from tests.support.waiting import settled, until

FIELDS = {"time", "request_id", "method", "route", "status", "outcome", "duration_ms", "user_id"}


@dataclass(frozen=True)
class Case:
    """A request and what its line must say.

    Attributes:
        call: Method and path; `$session` stands for the person's session id.
        body: Sent as it is; `$name` stands for the person's username.
        knows_user: Whether the line names the person.
        sends_token: Whether the request carries the person's access token.
    """

    call: str
    status: int
    outcome: str
    route: str
    body: str | None = None
    media_type: str = FORM
    knows_user: bool = False
    sends_token: bool = False


CASES = {
    "a login": Case("POST /login", 200, "ok", "/login", f"username=$name&password={PASSWORD}", knows_user=True),
    "a wrong password": Case("POST /login", 403, "wrong_password", "/login", "username=$name&password=x", knows_user=True),
    "nobody": Case("POST /login", 404, "unknown_user", "/login", "username=nobody&password=x"),
    "a field missing": Case("POST /login", 400, "invalid_request", "/login", "username=$name"),
    "not even fields": Case("POST /login", 400, "malformed_request", "/login", "username=%zz"),
    "a media type that nobody reads": Case("POST /login", 415, "unsupported_media_type", "/login", "x", "text/plain"),
    "a name taken": Case(
        "POST /register", 400, "identifier_taken", "/register", f'{{"username":"$name","password":"{PASSWORD}"}}', JSON
    ),
    "a body too large": Case("POST /register", 413, "request_too_large", "/register", "x" * 9000, JSON),
    "a profile": Case("GET /me", 200, "ok", "/me", knows_user=True, sends_token=True),
    "no token": Case("GET /me", 401, "invalid_access_token", "/me"),
    "a bad refresh token": Case("POST /refresh", 401, "invalid_refresh_token", "/refresh", "refresh_token=x"),
    "no client": Case("POST /introspect", 401, "invalid_client", "/introspect", "token=x"),
    "a session of nobody": Case(
        "DELETE /me/sessions/$session0",
        404,
        "unknown_resource",
        "/me/sessions/{id}",
        knows_user=True,
        sends_token=True,
    ),
    "no such path": Case("GET /a-path-that-says-too-much", 404, "unknown_route", "unknown"),
    "no such method": Case("DELETE /login", 405, "method_not_allowed", "/login"),
    "health": Case("GET /health/ready", 200, "ok", "/health/ready"),
}


def send(client: Client, case: Case, person: Person, request_id: str) -> Reply:
    method, path = case.call.replace("$session", person.session_id).split(" ")
    headers = {"X-Request-Id": request_id}
    if case.sends_token:
        headers["Authorization"] = f"Bearer {person.access_token}"
    if case.body is not None:
        headers["Content-Type"] = case.media_type
    body = None if case.body is None else case.body.replace("$name", person.username).replace(" ", "+").encode()
    if case.media_type == JSON and body is not None:
        body = body.replace(b"+", b" ")
    return client.send(method, path, body=body, headers=headers)


def lines_of(node: Node, request_id: str) -> list[dict[str, Any]]:
    """Every line of that request; a line is up to a tenth of a second late."""
    found: list[dict[str, Any]] = []

    def is_written() -> bool:
        found[:] = [line for line in log_lines(node.log_file) if line.get("request_id") == request_id]
        return bool(found)

    until(is_written, "the request has no line")
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_is_told_in_one_line(case: Case, shared_node: Node, client: Client, person: Person) -> None:
    request_id, before = fresh_name("r"), datetime.now(UTC)
    reply = send(client, case, person, request_id)
    assert reply.status == case.status, reply.body
    assert reply.headers["x-request-id"] == request_id
    (line,) = lines_of(shared_node, request_id)
    assert line.keys() <= FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert timedelta(0) <= datetime.fromisoformat(line["time"]) - before < timedelta(minutes=1)
    assert (line["method"], line["route"]) == (case.call.split(" ")[0], case.route)
    assert (line["status"], line["outcome"]) == (case.status, case.outcome)
    assert line.get("user_id") == (person.user_id if case.knows_user else None)
    assert 0 < line["duration_ms"] < 60_000


def test_a_registration_names_the_user_that_it_made(shared_node: Node, client: Client) -> None:
    request_id = fresh_name("r")
    members = {"username": fresh_name(), "password": PASSWORD}
    assert client.send_json("/register", members, x_request_id=request_id).status == 200
    (line,) = lines_of(shared_node, request_id)
    claims = client.get("/me", token=client.log_in(str(members["username"]))["access_token"]).json
    assert line["user_id"] == claims["userid"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "a;b", 'a"b', "ä"], ids=repr)
def test_a_request_id_that_could_do_harm_in_a_log_is_replaced(given: str, client: Client) -> None:
    reply = client.send("GET", "/health/live", headers={"X-Request-Id": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{13,}", reply.headers["x-request-id"])


def test_a_client_that_hangs_up_is_told_of_too(shared_node: Node) -> None:
    request_id = fresh_name("r")
    with socket.create_connection(("127.0.0.1", shared_node.port)) as connection:
        head = f"POST /login HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\nContent-Type: {FORM}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 50\r\n\r\nusername=half")
    (line,) = lines_of(shared_node, request_id)
    assert (line["outcome"], line["status"], line["route"]) == ("client_gone", None, "/login")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_counts_once(case: Case, shared_node: Node, client: Client, person: Person) -> None:
    """Whichever process answered: /metrics is of the node."""
    counters = {
        "tidegate_requests_total": {"route": case.route, "method": case.call.split(" ")[0], "status": str(case.status)},
        "tidegate_request_seconds_count": {"route": case.route},
        "tidegate_refused_total": {"route": case.route, "reason": case.outcome},
    }

    def counted() -> list[float]:
        return [measure(shared_node, name, **labels) for name, labels in counters.items()]

    requests, timed, refused = settled(counted)
    assert send(client, case, person, fresh_name("r")).status == case.status
    expected = [requests + 1, timed + 1, refused + (case.outcome != "ok")]
    until(lambda: counted() == expected, "a count is wrong")  # it may follow its answer


def test_the_counts_of_all_processes_come_together(shared_node: Node) -> None:
    labels = {"route": "/health/live", "method": "GET"}
    with open_lines(shared_node) as lines:
        assert len(lines) == 2
        counted = settled(lambda: measure(shared_node, "tidegate_requests_total", **labels))
        for line in lines:
            assert line.get("/health/live").status == 200
        until(lambda: measure(shared_node, "tidegate_requests_total", **labels) == counted + 2, "a process is missing")


@pytest.mark.parametrize(
    ("case", "hashes"),
    [("a login", 1), ("a wrong password", 1), ("nobody", 0), ("a field missing", 0), ("a name taken", 0)],
)
def test_a_hash_counts_where_one_is_made_and_nowhere_else(
    case: str, hashes: int, shared_node: Node, client: Client, person: Person
) -> None:
    """Bad input and unknown names cost no core."""
    counted = measure(shared_node, "tidegate_hash_seconds_count")
    send(client, CASES[case], person, fresh_name("r"))
    assert measure(shared_node, "tidegate_hash_seconds_count") == counted + hashes


def test_each_process_says_at_its_start_what_it_hashes_with(shared_node: Node) -> None:
    """Its share of the cores, and the memory that it will keep."""
    events = [line["event"] for line in log_lines(shared_node.log_file) if line.get("source") == "api"]
    started = [event for event in events if event.startswith("serving; ")]
    assert len(started) >= 2
    threads = measure(shared_node, "tidegate_hash_threads")
    told = [
        re.match(r"serving; hash threads: (\d+), with (\d+) MiB of memory; Argon2 by .", event) for event in started[:2]
    ]
    assert [int(each[2]) for each in told if each] == [int(each[1]) * 2 * 19 for each in told if each]
    assert sum(int(each[1]) for each in told if each) == threads


def test_the_gauges_say_what_the_node_has(shared_node: Node) -> None:
    expected = {
        "tidegate_hash_threads": 2,
        "tidegate_database_connections_open": 16,
        "tidegate_revocation_feed_up": 2,
        "tidegate_hash_running": 0,
        "tidegate_hash_waiting": 0,
        "tidegate_database_connections_in_use": 0,
    }
    until(lambda: {name: measure(shared_node, name) for name in expected} == expected, "a gauge is wrong")


def test_every_metric_is_ours_and_says_what_it_measures(shared_node: Node, client: Client, person: Person) -> None:
    for case in CASES.values():
        send(client, case, person, fresh_name("r"))
    text = metrics_text(shared_node)
    names = set(re.findall(r"^([a-z_]+)", text.replace("# ", "#"), re.MULTILINE))
    assert names
    assert all(name.startswith("tidegate_") for name in names)
    assert all(f"# HELP {name} " in text for name in ("tidegate_requests_total", "tidegate_hash_seconds"))


def test_no_label_is_what_a_client_wrote(shared_node: Node, client: Client) -> None:
    """Else everybody could fill our memory with metrics."""
    name = fresh_name("written-by-a-client")
    client.get(f"/{name}")
    client.get(f"/me/sessions/{name}")
    client.get(f"/availability?username={name}")
    client.send("GET", "/health/live", headers={"User-Agent": name, "X-Request-Id": name})
    assert name not in metrics_text(shared_node)


@pytest.mark.parametrize("path", ["/metrics", "/admin", "/admin/", "/admin/users", "/metrics/"])
def test_the_public_port_knows_neither_metrics_nor_admin(path: str, client: Client) -> None:
    assert client.get(path).status == 404


def test_the_port_of_the_metrics_knows_no_login(shared_node: Node) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{shared_node.metrics_port}/login", data=b"username=x", method="POST"),
            timeout=20,
        )
    refused.value.close()
    assert refused.value.code in {404, 405, 501}


def test_every_line_of_every_log_is_one_json_object(shared_node: Node) -> None:
    """Also what libraries had to say; and nothing else went to standard output or error."""
    for name in ("api.log", "worker.log"):
        lines = log_lines(shared_node.folder / name)
        assert lines
        assert all(line["time"].endswith("Z") for line in lines)
        assert all("request_id" in line or {"level", "source", "event"} <= line.keys() for line in lines)
    for name in ("api.out", "worker.out"):
        assert (shared_node.folder / name).read_text() == ""
