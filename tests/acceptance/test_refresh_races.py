"""However many refresh at once and whatever answers are lost: one live successor, and nobody is logged out (P6, P7)."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from threading import Event, Thread

import pytest

from tests.support.client import Client, Person, unverified_claims
from tests.support.lines import Line, api_processes, ask_all, open_lines, process_of
from tests.support.nodes import Node
from tests.support.seeds import seeded
from tests.support.tables import rows, value
from tests.support.waiting import until

RACERS = 64


@pytest.fixture(scope="module")
def lines(shared_node: Node) -> Iterator[list[Line]]:
    """As many to one API process as to the other."""
    with open_lines(shared_node, per_process=RACERS // 2) as lines:
        yield lines


def generation(node: Node, session_id: str) -> int:
    found: int = value(node.dsn, "SELECT generation FROM sessions WHERE session_id = $1::text::uuid", session_id)
    return found


def is_revoked(node: Node, session_id: str) -> bool:
    at = value(node.dsn, "SELECT revoked_at FROM sessions WHERE session_id = $1::text::uuid", session_id)
    return at is not None


def refresh(line: Line | Client, refresh_token: str) -> str:
    """The successor of *refresh_token*."""
    reply = line.form("/refresh", {"refresh_token": refresh_token})
    assert reply.status == 200, (reply.status, reply.body)
    successor: str = reply.json["refresh_token"]
    return successor


def test_the_lines_reach_both_processes(shared_node: Node, lines: list[Line]) -> None:
    """Else the races below would be none."""
    told = {line.pid: process_of(line.get("/health/live")) for line in lines}
    assert sorted(told) == sorted(api_processes(shared_node))
    assert len(set(told.values())) == 2


def test_sixty_four_racing_refreshes_are_all_answered_with_the_one_successor(
    shared_node: Node, lines: list[Line], person: Person
) -> None:
    replies = ask_all(lines, "POST", "/refresh", {"refresh_token": person.refresh_token})
    assert {reply.status for reply in replies} == {200}
    (successor,) = {reply.json["refresh_token"] for reply in replies}
    assert successor != person.refresh_token
    assert generation(shared_node, person.session_id) == 1
    assert {
        line.get("/me", token=reply.json["access_token"]).status for line, reply in zip(lines, replies, strict=True)
    } == {200}
    again = ask_all(lines[:4], "POST", "/refresh", {"refresh_token": person.refresh_token})
    assert {reply.json["refresh_token"] for reply in again} == {successor}
    assert generation(shared_node, person.session_id) == 1
    assert refresh(lines[0], successor) not in {successor, person.refresh_token}


def test_many_tabs_stay_in_step_generation_after_generation(shared_node: Node, lines: list[Line], person: Person) -> None:
    token = person.refresh_token
    for expected in range(1, 11):
        replies = ask_all(lines[:8], "POST", "/refresh", {"refresh_token": token})
        assert {reply.status for reply in replies} == {200}
        (token,) = {reply.json["refresh_token"] for reply in replies}
        assert generation(shared_node, person.session_id) == expected


def test_racing_reuse_leaves_nothing_alive(shared_node: Node, lines: list[Line], person: Person) -> None:
    """Thieves and owner at once: whoever is answered first, in the end no token of the session works."""
    second = refresh(lines[0], person.refresh_token)
    third = refresh(lines[1], second)
    for line, token in zip(lines, cycle([person.refresh_token, third]), strict=False):
        line.ask("POST", "/refresh", {"refresh_token": token})
    replies = [line.answer() for line in lines]
    assert {reply.status for reply in replies[::2]} == {401}
    handed_out = {reply.json["refresh_token"] for reply in replies[1::2] if reply.status == 200}
    assert is_revoked(shared_node, person.session_id)
    for token in {person.refresh_token, second, third, *handed_out}:
        assert lines[0].form("/refresh", {"refresh_token": token}).status == 401


def test_a_lost_answer_never_logs_a_client_out(
    shared_node: Node, client: Client, lines: list[Line], person: Person
) -> None:
    """The client sends and hangs up, politely or not, and comes back to whichever process: promise P7.

    A session each round: what was sent and left behind may arrive late, and would be reuse once the successor is used.
    """
    chance = seeded("lost answers")
    for _ in range(15):
        pair = client.log_in(person.username)
        session_id = unverified_claims(pair["access_token"])["sid"]
        for _ in range(chance.randint(1, 4)):
            send_and_hang_up(shared_node.port, pair["refresh_token"], is_rude=chance.random() < 0.5)
        if chance.random() < 0.3:  # else the repeat may overtake what it repeats
            send_and_hang_up(shared_node.port, pair["refresh_token"], is_rude=False)
            until(lambda: generation(shared_node, session_id) == 1, "the lost refresh had no effect")  # noqa: B023 - now
        successor = refresh(chance.choice(lines), pair["refresh_token"])
        assert refresh(chance.choice(lines), pair["refresh_token"]) == successor
        assert generation(shared_node, session_id) == 1
        assert not is_revoked(shared_node, session_id)


def send_and_hang_up(port: int, refresh_token: str, *, is_rude: bool) -> None:
    """Send a refresh and be gone before its answer; *is_rude*: the connection is reset instead of closed."""
    body = f"refresh_token={refresh_token}".encode()
    head = (
        f"POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        if is_rude:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_database_line_that_breaks_in_between_never_logs_a_client_out(
    shared_node: Node, lines: list[Line], person: Person
) -> None:
    """Whether the rotation took place is unknown to the server then; the client asks again and is answered."""
    token = person.refresh_token
    with connections_breaking(shared_node.dsn):
        for line in islice(cycle(lines), 40):
            statuses: list[int] = []
            while statuses[-1:] != [200]:
                reply = line.form("/refresh", {"refresh_token": token})
                statuses.append(reply.status)
                assert reply.status in {200, 503}, statuses
            token = reply.json["refresh_token"]
    assert generation(shared_node, person.session_id) == 40


@contextmanager
def connections_breaking(dsn: str) -> Iterator[None]:
    """End every connection of the API to the database, again and again, as fast as one query does it."""
    over = Event()

    def break_all() -> None:
        while not over.is_set():
            rows(
                dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database() AND application_name = 'tidegate'",
            )

    breaking = Thread(target=break_all)
    breaking.start()
    try:
        yield
    finally:
        over.set()
        breaking.join()
