"""One request in, one answer out, whatever the endpoint does."""

import asyncio
from uuid import UUID

import pytest

from tidegate.api.app import Application, client_address
from tidegate.api.errors import Refuser
from tidegate.api.http import Answer, Headers, Request
from tidegate.api.routing import Endpoint, Route, Router
from tidegate.domain.errors import WrongPassword

OK = b'{"ok":true}'


async def _ok(request: Request) -> Answer:
    return Answer(200, request.body or OK)


def an_application(endpoint: Endpoint = _ok, *, trusted_hops: int = 0) -> Application:
    routes = [
        Route("POST", "/thing", endpoint),
        Route("GET", "/thing", endpoint),
        Route("DELETE", "/thing/{id}", endpoint),
        Route("POST", "/thing/{id}/use", endpoint),
    ]
    return Application(
        router=Router(routes),
        turnstile=lambda _: None,
        refuser=Refuser(is_uniform=False),
        trusted_hops=trusted_hops,
        on_seen=lambda request, status: None,
    )


def a_request(
    application: Application,
    method: str = "GET",
    path: str = "/thing",
    *,
    headers: Headers | None = None,
    body: bytes = b"",
    is_whole: bool = True,
    peer: str | None = "127.0.0.1",
) -> Request:
    return application.request(
        method=method, path=path, query=b"", headers=headers or {}, peer=peer, body=body, is_whole=is_whole
    )


def answered(application: Application, request: Request) -> Answer:
    return asyncio.run(application.answer(request))


def test_a_request_is_answered_by_its_endpoint_and_its_body_forgotten():
    """The body may hold a password."""
    application = an_application()
    request = a_request(application, "POST", body=b"password=canary")
    assert answered(application, request).body == b"password=canary"
    assert (request.outcome, request.route, request.body) == ("ok", "/thing", b"")


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
    application = an_application()
    request = a_request(application, method, path)
    answer = answered(application, request)
    assert answer.status == status
    assert dict(answer.headers).get(b"allow") == (None if allow is None else allow.encode())
    assert "7" not in request.route, "the log has templates, not paths"


def test_a_bug_is_answered_500_and_kept_for_the_log():
    async def broken(request: Request) -> Answer:
        raise KeyError("canary")

    application = an_application(broken)
    request = a_request(application)
    answer = answered(application, request)
    assert (answer.status, answer.body) == (500, b'{"code":"500","message":"internal server error"}')
    assert isinstance(request.fault, KeyError)
    assert (request.outcome, request.body) == ("internal_error", b"")


def test_a_refusal_is_told_by_its_name_and_user():
    async def refusing(request: Request) -> Answer:
        raise WrongPassword(UUID(int=5))

    application = an_application(refusing)
    request = a_request(application)
    assert answered(application, request).status == 403
    assert (request.outcome, request.user_id, request.fault) == ("wrong_password", UUID(int=5), None)


def test_a_body_over_the_limit_is_refused_where_the_path_is_known():
    application = an_application()
    assert answered(application, a_request(application, "POST", is_whole=False)).status == 413
    assert answered(application, a_request(application, "POST", "/nothing", is_whole=False)).status == 404


@pytest.mark.parametrize(
    ("given", "kept"), [(b"abc-1.2_X", True), (b"a b", False), (b"x" * 65, False), (b"", False), (b'"}\n{"', False)]
)
def test_a_request_id_is_taken_from_the_caller_only_if_it_is_harmless(given, kept):
    request = a_request(an_application(), headers={b"x-request-id": [given]})
    assert (request.request_id == given.decode()) == kept
    assert request.request_id


def test_two_requests_have_two_ids():
    application = an_application()
    assert a_request(application).request_id != a_request(application).request_id


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
    headers = {b"x-forwarded-for": [b"9.9.9.9"]}
    assert a_request(an_application(trusted_hops=0), headers=headers, peer="10.1.2.3").address == "10.1.2.3"
    assert a_request(an_application(trusted_hops=1), headers=headers, peer="10.1.2.3").address == "9.9.9.9"
