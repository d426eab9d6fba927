"""The admin API: on a port of its own, for who has the token, by the same rules as the command line."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import PROBLEM, Client, fresh_name
from tests.support.nodes import Node, free_ports
from tests.support.tables import rows, value
from tests.support.waiting import until
from tidegate.embedded.children import spawn

TOKEN = base64.b16encode(os.urandom(20)).decode()


@pytest.fixture(scope="module")
def port(shared_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    (port,) = free_ports(1)
    folder: Path = tmp_path_factory.mktemp("admin")
    settings = {
        "TIDEGATE_ADMIN_PORT": str(port),
        "TIDEGATE_ADMIN_TOKEN": TOKEN,
        "TIDEGATE_LOG_FILE": str(folder / "admin.log"),
        "TIDEGATE_THROTTLE_ADDRESS_FAILURES": "20",
    }
    with (folder / "admin.out").open("ab") as output:
        process = spawn(
            [sys.executable, "-m", "tidegate", "admin"],
            death_signal=signal.SIGTERM,
            output=output,
            environment={**shared_node.environment, **settings},
            working_folder=folder,
        )
    try:
        until(lambda: _answers(port), "the admin API never became ready")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert TOKEN not in (folder / "admin.log").read_text() + (folder / "admin.out").read_text()


def _answers(port: int) -> bool:
    try:
        with Client(port, timeout_s=5) as client:
            return client.get("/health/ready").status == 200
    except OSError:
        return False


@pytest.fixture
def admin(port: int) -> Iterator[Client]:
    with Client(port) as client:
        yield client


def terms(**other: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "code": fresh_name("spring").lower(),
        "name": "Spring",
        "opens_at": (now - timedelta(hours=1)).isoformat(),
        "closes_at": (now + timedelta(hours=1)).isoformat(),
        "cap": 2,
        "percent": 12.5,
        "coupon_days": 30,
    } | other


def make(admin: Client, **other: Any) -> str:
    reply = admin.send_json("/admin/campaigns", terms(**other), token=TOKEN)
    assert reply.status == 201, reply.body
    code: str = reply.json["code"]
    return code


def test_a_campaign_is_made_shown_listed_and_steered(admin: Client) -> None:
    code = make(admin)
    shown = admin.get(f"/admin/campaigns/{code}", token=TOKEN).json
    assert (shown["campaign"]["state"], shown["campaign"]["percent"], shown["campaign"]["free"]) == ("active", "12.50", 2)
    assert shown["counts"]["registered"] == 0
    listed = admin.get("/admin/campaigns", token=TOKEN).json["campaigns"]
    assert shown["campaign"] in listed
    for step, state in (("pause", "paused"), ("resume", "active"), ("end", "ended")):
        reply = admin.send_json(f"/admin/campaigns/{code}/{step}", {}, token=TOKEN)
        assert (reply.status, reply.json["state"]) == (200, state)
    refused = admin.send_json(f"/admin/campaigns/{code}/resume", {}, token=TOKEN)
    assert (refused.status, refused.reason) == (409, "state=ended")


def test_a_draft_admits_nobody_before_it_is_resumed(admin: Client) -> None:
    code = make(admin, draft=True)
    assert admin.get(f"/admin/campaigns/{code}", token=TOKEN).json["campaign"]["state"] == "draft"
    assert admin.send_json(f"/admin/campaigns/{code}/resume", {}, token=TOKEN).json["state"] == "active"


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"code": ""}, {"code: missing"}),
        ({"cap": "2"}, {"cap: not_a_whole_number"}),
        ({"cap": True}, {"cap: not_a_whole_number"}),
        ({"cap": 0, "percent": 101}, {"cap: out_of_range", "percent: out_of_range"}),
        ({"percent": "half"}, {"percent: no_number"}),
        ({"percent": None}, {"percent: missing"}),
        ({"opens_at": "tomorrow"}, {"opens_at: not_iso_8601"}),
        ({"opens_at": 5}, {"opens_at: not_a_string"}),
        ({"passes_on": "yes"}, {"passes_on: not_a_boolean"}),
        ({"draft": 1}, {"draft: not_a_boolean"}),
        ({"rank_by": "luck"}, {"rank_by: not_login_or_registration"}),
        ({"rank_by": []}, {"rank_by: not_login_or_registration"}),
        ({"rank_by": "registration"}, {"seat_hours: missing"}),
        ({"seat_hours": 2.5}, {"seat_hours: not_a_whole_number"}),
        ({"name": None, "closes_at": None}, {"name: missing", "closes_at: missing"}),
    ],
)
def test_whatever_is_wrong_with_a_campaign_is_told_with_its_field(
    admin: Client, change: dict[str, Any], reasons: set[str]
) -> None:
    reply = admin.send_json("/admin/campaigns", terms(**change), token=TOKEN, Accept=PROBLEM)
    assert reply.status == 400
    assert set(reply.json["detail"].split(", ")) == reasons


def test_a_code_is_taken_once_and_for_good(admin: Client) -> None:
    code = make(admin)
    again = admin.send_json("/admin/campaigns", terms(code=code), token=TOKEN)
    assert (again.status, again.reason) == (400, "code=taken")


def test_a_coupon_is_taken_back_and_its_seat_goes_to_the_next(admin: Client, client: Client, shared_node: Node) -> None:
    code = make(admin, cap=1, passes_on=True)
    ids = []
    for _ in range(2):
        name = client.register()
        (row,) = rows(
            shared_node.dsn,
            "INSERT INTO entrants (user_id, campaign_id) SELECT userid, campaign_id FROM users, campaigns"
            " WHERE username = $1 AND code = $2 RETURNING user_id::text",
            name,
            code,
        )
        ids.append(row[0])
        client.log_in(name)
    granted = "SELECT count(*) FROM grants WHERE user_id = $1::text::uuid AND state = 'granted'"
    until(lambda: value(shared_node.dsn, granted, ids[0]) == 1, "no coupon was granted")
    assert value(shared_node.dsn, granted, ids[1]) == 0
    path = f"/admin/campaigns/{code}/void"
    nameless = admin.send_json(path, {"userid": ids[0]}, token=TOKEN)
    assert (nameless.status, nameless.reason) == (400, "reason=missing")
    reply = admin.send_json(path, {"userid": ids[0], "reason": "a mistake"}, token=TOKEN)
    assert (reply.status, reply.json["state"]) == (200, "returned")
    until(lambda: value(shared_node.dsn, granted, ids[1]) == 1, "the seat did not go to the next")
    assert admin.send_json(path, {"userid": ids[0], "reason": "again"}, token=TOKEN).status == 409
    assert admin.send_json(path, {"userid": "x", "reason": "r"}, token=TOKEN).reason == "userid=no_uuid"
    audited = "SELECT count(*) FROM audit WHERE event = 'coupon_voided' AND user_id = $1::text::uuid"
    until(lambda: value(shared_node.dsn, audited, ids[0]) == 1, "the audit was never told")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/admin/campaigns"),
        ("GET", "/admin/campaigns"),
        ("GET", "/admin/campaigns/spring"),
        ("POST", "/admin/campaigns/spring/pause"),
        ("POST", "/admin/campaigns/spring/resume"),
        ("POST", "/admin/campaigns/spring/end"),
        ("POST", "/admin/campaigns/spring/void"),
    ],
)
def test_nothing_is_told_or_done_without_the_token(admin: Client, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN[:-1]}"}):
        reply = admin.send(method, path, headers=headers)
        assert reply.status in (401, 429)
        if reply.status == 401:
            assert reply.headers["www-authenticate"].startswith("Bearer")


def test_who_guesses_tokens_is_made_to_wait(admin: Client) -> None:
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    statuses = [admin.send("GET", "/admin/campaigns", headers=wrong).status for _ in range(25)]
    assert statuses[-1] == 429
    assert set(statuses) <= {401, 429}
    assert admin.get("/admin/campaigns", token=TOKEN).status == 200  # nobody can lock the operator out


def test_what_is_not_there_is_404_and_nothing_of_it_is_on_the_public_port(admin: Client, client: Client) -> None:
    assert client.get("/admin/campaigns", token=TOKEN).status == 404
    assert admin.send("POST", "/login").status == 404


def test_without_a_token_it_does_not_start(shared_node: Node) -> None:
    environment = {**shared_node.environment, "TIDEGATE_ADMIN_TOKEN": ""}
    words = [sys.executable, "-m", "tidegate", "admin"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "openssl rand" in done.stderr
