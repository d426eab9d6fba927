"""The driver reads an answer wherever it is cut, and gives up on what it cannot read instead of guessing."""

import pytest
from bench.driver.answers import UnreadableAnswerError, is_whole, retry_after_s, token_place

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"access_token":"a"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("answer", [OK, CHUNKED, BUSY])
def test_an_answer_is_whole_with_its_last_octet_and_no_sooner(answer: bytes):
    assert [is_whole(answer[:cut]) for cut in range(len(answer) + 1)] == [False] * len(answer) + [True]


@pytest.mark.parametrize("name", [b"Content-Length:", b"content-length: ", b"CONTENT-LENGTH:\t "])
def test_a_length_is_read_however_it_is_written(name: bytes):
    head = b"HTTP/1.1 404 Not Found\r\n" + name + b"2\r\n\r\n"
    assert is_whole(head + b"{}")
    assert not is_whole(head + b"{")


def test_a_length_in_the_body_or_in_another_header_is_not_the_answers():
    head = b"HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nContent-Length: 22\r\n\r\n"
    assert is_whole(head + b"\r\ncontent-length: 99\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        b"SSH-2.0-server\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-server\r\nContent-length:0\r\n\r\n",
        OK + b"H",
        OK.replace(b"content-length: ", b"content-length:") + b"H",
    ],
)
def test_what_this_driver_cannot_read_ends_the_run(octets: bytes):
    with pytest.raises(UnreadableAnswerError):
        is_whole(octets)


def test_when_to_come_back_is_read_from_the_head_only():
    assert retry_after_s(BUSY) == 2
    assert retry_after_s(OK + b"\r\nretry-after: 7\r\n") == 0


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        ("json:access_token", OK),
        ("json:access_token", OK.replace(b":", b": ")),
        ("json:access", b'HTTP/1.1 200 OK\r\n\r\n{"refresh":"r","access":"a"}'),
        ("header:Set-Auth-Token", b"HTTP/1.1 200 OK\r\nset-auth-token: a\r\n\r\n{}"),
    ],
)
def test_a_token_is_found_where_it_is_said_to_be(place: str, answer: bytes):
    assert token_place(place).find(answer) == b"a"


def test_an_answer_without_the_token_ends_the_run():
    with pytest.raises(UnreadableAnswerError, match="refresh_token"):
        token_place("json:refresh_token").find(OK)
