"""What holds for every path: methods, HEAD, unknown paths, sizes, media types; and health, documents, what is not there."""

import http.client
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import FORM, JSON, PASSWORD, PROBLEM, Client, Person, Reply, basic
from tests.support.contract import (
    NOT_FOUND,
    TOKEN_REFUSED,
    TOO_LARGE,
    UNSUPPORTED,
    Row,
    Says,
    not_allowed,
    refusal,
    table,
)
from tests.support.databases import make_migrated_database
from tests.support.nodes import Node, running_node
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

EDGE_CACHING = "public, max-age=300, stale-while-revalidate=86400"
BODY_BYTES_MAX = 8 * 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

ALLOWED = {
    "/login": "POST",
    "/register": "POST",
    "/refresh": "POST",
    "/logout": "POST",
    "/me": "GET, PATCH, HEAD",
    "/me/password": "POST",
    "/me/sessions": "GET, HEAD",
    "/me/sessions/0190a0a0-0000-7000-8000-000000000000": "DELETE",
    "/me/coupons": "GET, HEAD",
    "/availability": "GET, HEAD",
    "/campaigns/unknown": "GET, HEAD",
    "/coupons/unknown/redeem": "POST",
    "/coupons/unknown/reserve": "POST",
    "/coupons/unknown/confirm": "POST",
    "/coupons/unknown/release": "POST",
    "/revoke": "POST",
    "/introspect": "POST",
    "/.well-known/jwks.json": "GET, HEAD",
    "/.well-known/oauth-authorization-server": "GET, HEAD",
    "/health/live": "GET, HEAD",
    "/health/ready": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/docs": "GET, HEAD",
    "/": "GET, HEAD",
}
NAMED = {"0190a0a0-0000-7000-8000-000000000000": "{id}", "unknown": "{code}"}
"""What stands in the place of a template's name."""

READABLE = [path for path, allow in ALLOWED.items() if "GET" in allow and not path.endswith("/unknown")]
TAKING_FORMS = ["/login", "/refresh", "/logout", "/me/password", "/revoke", "/introspect"]
TAKING_JSON = [("POST", "/register"), ("POST", "/login"), ("PATCH", "/me")]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        pytest.param(method, path, allow, id=f"{method} {path}")
        for path, allow in ALLOWED.items()
        for method in METHODS
        if method not in allow.split(", ")
    ],
)
def test_a_method_that_a_path_does_not_know_is_405_with_those_it_does(
    method: str, path: str, allow: str, client: Client
) -> None:
    reply = client.send(method, path)
    if method == "HEAD":
        assert (reply.status, reply.headers["allow"], reply.body) == (405, allow, b"")
    else:
        not_allowed(allow).check(reply)


@pytest.mark.parametrize("path", READABLE)
def test_head_is_get_without_the_body(path: str, client: Client, settled: Person) -> None:
    query = f"?username={settled.username}" if path == "/availability" else ""
    asked = {"Authorization": f"Bearer {settled.access_token}"}
    get, head = (client.send(method, path + query, headers=asked) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.status == get.status in {200, 307}
    changing = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }
    assert client.get("/health/live").status == 200, "no body of the HEAD stands on the connection"


@pytest.mark.parametrize(
    "call",
    [
        "GET /nothing",
        "POST /nothing",
        "GET /login/",
        "POST /login/",
        "POST //login",
        "POST /LOGIN",
        "GET /me/sessions/a/b",
        "DELETE /me/sessions/a/b",
        "GET /%00",
        "GET /%ff",
        "GET /..%2fme",
        "GET /metrics",
        "GET /admin/",
        "GET /admin/users",
        "GET /favicon.ico",
    ],
)
def test_an_unknown_path_is_404(call: str, client: Client) -> None:
    """The admin paths and the metrics too: they are not served on the public port."""
    row = Row(name="", call=call, gives=NOT_FOUND)
    row.check(client)
    row.check_problem(client)


def test_the_metrics_are_served_on_a_port_of_their_own(shared_node: Node) -> None:
    with Client(shared_node.metrics_port) as apart:
        reply = apart.get("/metrics")
        assert reply.status == 200
        assert b"tidegate_requests_total{" in reply.body


