"""Logins and refreshes race with what ends sessions: once the end is acknowledged nothing they opened survives (P3, P5).

What was answered and how is chance; what must hold is asked afterwards.
"""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.support.client import PASSWORD, Client, unverified_claims
from tests.support.lines import Line, ask_all, open_lines
from tests.support.nodes import Node
from tests.support.revoking import Dead
from tests.support.seeds import seeded
from tests.support.tables import value
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.user_administration import UserAdministration

PER_PROCESS = 8
ROUNDS = 12


@pytest.fixture(scope="module")
def lines(shared_node: Node) -> Iterator[list[Line]]:
    with open_lines(shared_node, per_process=PER_PROCESS) as lines:
        yield lines


def ask_to_log_in(line: Line, username: str, password: str) -> None:
    line.ask("POST", "/login", {"username": username, "password": password})


def test_logins_that_race_with_a_change_of_password_leave_no_session_of_the_old_one(
    shared_node: Node, client: Client, lines: list[Line]
) -> None:
    """Promise P3. Each login began before the change was acknowledged, at a moment that differs from round to round."""
    chance = seeded("a change of password")
    username = client.register()
    password, raced, changer = PASSWORD, 0, lines[-1]
    for number in range(ROUNDS):
        pair = client.log_in(username, password)
        dead = Dead(lines, [pair])
        early, late = lines[: chance.randint(1, 4)], lines[4:8]
        new_password = f"{PASSWORD} {number}"
        for line in early:
            ask_to_log_in(line, username, password)
        time.sleep(chance.uniform(0, 0.03))  # chance, not patience: where the change falls between them
        fields = {"current_password": password, "new_password": new_password}
        changer.ask("POST", "/me/password", fields, token=pair["access_token"])
        for line in late:
            time.sleep(chance.uniform(0, 0.02))
            ask_to_log_in(line, username, password)
        changed = changer.answer()
        assert changed.status == 200, changed.body

        assert client.form("/login", {"username": username, "password": password}).status == 403
        for line in (*early, *late):
            reply = line.answer()
            assert reply.status in {200, 403}, reply.body
            raced += reply.status == 200
            dead.note(reply)
        dead.must_be_dead()
        assert client.get("/me", token=changed.json["access_token"]).status == 200
        assert live_sessions(shared_node, changed.json["access_token"]) == 1
        password = new_password
    print(f"{raced} logins came first")


def live_sessions(node: Node, access_token: str) -> int:
    """How many sessions the user of *access_token* has."""
    statement = "SELECT count(*) FROM sessions WHERE user_id = $1::text::uuid AND revoked_at IS NULL"
    return int(value(node.dsn, statement, unverified_claims(access_token)["sub"]))


def test_of_racing_changes_of_one_password_one_wins_and_its_password_stands(
    shared_node: Node, client: Client, lines: list[Line]
) -> None:
    username = client.register()
    pair = client.log_in(username)
    for number, line in enumerate(lines):
        fields = {"current_password": PASSWORD, "new_password": f"{PASSWORD} {number}"}
        line.ask("POST", "/me/password", fields, token=pair["access_token"])
    replies = [line.answer() for line in lines]
    # 401: the change that won had revoked this session already; 403: it had replaced the current password.
    assert {reply.status for reply in replies} <= {200, 401, 403}
    (winner,) = [number for number, reply in enumerate(replies) if reply.status == 200]
    client.log_in(username, f"{PASSWORD} {winner}")
    for number in (winner - 1, winner + 1):
        assert client.form("/login", {"username": username, "password": f"{PASSWORD} {number}"}).status == 403


@pytest.mark.parametrize("ending", ["disable", "delete"])
def test_logins_that_race_with_the_end_of_their_user_leave_no_session(
    ending: str, shared_node: Node, client: Client, lines: list[Line]
) -> None:
    chance = seeded(f"to {ending}")
    raced = 0
    for _ in range(ROUNDS // 2):
        username = client.register()
        pair = client.log_in(username)
        dead = Dead(lines, [pair])
        for line in lines[:12]:
            ask_to_log_in(line, username, PASSWORD)
        time.sleep(chance.uniform(0, 0.1))
        end_user(shared_node, username, ending)
        refused = client.form("/login", {"username": username, "password": PASSWORD})
        assert refused.status == (404 if ending == "delete" else 403)
        for line in lines[:12]:
            reply = line.answer()
            assert reply.status in {200, 403, 404}, reply.body
            raced += reply.status == 200
            dead.note(reply)
        dead.must_be_dead()
    print(f"{raced} logins came first")


def end_user(node: Node, username: str, ending: str) -> None:
    """What `tidegate users disable` and `delete` do, without the half second that a program takes to start."""

    async def end() -> None:
        pool = PrimaryPool(dsn=node.dsn, size=1, acquire_timeout_s=5.0, statement_timeout_s=5.0, connect_timeout_s=5.0)
        await pool.open()
        try:
            administration = UserAdministration(pool)
            act = administration.disable if ending == "disable" else administration.delete
            assert await act(user_id)
        finally:
            await pool.aclose()

    user_id = value(node.dsn, "SELECT userid FROM users WHERE username = $1", username)
    asyncio.run(end())


def test_refreshes_that_race_with_a_logout_hand_out_nothing_that_lives(client: Client, lines: list[Line]) -> None:
    """Promise P5, and the access tokens of those that were answered die too."""
    chance = seeded("a logout")
    username = client.register()
    raced = 0
    for _ in range(ROUNDS):
        pair = client.log_in(username)
        dead = Dead(lines, [pair])
        early = chance.randint(0, len(lines) - 2)
        for line in lines[:early]:
            line.ask("POST", "/refresh", {"refresh_token": pair["refresh_token"]})
        lines[-1].ask("POST", "/logout", {}, token=pair["access_token"])
        for line in lines[early:-1]:
            line.ask("POST", "/refresh", {"refresh_token": pair["refresh_token"]})
        assert lines[-1].answer().status == 200
        for line in lines[:-1]:
            reply = line.answer()
            assert reply.status in {200, 401}, reply.body
            raced += reply.status == 200
            dead.note(reply)
        dead.must_be_dead()
    print(f"{raced} refreshes came first")


def test_racing_logouts_all_succeed(client: Client, lines: list[Line]) -> None:
    """Rows are locked in one order, so none deadlocks; who comes late finds nothing left to do, or no live token."""
    username = client.register()
    pairs = [client.log_in(username) for _ in range(6)]
    for line, pair in zip(lines, [*pairs, *pairs], strict=False):
        line.ask("POST", "/logout", {"scope": "all"}, token=pair["access_token"])
    assert {line.answer().status for line, _ in zip(lines, [*pairs, *pairs], strict=False)} <= {200, 401}
    dead = Dead(lines, pairs)
    dead.must_be_dead()


def test_logins_at_once_are_sessions_of_their_own(client: Client, lines: list[Line]) -> None:
    username = client.register()
    replies = ask_all(lines, "POST", "/login", {"username": username, "password": PASSWORD})
    assert {reply.status for reply in replies} == {200}
    listed = client.get("/me/sessions", token=replies[0].json["access_token"]).json["sessions"]
    opened = {unverified_claims(reply.json["access_token"])["sid"] for reply in replies}
    assert {session["id"] for session in listed} == opened
    assert len(opened) == len(lines)
