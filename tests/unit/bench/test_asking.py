"""Requests are right to the octet, users have their turn, and no refresh token is sent twice at once."""

from urllib.parse import parse_qs

import msgspec
import pytest
from bench.dialect import TIDEGATE
from bench.driver.asking import Asking, Logins, Session, asking_of
from bench.orders import Opening, Stream

HOST = "127.0.0.1:8080"
GOOD = b'HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{"access_token":"a2","refresh_token":"r-next"}'


def a_stream(call: str, **changes: object) -> Stream:
    spoken = getattr(TIDEGATE, call)
    stream = Stream(
        name=call,
        head=spoken.head,
        body=spoken.body.replace("{window}", "0007"),
        good=spoken.good,
        refresh_at=TIDEGATE.refresh_at,
        connections=2,
        rate_per_s=None,
        first_number=1,
        numbers=5,
    )
    return msgspec.structs.replace(stream, **changes)


def some_sessions(count: int = 2) -> list[Session]:
    return [Session(b"a%d" % number, b"r%d" % number) for number in range(count)]


def taken(asking: Asking) -> bytes:
    found = asking.take()
    assert found is not None
    return found[1]


def split(request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert int(headers.get(b"Content-Length", b"0")) == len(body)
    assert headers[b"Host"] == HOST.encode()
    return first, headers, body


def test_every_user_has_their_turn_before_any_has_a_second():
    asking = asking_of(a_stream("login"), HOST, [])
    bodies = [split(taken(asking))[2].decode() for _ in range(10)]
    names = [parse_qs(body)["username"][0] for body in bodies]
    assert sorted(names[:5]) == [f"user{number:07d}" for number in range(1, 6)]
    assert names[5:] == names[:5]
    assert {parse_qs(body)["password"][0] for body in bodies} == {"correct horse battery staple"}


def test_many_users_are_taken_in_leaps_and_none_is_left_out():
    asking = asking_of(a_stream("login", numbers=100_000), HOST, [])
    requests = {taken(asking) for _ in range(100_000)}
    assert len(requests) == 100_000


def test_each_name_in_a_registration_is_the_same_new_one():
    first, headers, body = split(taken(asking_of(a_stream("register"), HOST, [])))
    asked = msgspec.json.decode(body)
    assert first == b"POST /register HTTP/1.1"
    assert headers[b"Content-Type"] == b"application/json"
    assert asked["email"] == f"{asked['username']}@example.com"
    assert asked["username"].startswith("new0007x000000")


def test_a_percent_sign_is_itself():
    """A body is a format of bytes, and a form is full of them."""
    stream = a_stream("login", body="username=user{number}&password=%C3%A4%25")
    assert split(taken(asking_of(stream, HOST, [])))[2].endswith(b"&password=%C3%A4%25")
    with_token = a_stream("refresh", body="refresh_token={refresh}&x=%25")
    assert split(taken(asking_of(with_token, HOST, some_sessions())))[2] == b"refresh_token=r0&x=%25"


def test_access_tokens_are_borne_in_turn():
    asking = asking_of(a_stream("me"), HOST, some_sessions())
    borne = [split(taken(asking))[1][b"Authorization"] for _ in range(4)]
    assert sorted(borne[:2]) == [b"Bearer a0", b"Bearer a1"]
    assert borne[2:] == borne[:2]


def test_a_refresh_token_is_sent_once_and_then_its_successor():
    asking = asking_of(a_stream("refresh"), HOST, some_sessions(1))
    found = asking.take()
    assert found is not None
    session, request = found
    assert split(request)[2] == b"refresh_token=r0"
    assert asking.take() is None, "its session is busy"
    asking.give_back(session, GOOD)
    assert split(taken(asking))[2] == b"refresh_token=r-next"


def test_a_refresh_that_was_not_answered_well_is_tried_again_with_the_same_token():
    asking = asking_of(a_stream("refresh"), HOST, some_sessions(1))
    found = asking.take()
    assert found is not None
    asking.give_back(found[0], None)
    assert split(taken(asking))[2] == b"refresh_token=r0"


@pytest.mark.parametrize(("answer", "opened"), [(GOOD, [(b"a2", b"r-next")]), (None, [])])
def test_a_session_is_opened_by_a_good_answer_only(answer: bytes | None, opened: list[tuple[bytes, bytes]]):
    opening = Opening(
        head=TIDEGATE.login.head,
        body=TIDEGATE.login.body,
        good=200,
        sessions=3,
        access_at=TIDEGATE.access_at,
        refresh_at=TIDEGATE.refresh_at,
    )
    logins = Logins(opening, HOST)
    logins.give_back(None, answer)
    assert [(session.access, session.refresh) for session in logins.sessions] == opened
