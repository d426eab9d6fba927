"""A node whose clock is an hour wrong issues and accepts the tokens that all others do (ADR 0030)."""

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from tests.faults.parts import CLOCK_OFF
from tests.support.client import Client, unverified_claims
from tests.support.measures import log_lines, measure
from tests.support.nodes import Node, running_node
from tests.support.own_nodes import own_node
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.tokens.clock import OFF_S_MAX
from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.keys import KeyRing

HOUR_S: Final = 3600
TTL_S: Final = 300
PROCESSES: Final = 2
SETTINGS: Final[dict[str, Any]] = {
    "API_PROCESSES": str(PROCESSES),
    "ACCESS_TOKEN_TTL_S": str(TTL_S),
    "DEVICE_TOKEN_TTL_S": str(HOUR_S),
}


@dataclass(frozen=True)
class Pair:
    """Two nodes over one database.

    Attributes:
        right: Has the primary's clock.
        wrong: Has not.
        off_s: By how much it is ahead.
    """

    right: Node
    wrong: Node
    off_s: int


@contextlib.contextmanager
def wrong_clock(off_s: int) -> Iterator[None]:
    """What is started in this block has a clock that is ahead by *off_s*."""
    paths = [str(CLOCK_OFF), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("CLOCK_OFF_S", str(off_s))
        yield


@pytest.fixture(scope="module")
def right(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(postgres, **SETTINGS) as node:
        yield node


@pytest.fixture(scope="module", params=[HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def pair(request: pytest.FixtureRequest, right: Node) -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    shared = {
        "REFRESH_MAC_KEY": right.environment["TIDEGATE_REFRESH_MAC_KEY"],
        "SIGNING_KEYS_FILE": str(right.keys_file),
        "ISSUER": f"http://127.0.0.1:{right.port}",
    }
    with contextlib.ExitStack() as opened:
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        with wrong_clock(request.param):
            wrong = opened.enter_context(running_node(right.dsn, folder, **SETTINGS, **shared))
        yield Pair(right, wrong, request.param)


def is_accepted(node: Node, access_token: str) -> set[int]:
    """What the processes of *node* say to *access_token*: the kernel gives each connection to some of them."""
    statuses = set()
    for _ in range(8):
        with node.client() as client:
            statuses.add(client.get("/me", token=access_token).status)
    return statuses


def logged_in(node: Node) -> str:
    with node.client() as client:
        return client.somebody().access_token


def issued_at(pair: Pair, claims: dict[str, Any], moment: float) -> str:
    """A token with *claims*, of the installation's own key, that was issued at *moment*."""
    issuer = AccessTokenIssuer(
        keys=KeyRing(pair.right.keys_file, now=lambda: moment),
        issuer=claims["iss"],
        audience=claims["aud"],
        client_id=claims["client_id"],
        ttl_s=TTL_S,
        ttl_jitter_s=0,
        now=lambda: moment,
        random=random.random,
    )
    return issuer.issue(UUID(claims["sub"]), UUID(claims["sid"]))


def test_a_token_of_either_node_is_accepted_by_both(pair: Pair) -> None:
    for issuing in (pair.right, pair.wrong):
        token = logged_in(issuing)
        assert is_accepted(pair.right, token) == is_accepted(pair.wrong, token) == {200}


def test_a_token_of_the_wrong_node_lives_as_long_as_others(pair: Pair) -> None:
    began_at = time.time()
    claims = unverified_claims(logged_in(pair.wrong))
    ended_at = time.time()
    assert began_at - OFF_S_MAX - 1 <= claims["iat"] <= ended_at + OFF_S_MAX
    assert 0.9 * TTL_S <= claims["exp"] - claims["iat"] <= TTL_S


def test_the_wrong_node_refuses_what_has_expired_and_what_is_of_the_future(pair: Pair) -> None:
    claims = unverified_claims(logged_in(pair.right))
    now = time.time()
    expected = {now - TTL_S - 10: 401, now - TTL_S + 60: 200, now: 200, now + 60: 401}
    for moment, status in expected.items():
        token = issued_at(pair, claims, moment)
        assert is_accepted(pair.right, token) == is_accepted(pair.wrong, token) == {status}, moment - now


def test_who_logs_in_from_a_known_device_is_known_to_both_nodes(pair: Pair) -> None:
    """The wrong node renews no device token before its time, and takes none for expired."""

    def cookie(client: Client, username: str, known: str = "") -> str:
        fields = {"username": username, "password": "correct horse battery"}
        reply = client.form("/login", fields, **({"cookie": known} if known else {}))
        assert reply.status == 200
        return reply.headers.get("set-cookie", "").partition(";")[0]

    with pair.right.client() as right, pair.wrong.client() as wrong:
        username = right.register()
        for issuing, other in ((right, wrong), (wrong, right)):
            given = cookie(issuing, username)
            assert given
            assert cookie(other, username, known=given) == ""


def test_the_log_and_the_metric_tell_whose_clock_is_wrong(pair: Pair) -> None:
    assert abs(measure(pair.wrong, "tidegate_clock_off_seconds") - HOUR_S) < OFF_S_MAX
    assert measure(pair.right, "tidegate_clock_off_seconds") < OFF_S_MAX
    side = "ahead of" if pair.off_s > 0 else "behind"
    told = {
        node.port: [line for line in log_lines(node.log_file) if line.get("source") == "clock"]
        for node in (pair.right, pair.wrong)
    }
    assert told[pair.right.port] == []
    assert [line["level"] for line in told[pair.wrong.port]] == ["warning"] * PROCESSES
    assert all(f"s {side} the primary's" in line["event"] for line in told[pair.wrong.port])
