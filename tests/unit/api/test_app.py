"""One request in, one answer out, whatever the endpoint does."""

import asyncio
from uuid import UUID

import pytest

from tests.support.asgi import call
from tidegate.api.app import Application, Seen, client_address
from tidegate.api.errors import Refuser
from tidegate.api.http import BODY_BYTES_MAX, Answer, Request
from tidegate.api.routing import Endpoint, Route, Router
from tidegate.domain.errors import UnknownUser, WrongPassword

OK = b'{"ok":true}'


async def _ok(request: Request) -> Answer:
    return Answer(200, request.body or OK)


def an_application(
    endpoint: Endpoint = _ok, *, deadline_s: float = 5.0, trusted_hops: int = 0
) -> tuple[Application, list[Seen]]:
    seen: list[Seen] = []
    routes = [
        Route("POST", "/thing", endpoint, reads_body=True),
        Route("GET", "/thing", endpoint),
        Route("DELETE", "/thing/{id}", endpoint),
        Route("POST", "/thing/{id}/use", endpoint),
    ]
    application = Application(
        router=Router(routes),
        refuser=Refuser(is_uniform=False),
        deadline_s=deadline_s,
        trusted_hops=trusted_hops,
        on_seen=seen.append,
    )
    return application, seen


def test_an_answer_goes_out_whole_and_is_seen_once():
    application, seen = an_application()
    reply = call(application, "POST", "/thing", parts=[b"a", b"b", b"c"])
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"abc", "3")
    assert [(one.outcome, one.status, one.request.route) for one in seen] == [("ok", 200, "/thing")]


def test_the_body_is_forgotten_before_the_request_is_told_of():
    """It may hold a password."""
    application, seen = an_application()
    call(application, "POST", "/thing", parts=[b"password=canary"])
    assert seen[0].request.body == b""


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("PUT", "/thing", 405, "GET, POST, HEAD"),
        ("HEAD", "/thing", 200, None),
        ("GET", "/thing/7", 405, "DELETE"),
        ("DELETE", "/thing/7", 200, None),
        ("DELETE", "/thing/7/8", 404, None),
        ("DELETE", "/thing/", 404, None),
        ("POST", "/thing/7/use", 200, None),
        ("GET", "/thing/", 404, None),
        ("GET", "//thing", 404, None),
    ],
)
def test_a_path_and_a_method_find_their_endpoint_or_say_why_not(method, path, status, allow):
    application, seen = an_application()
    reply = call(application, method, path)
    assert (reply.status, reply.headers.get("allow")) == (status, allow)
    assert "7" not in seen[0].request.route, "the log has templates, not paths"


def test_a_bug_is_answered_500_and_told_with_its_exception():
    async def broken(request: Request) -> Answer:
        raise KeyError("canary")

    application, seen = an_application(broken)
    reply = call(application, "GET", "/thing")
    assert (reply.status, reply.body) == (500, b'{"code":"500","message":"internal server error"}')
    assert isinstance(seen[0].fault, KeyError)


def test_a_refusal_is_told_by_its_name_and_user():
    async def refusing(request: Request) -> Answer:
        raise WrongPassword(UUID(int=5))

    application, seen = an_application(refusing)
    assert call(application, "GET", "/thing").status == 403
    assert (seen[0].outcome, seen[0].request.user_id, seen[0].fault) == ("wrong_password", UUID(int=5), None)


def test_a_request_ends_by_its_deadline():
    """Promise P10."""

    async def stuck(request: Request) -> Answer:
        await asyncio.Event().wait()
        raise UnknownUser

    application, seen = an_application(stuck, deadline_s=0.01)
    reply = call(application, "GET", "/thing")
    assert (reply.status, seen[0].outcome) == (503, "deadline_exceeded")
    assert "retry-after" in reply.headers


@pytest.mark.parametrize(
    ("size", "announced", "status"),
    [
        (BODY_BYTES_MAX, True, 200),
        (BODY_BYTES_MAX, False, 200),
        (BODY_BYTES_MAX + 1, True, 413),
        (BODY_BYTES_MAX + 1, False, 413),
        (50_000_000, True, 413),
        (50_000_000, False, 413),
    ],
)
def test_a_body_over_the_limit_is_refused_however_it_comes(size, announced, status):
    application, _ = an_application()
    headers = [(b"content-length", str(size).encode())] if announced else []
    piece = b"x" * 65_536
    parts = [piece] * (size // 65_536) + [b"x" * (size % 65_536)]
    reply = call(application, "POST", "/thing", headers=headers, parts=parts)
    assert reply.status == status
    assert (reply.headers.get("connection") == "close") == (status == 413)


def test_a_client_that_waits_for_the_go_ahead_is_refused_before_it_sends():
    application, _ = an_application()
    headers = [(b"content-length", b"9000"), (b"expect", b"100-continue")]
    assert call(application, "POST", "/thing", headers=headers, parts=[b"", b""], hangs_up=True).status == 413


def test_a_client_that_hangs_up_is_not_answered():
    application, seen = an_application()
    reply = call(application, "POST", "/thing", parts=[b"half", b"never"], hangs_up=True)
    assert reply.status == 0
    assert (seen[0].outcome, seen[0].status) == ("client_gone", None)


@pytest.mark.parametrize(
    ("given", "kept"), [(b"abc-1.2_X", True), (b"a b", False), (b"x" * 65, False), (b"", False), (b'"}\n{"', False)]
)
def test_a_request_id_is_taken_from_the_caller_only_if_it_is_harmless(given, kept):
    application, seen = an_application()
    reply = call(application, "GET", "/thing", headers=[(b"x-request-id", given)])
    assert (reply.headers["x-request-id"] == given.decode()) == kept
    assert seen[0].request.request_id == reply.headers["x-request-id"]


def test_two_requests_have_two_ids():
    application, seen = an_application()
    for _ in range(2):
        call(application, "GET", "/thing")
    assert len({one.request.request_id for one in seen}) == 2


@pytest.mark.parametrize(
    ("forwarded", "hops", "address"),
    [
        ([b"9.9.9.9, 1.2.3.4"], 1, "1.2.3.4"),
        ([b"9.9.9.9", b"1.2.3.4, 10.0.0.1"], 2, "1.2.3.4"),
        ([b"1.2.3.4:5555"], 1, "1.2.3.4"),
        ([b"[2001:DB8::1]:443"], 1, "2001:db8::1"),
        ([b"2001:DB8:0::1"], 1, "2001:db8::1"),
        ([b"nonsense"], 1, "127.0.0.1"),
        ([], 1, "127.0.0.1"),
        ([b"1.2.3.4"], 2, "127.0.0.1"),
    ],
)
def test_the_client_is_as_many_entries_from_the_right_as_there_are_proxies_of_ours(forwarded, hops, address):
    assert client_address("127.0.0.1", forwarded, trusted_hops=hops) == address


def test_without_trusted_proxies_the_address_is_the_socket_s():
    application, seen = an_application(trusted_hops=0)
    call(application, "GET", "/thing", headers=[(b"x-forwarded-for", b"9.9.9.9")], client=("10.1.2.3", 1))
    assert seen[0].request.address == "10.1.2.3"
    application, seen = an_application(trusted_hops=1)
    call(application, "GET", "/thing", headers=[(b"x-forwarded-for", b"9.9.9.9")], client=("10.1.2.3", 1))
    assert seen[0].request.address == "9.9.9.9"