@pytest.mark.parametrize("path", [*TAKING_FORMS, "/register", "/me"])
def test_a_body_over_8_kib_is_413(path: str, client: Client, person: Person) -> None:
    method = "PATCH" if path == "/me" else "POST"
    call = Row(
        name="",
        call=f"{method} {path}",
        content=b"a" * (BODY_BYTES_MAX + 1),
        media_type=JSON if path in {"/register", "/me"} else FORM,
        bearer="$access_token",
        gives=TOO_LARGE,
    )
    call.check(client, person)
    call.check_problem(client, person)


def test_a_body_of_8_kib_fits(client: Client, person: Person) -> None:
    filler = BODY_BYTES_MAX - len(f"username={person.username}&password=correct+horse+battery&x=")
    content = f"username={person.username}&password=correct+horse+battery&x={'a' * filler}".encode()
    assert len(content) == BODY_BYTES_MAX
    assert client.send("POST", "/login", body=content, headers={"Content-Type": FORM}).status == 200


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        f"{FORM}; charset=latin-1",
        "form",
        "*/*",
        f"{FORM}, {FORM}",
    ],
)
@pytest.mark.parametrize("path", TAKING_FORMS)
def test_a_form_of_another_media_type_is_415(path: str, media_type: str | None, client: Client, person: Person) -> None:
    credentials = basic(*INTROSPECTION) if path == "/introspect" else f"Bearer {person.access_token}"
    headers = {"Authorization": credentials} | ({} if media_type is None else {"Content-Type": media_type})
    UNSUPPORTED.check(client.send("POST", path, body=b"a=b", headers=headers))


@pytest.mark.parametrize(
    "media_type", [None, "", "text/json", "application/problem+json", f"{JSON}; charset=utf-16", "json"]
)
@pytest.mark.parametrize(("method", "path"), TAKING_JSON)
def test_json_of_another_media_type_is_415(
    method: str, path: str, media_type: str | None, client: Client, person: Person
) -> None:
    headers = {"Authorization": f"Bearer {person.access_token}"}
    if media_type is not None:
        headers["Content-Type"] = media_type
    UNSUPPORTED.check(client.send(method, path, body=b"{}", headers=headers))


@table(
    Row(name="alive", call="GET /health/live", gives=Says(status=200, body=b'{"status":"live"}')),
    Row(name="ready", call="GET /health/ready", gives=Says(status=200, body=b'{"status":"ready"}')),
    Row(
        name="the bare address leads to the page for people",
        call="GET /",
        gives=Says(status=307, body=b"", media_type=None, cache="public, max-age=300").but(location="/docs"),
    ),
)
def test_what_needs_no_user_is_answered_as_the_contract_says(row: Row, client: Client) -> None:
    row.check(client)


def test_the_openapi_document_is_served_and_names_where(shared_node: Node, client: Client) -> None:
    reply = client.get("/openapi.json")
    Says(status=200, body=reply.body, cache=EDGE_CACHING).check(reply)
    assert reply.json["openapi"] == "3.1.0"
    assert reply.json["servers"] == [{"url": f"http://127.0.0.1:{shared_node.port}"}]
    templates = {"/".join(NAMED.get(segment, segment) for segment in path.split("/")) for path in ALLOWED}
    assert set(reply.json["paths"]) | {"/"} == templates


def test_the_page_for_people_tells_of_every_path_and_fetches_nothing(client: Client) -> None:
    reply = client.get("/docs")
    Says(status=200, body=reply.body, media_type="text/html; charset=utf-8", cache=EDGE_CACHING).check(reply)
    page = reply.body.decode()
    for path in client.get("/openapi.json").json["paths"]:
        assert path in page
    for fetched in ("<script", "<img", "<link", "<iframe", "@import", "url("):
        assert fetched not in page


def test_a_request_id_comes_back_and_two_requests_have_two(client: Client) -> None:
    assert client.get("/health/live", x_request_id="abc-1.2_X").headers["x-request-id"] == "abc-1.2_X"
    ids = {client.get("/health/live").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


SERVICE_UNAVAILABLE = refusal(503, "service unavailable")


@pytest.fixture
def server_of_our_own() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that may be stopped without harm to other tests."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user
    try:
        with EmbeddedPostgres(folder, durable=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_without_the_database_it_is_503_with_retry_after_and_then_all_is_well(
    server_of_our_own: EmbeddedPostgres, tmp_path
) -> None:
    """Not ready but alive; nobody is told 404 or 401 for it (promise P9)."""
    dsn = server_of_our_own.dsn(make_migrated_database(server_of_our_own))
    with running_node(dsn, tmp_path) as node, node.client() as client:
        person = client.person()
        credentials = {"username": person.username, "password": PASSWORD}
        server_of_our_own.process.send_signal(signal.SIGINT)  # "fast"; stop() would take its address away too
        server_of_our_own.process.wait()
        until(lambda: client.get("/health/ready").status == 503, "it is still ready")
        assert client.get("/health/live").status == 200
        assert client.get("/.well-known/jwks.json").status == 200
        for reply in (
            client.get("/health/ready"),
            client.form("/login", credentials),
            client.send_json("/register", {"username": f"new-{person.username}", "password": PASSWORD}),
            client.form("/refresh", {"refresh_token": person.refresh_token}),
            client.get(f"/availability?username={person.username}"),
        ):
            SERVICE_UNAVAILABLE.check(reply)
            assert 1 <= int(reply.headers["retry-after"]) <= 60
        problem = client.form("/login", credentials, accept=PROBLEM)
        assert (problem.status, problem.json["title"]) == (503, "service unavailable")
        assert "retry-after" in problem.headers
        server_of_our_own.start()
        until(lambda: client.get("/health/ready").status == 200, "it is not ready again")
        assert client.form("/login", credentials).status == 200


def test_an_error_is_told_as_a_problem_to_who_asks_for_one(client: Client) -> None:
    """RFC 9457, though the client would take other forms too."""
    reply = client.form("/login", {"username": "x"}, accept="application/json, application/problem+json;q=0.9")
    assert reply.headers["content-type"] == PROBLEM
    assert json.loads(reply.body) == {
        "type": "/docs#invalid-request",
        "title": "invalid request",
        "status": 400,
        "detail": "password: missing",
        "errors": [{"field": "password", "reason": "missing"}],
    }
    plain = client.form("/login", {"username": "x"}, accept="*/*")
    assert (plain.headers["content-type"], plain.body) == (JSON, b'{"code":"400","message":"invalid request"}')


def spread(node: Node, call: str, lines: list[tuple[str, str]], body: bytes | None = None) -> Reply:
    """The answer to a request of these header *lines*, of which several may have one name."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
    method, target = call.split(" ")
    connection.putrequest(method, target)
    for name, value in lines:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return reply


def test_two_media_types_are_none(shared_node: Node, person: Person) -> None:
    """A proxy might believe the other one."""
    for types in ([FORM, JSON], [JSON, FORM], [FORM, FORM]):
        lines = [("Content-Type", media_type) for media_type in types]
        UNSUPPORTED.check(spread(shared_node, "POST /login", lines, b"username=x&password=y"))


def test_two_tokens_are_refused_even_if_they_are_one(shared_node: Node, person: Person) -> None:
    lines = [("Authorization", f"Bearer {person.access_token}")] * 2
    TOKEN_REFUSED.check(spread(shared_node, "GET /me", lines))


def test_what_may_be_a_list_may_be_spread_over_lines(shared_node: Node, client: Client, settled: Person) -> None:
    """RFC 9110 section 5.2."""
    tag = client.get("/me", token=settled.access_token).headers["etag"]
    authorization = ("Authorization", f"Bearer {settled.access_token}")
    conditions = [("If-None-Match", '"another"'), ("If-None-Match", tag)]
    assert spread(shared_node, "GET /me", [authorization, *conditions]).status == 304
    accepted = [("Accept", "text/html"), ("Accept", "Application/Problem+JSON")]
    assert spread(shared_node, "GET /nothing", accepted).headers["content-type"] == PROBLEM
