"""From a link to a used coupon on a running node with two processes and a worker, row by row (DESIGN 5.8)."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest

from tests.support.campaigns import make_campaign
from tests.support.client import PASSWORD, PROBLEM, Client, Reply, Somebody, fresh_name
from tests.support.contract import (
    INVALID_REQUEST,
    NOT_FOUND,
    SUCCESS,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    Says,
    body,
    refusal,
)
from tests.support.lines import Line, api_processes, open_lines
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.tables import change, rows, value
from tests.support.waiting import until
from tests.support.wires import Wire
from tidegate.domain.coupon_codes import make_coupon_code, read_coupon_code
from tidegate.embedded.postgres import EmbeddedPostgres

RACERS: Final = 20
ENDS: Final = {
    "expired": "UPDATE coupons SET expiration_date = (now() AT TIME ZONE 'utc')::date - 1 WHERE code = $1",
    "voided": "UPDATE grants SET state = 'voided', voided_at = now(), void_reason = 'a test' FROM coupons"
    " WHERE coupons.couponid = grants.couponid AND code = $1",
}
UNKNOWN = refusal(404, "coupon not found")
REDEEMED, RESERVED = refusal(409, "coupon redeemed"), refusal(409, "coupon reserved")
EXPIRED, VOIDED = refusal(410, "coupon expired"), refusal(410, "coupon voided")
OVER = refusal(409, "reservation over")
REUSED = refusal(422, "idempotency key reused")
MOMENT = r'"20\d\d-[0-9T:.-]+Z"'
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
KEPT = Says(status=200, body=body(f'<"reservation":"{UUID}","reserved_until":{MOMENT}>'))
CAMPAIGN = Says(
    status=200,
    body=body(
        f'<"code":"[a-z0-9-]+","name":"Spring","opens_at":{MOMENT},"closes_at":{MOMENT},"percent":"12.50",'
        r'"state":"(active|exhausted|paused|ended)","seats_left":\d+>'
    ),
    cache="public, max-age=2, stale-while-revalidate=10",
)


def a_campaign(node: Node, **columns: Any) -> str:
    """The code of a new campaign that is open, of 12.5 per cent."""

    async def make() -> str:
        connection = await asyncpg.connect(node.dsn)
        try:
            code = fresh_name("spring")
            await make_campaign(connection, code=code, **{"percent": 12.5} | columns)
            return code
        finally:
            await connection.close()

    return asyncio.run(make())


def coupons_of(client: Client, somebody: Somebody) -> Any:
    return client.get("/me/coupons", token=somebody.access_token).json


def logged_in(client: Client, *, campaign: str) -> Somebody:
    """Somebody who has registered through *campaign* and logged in for the first time."""
    name = client.register(campaign=campaign)
    pair = client.log_in(name)
    return Somebody(name, pair["access_token"], pair["refresh_token"])


def winner(client: Client, node: Node, **columns: Any) -> tuple[Somebody, str]:
    """Somebody with a coupon, and its code."""
    somebody = logged_in(client, campaign=a_campaign(node, **columns))
    until(lambda: coupons_of(client, somebody)["status"] == "granted", "no coupon was granted")
    return somebody, str(coupons_of(client, somebody)["coupons"][0]["code"])


def act(client: Client, somebody: Somebody, code: str, what: str = "redeem", **headers: str) -> Reply:
    """Redeem or reserve."""
    return client.form(f"/coupons/{code}/{what}", None, token=somebody.access_token, **headers)


def end(client: Client, somebody: Somebody, code: str, what: str, reservation: str, **headers: str) -> Reply:
    """Confirm or release."""
    return client.form(f"/coupons/{code}/{what}", {"reservation": reservation}, token=somebody.access_token, **headers)


def state(client: Client, somebody: Somebody) -> str:
    return str(coupons_of(client, somebody)["coupons"][0]["state"])


def test_from_the_link_to_the_coupon(client: Client, shared_node: Node) -> None:
    """The link may be typed by hand; /me tells what /me/coupons does."""
    code = a_campaign(shared_node, cap=1, coupon_days=30)
    first = logged_in(client, campaign=code.upper())
    until(lambda: coupons_of(client, first)["status"] == "granted", "no coupon was granted")
    late, stranger = logged_in(client, campaign=code), client.somebody()
    until(lambda: coupons_of(client, late)["status"] == "sold_out", "it is not sold out")
    told = coupons_of(client, first)
    (coupon,) = told["coupons"]
    assert read_coupon_code(coupon["code"]) == coupon["code"]
    last_day = value(shared_node.dsn, "SELECT ((now() AT TIME ZONE 'utc')::date + 30)::text")
    assert coupon == {
        "code": coupon["code"],
        "campaign": code,
        "discount": "12.50",
        "expiration_date": last_day,
        "state": "valid",
    }
    assert told == {"status": "granted", "campaign": code, "held_until": None, "coupons": [coupon]}
    assert coupons_of(client, late) == {"status": "sold_out", "campaign": code, "held_until": None, "coupons": []}
    assert coupons_of(client, stranger) == {"status": "none", "campaign": None, "held_until": None, "coupons": []}
    until(lambda: client.get("/me", token=first.access_token).json["coupons"] == [coupon], "/me does not tell")


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_a_link_that_is_no_good_registers_and_one_that_cannot_be_is_400(path: str, client: Client) -> None:
    for campaign in ("unknown-of-all", None, ""):
        told = client.send_json(path, {"username": fresh_name(), "password": PASSWORD, "campaign": campaign})
        SUCCESS.check(told)
    for wrong, reason in (("-", "invalid_characters"), ("a" * 65, "too_long"), (7, "not_a_string")):
        told = client.send_json(path, {"username": fresh_name(), "password": PASSWORD, "campaign": wrong})
        INVALID_REQUEST.check(told, reason=f"campaign={reason}")


def test_the_campaign_is_part_of_a_request_with_a_key(client: Client, shared_node: Node) -> None:
    code, name, key = a_campaign(shared_node), fresh_name(), str(uuid4())
    members = {"username": name, "password": PASSWORD, "campaign": code}
    for _ in range(2):
        SUCCESS.check(client.send_json("/register", members, idempotency_key=key))
    for other in ({**members, "campaign": "another"}, {"username": name, "password": PASSWORD}):
        REUSED.check(client.send_json("/register", other, idempotency_key=key))
    entered = "SELECT count(*) FROM entrants JOIN users ON userid = user_id WHERE username = $1"
    assert value(shared_node.dsn, entered, name) == 1


def test_a_seat_that_is_held_is_told_until_when(client: Client, shared_node: Node) -> None:
    code = a_campaign(shared_node, rank_by="registration", seat_hours=2)
    name = client.register(campaign=code)
    held = "SELECT count(*) FROM grants JOIN users ON userid = user_id WHERE username = $1 AND state = 'held'"
    until(lambda: value(shared_node.dsn, held, name) == 1, "no seat is held")
    # The worker grants as soon as it hears of the login; so it stands still for this one.
    with paused(shared_node, code):
        pair = client.log_in(name)
        somebody = Somebody(name, pair["access_token"], pair["refresh_token"])
        told = coupons_of(client, somebody)
        assert (told["status"], told["campaign"], told["coupons"]) == ("pending", code, [])
        assert re.fullmatch(MOMENT, f'"{told["held_until"]}"')
    until(lambda: coupons_of(client, somebody)["status"] == "granted", "no coupon was granted")
    assert coupons_of(client, somebody)["held_until"] is None


@contextmanager
def paused(node: Node, code: str) -> Iterator[None]:
    """Nobody is served in a campaign meanwhile."""
    statement = "UPDATE campaigns SET state = $2 WHERE code = $1"
    change(node.dsn, statement, code, "paused")
    try:
        yield
    finally:
        change(node.dsn, statement, code, "active")


def test_a_coupon_is_redeemed_once_and_everybody_is_told(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    SUCCESS.check(act(client, somebody, code))
    REDEEMED.check(act(client, somebody, code), reason="coupon=redeemed")
    assert state(client, somebody) == "redeemed"
    with open_lines(shared_node) as lines:
        assert {shown_in_profile(line, somebody) for line in lines} == {"redeemed"}
    told = "SELECT count(*) FROM audit JOIN users ON userid = user_id WHERE event = 'coupon_redeemed' AND username = $1"
    until(lambda: value(shared_node.dsn, told, somebody.username) == 1, "the audit is not told")


def shown_in_profile(line: Line, somebody: Somebody) -> str:
    return str(line.get("/me", token=somebody.access_token).json["coupons"][0]["state"])


def test_every_process_shows_what_one_has_done_at_once(client: Client, shared_node: Node) -> None:
    """Though each remembers the profile from before."""
    somebody, code = winner(client, shared_node)
    with open_lines(shared_node) as lines:
        assert len(lines) == len(api_processes(shared_node)) == 2
        for turn in range(10):
            until(lambda: {shown_in_profile(line, somebody) for line in lines} == {"valid"}, "not valid")
            kept = lines[turn % 2].form(f"/coupons/{code}/reserve", {}, token=somebody.access_token).json
            assert [shown_in_profile(line, somebody) for line in lines] == ["reserved"] * 2
            freed = lines[turn % 2].form(
                f"/coupons/{code}/release", {"reservation": kept["reservation"]}, token=somebody.access_token
            )
            assert freed.status == 200
            assert [shown_in_profile(line, somebody) for line in lines] == ["valid"] * 2


@pytest.mark.parametrize("what", ["redeem", "reserve", "confirm", "release"])
def test_whose_coupon_it_is_not_learns_nothing(what: str, client: Client, shared_node: Node) -> None:
    """Unknown, malformed and somebody else's are one answer, in both forms."""
    somebody, code = winner(client, shared_node)
    other = client.somebody()
    for typed in (code, make_coupon_code(bytes(10)), "nonsense", "%00", "%F0%9F%8E%AB", code[:-1]):
        told = end(client, other, typed, what, str(uuid4()))
        UNKNOWN.check(told)
        problem = end(client, other, typed, what, str(uuid4()), accept=PROBLEM)
        assert (problem.status, problem.json["type"]) == (404, "/docs#coupon-not-found")
        assert "errors" not in problem.json
    TOKEN_MISSING.check(client.form(f"/coupons/{code}/{what}", {"reservation": str(uuid4())}))
    TOKEN_REFUSED.check(client.form(f"/coupons/{code}/{what}", {"reservation": str(uuid4())}, token="nonsense"))
    assert state(client, somebody) == "valid"


def test_a_payment_in_between(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    kept = act(client, somebody, code, "reserve")
    KEPT.check(kept)
    reservation = kept.json["reservation"]
    for what in ("redeem", "reserve"):
        RESERVED.check(act(client, somebody, code, what), reason="coupon=reserved")
    for what in ("confirm", "release"):
        OVER.check(end(client, somebody, code, what, str(uuid4())), reason="reservation=over")
        INVALID_REQUEST.check(end(client, somebody, code, what, "7"), reason="reservation=malformed")
        INVALID_REQUEST.check(end(client, somebody, code, what, ""), reason="reservation=missing")
    SUCCESS.check(end(client, somebody, code, "release", reservation))
    OVER.check(end(client, somebody, code, "confirm", reservation), reason="reservation=over")
    again = act(client, somebody, code, "reserve").json["reservation"]
    SUCCESS.check(end(client, somebody, code, "confirm", again))
    REDEEMED.check(end(client, somebody, code, "confirm", again), reason="coupon=redeemed")
    assert state(client, somebody) == "redeemed"


def test_a_reservation_lives_for_the_time_of_the_settings(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    act(client, somebody, code, "reserve")
    lives = (
        "SELECT reserved_until - now() BETWEEN interval '14 min' AND interval '15 min'"
        " FROM grants JOIN coupons USING (couponid) WHERE code = $1"
    )
    assert value(shared_node.dsn, lives, code) is True


@pytest.mark.parametrize("since", ["nobody", "redeem", "reserve"])
def test_a_payment_that_comes_too_late_is_taken_if_nobody_came_since(since: str, client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    late = act(client, somebody, code, "reserve").json["reservation"]
    over = (
        "UPDATE grants SET reserved_until = now() - interval '1 s' FROM coupons"
        " WHERE coupons.couponid = grants.couponid AND code = $1"
    )
    assert change(shared_node.dsn, over, code) == 1
    assert state(client, somebody) == "valid"
    if since == "nobody":
        SUCCESS.check(end(client, somebody, code, "confirm", late))
        assert state(client, somebody) == "redeemed"
        return
    assert act(client, somebody, code, since).status == 200
    told = end(client, somebody, code, "confirm", late)
    if since == "redeem":
        REDEEMED.check(told, reason="coupon=redeemed")
    else:
        OVER.check(told, reason="reservation=over")
        assert state(client, somebody) == "reserved"


@pytest.mark.parametrize(("says", "reason"), [(EXPIRED, "expired"), (VOIDED, "voided")], ids=["expired", "voided"])
def test_what_is_good_no_more_says_why(says: Says, reason: str, client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    assert change(shared_node.dsn, ENDS[reason], code) == 1
    for what in ("redeem", "reserve"):
        says.check(act(client, somebody, code, what), reason=f"coupon={reason}")
        problem = act(client, somebody, code, what, accept=PROBLEM).json
        assert (problem["type"], problem["status"]) == (f"/docs#coupon-{reason}", says.status)
        assert problem["errors"] == [{"field": "coupon", "reason": reason}]
    assert state(client, somebody) == reason
    until(lambda: client.get("/me", token=somebody.access_token).json["coupons"][0]["state"] == reason, "/me does not tell")


def test_what_somebody_writes_into_users_discount_decides_nothing(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    thief = client.somebody()
    tampered = "UPDATE users SET discount = CASE WHEN username = $1 THEN NULL ELSE ARRAY(SELECT couponid FROM coupons) END"
    change(shared_node.dsn, tampered + " WHERE username = ANY(ARRAY[$1, $2])", somebody.username, thief.username)
    assert coupons_of(client, thief)["status"] == "none"
    assert coupons_of(client, thief)["coupons"] == client.get("/me", token=thief.access_token).json["coupons"] == []
    UNKNOWN.check(act(client, thief, code))
    assert state(client, somebody) == "valid"
    SUCCESS.check(act(client, somebody, code))


def test_sent_again_under_its_key_it_is_success_again_and_other_requests_are_422(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    key = str(uuid4())
    for typed in (code, code.lower(), f"{code[:4]}-{code[4:]}"):
        SUCCESS.check(act(client, somebody, typed, idempotency_key=key))
    REUSED.check(act(client, somebody, make_coupon_code(bytes(10)), idempotency_key=key))
    REDEEMED.check(act(client, somebody, code), reason="coupon=redeemed")
    INVALID_REQUEST.check(act(client, somebody, code, idempotency_key="short"), reason="idempotency-key=too_short")


def test_a_reservation_and_its_end_may_be_sent_again_too(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    key = str(uuid4())
    first, again = (act(client, somebody, code, "reserve", idempotency_key=key) for _ in range(2))
    KEPT.check(again)
    assert again.body == first.body
    for _ in range(2):
        SUCCESS.check(end(client, somebody, code, "confirm", first.json["reservation"], idempotency_key=key))
    REUSED.check(end(client, somebody, code, "confirm", str(uuid4()), idempotency_key=key))


def all_at_once(node: Node, ask: Callable[[Client], Reply]) -> list[Reply]:
    """What `RACERS` hear who ask at the same moment, each on a connection of their own."""
    ready = Barrier(RACERS)

    def ask_with_the_others(_number: int) -> Reply:
        with node.client() as client:
            assert client.get("/health/live").status == 200
            ready.wait(60)
            return ask(client)

    with ThreadPoolExecutor(RACERS) as threads:
        return list(threads.map(ask_with_the_others, range(RACERS)))


def times_told(node: Node, somebody: Somebody) -> int:
    """How often the audit is, or will be, told that *somebody* has redeemed."""
    statement = (
        "SELECT count(*) FROM (SELECT user_id FROM audit WHERE event = 'coupon_redeemed'"
        " UNION ALL SELECT user_id FROM jobs WHERE kind = 'coupon_redeemed') AS told JOIN users ON userid = user_id"
        " WHERE username = $1"
    )
    return int(value(node.dsn, statement, somebody.username))


def test_of_twenty_redeems_at_once_over_two_processes_one_wins(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    replies = all_at_once(shared_node, lambda racer: act(racer, somebody, code))
    assert sorted(reply.status for reply in replies) == [200] + [409] * (RACERS - 1)
    assert times_told(shared_node, somebody) == 1


def test_of_twenty_redeems_at_once_under_one_key_all_hear_of_the_one(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    key = str(uuid4())
    replies = all_at_once(shared_node, lambda racer: act(racer, somebody, code, idempotency_key=key))
    assert {(reply.status, reply.body) for reply in replies} == {(200, SUCCESS.body)}
    assert times_told(shared_node, somebody) == 1


def test_of_reservations_and_redeems_at_once_one_wins(client: Client, shared_node: Node) -> None:
    somebody, code = winner(client, shared_node)
    whats = iter(["redeem", "reserve"] * RACERS)
    replies = all_at_once(shared_node, lambda racer: act(racer, somebody, code, next(whats)))
    assert sorted(reply.status for reply in replies) == [200] + [409] * (RACERS - 1)
    assert times_told(shared_node, somebody) == (state(client, somebody) == "redeemed")


def test_who_hangs_up_in_the_middle_and_asks_again_has_redeemed_once(client: Client, shared_node: Node) -> None:
    """The row is held by somebody else meanwhile, so the request is cut off while its statement waits."""
    somebody, code = winner(client, shared_node)
    key = str(uuid4())
    head = (
        f"POST /coupons/{code.replace('$', '%24')}/redeem HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer"
        f" {somebody.access_token}\r\nIdempotency-Key: {key}\r\n\r\n"
    ).encode()

    async def redeem_and_vanish() -> None:
        holder = await asyncpg.connect(shared_node.dsn)
        try:
            transaction = holder.transaction()
            await transaction.start()
            held = "SELECT FROM grants JOIN coupons USING (couponid) WHERE code = $1 FOR UPDATE OF grants"
            await holder.execute(held, code)
            wire = await Wire.to(shared_node.port)
            wire.writer.write(head)
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%redeemed AS%'"
            await asyncio.to_thread(until, lambda: bool(value(shared_node.dsn, waits)), "nobody waits")
            wire.reset()
            await transaction.rollback()
        finally:
            await holder.close()

    asyncio.run(redeem_and_vanish())
    SUCCESS.check(act(client, somebody, code, idempotency_key=key))
    assert times_told(shared_node, somebody) == 1
    REDEEMED.check(act(client, somebody, code), reason="coupon=redeemed")


def test_a_campaign_is_shown_to_anybody_and_a_draft_to_nobody(client: Client, shared_node: Node) -> None:
    code = a_campaign(shared_node, cap=3)
    draft = a_campaign(shared_node, state="draft")
    until(lambda: client.get(f"/campaigns/{code}").status == 200, "it is never shown")
    reply = client.get(f"/campaigns/{code.upper()}")
    CAMPAIGN.check(reply)
    assert (reply.json["code"], reply.json["seats_left"], reply.json["state"]) == (code, 3, "active")
    # What is remembered is older than the draft no more: the other, which was made before it, is shown.
    for unknown in (draft, "unknown", "-", "%00"):
        refusal(404, "campaign not found").check(client.get(f"/campaigns/{unknown}"))
    NOT_FOUND.check(client.get("/campaigns/"))
    winner_of = logged_in(client, campaign=code)
    until(lambda: coupons_of(client, winner_of)["status"] == "granted", "no coupon was granted")
    until(lambda: client.get(f"/campaigns/{code}").json["seats_left"] == 2, "the seat is never seen to be gone")
    tag = client.get(f"/campaigns/{code}").headers["etag"]
    assert client.get(f"/campaigns/{code}", if_none_match=tag).status == 304


GUESSES: Final = 4


@pytest.fixture(scope="module")
def throttling_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(
        postgres,
        has_worker=True,
        API_PROCESSES="1",
        THROTTLE_USER_COUPONS=str(GUESSES),
        THROTTLE_ADDRESS_COUPONS=str(3 * GUESSES),
        COUPON_RESERVATION_S="1",
    ) as node:
        yield node


def test_who_guesses_codes_has_to_wait_and_nobody_else_does(throttling_node: Node) -> None:
    with throttling_node.client() as client:
        somebody, code = winner(client, throttling_node)
        for guesser in (client.somebody() for _ in range(3)):
            replies = [act(client, guesser, code) for _ in range(GUESSES + 1)]
            assert [reply.status for reply in replies] == [404] * GUESSES + [429]
            assert json.loads(replies[-1].body) == {"code": "429", "message": "too many attempts"}
            assert int(replies[-1].headers["retry-after"]) > 0
        assert act(client, client.somebody(), code).status == 429  # the address has had its share
        SUCCESS.check(act(client, somebody, code))


def test_a_reservation_frees_itself(throttling_node: Node) -> None:
    with throttling_node.client() as client:
        somebody, code = winner(client, throttling_node)
        KEPT.check(act(client, somebody, code, "reserve"))
        until(lambda: state(client, somebody) == "valid", "it is kept for ever")
        SUCCESS.check(act(client, somebody, code))
        assert [row["state"] for row in rows(throttling_node.dsn, "SELECT state FROM grants")] == ["granted"] * 2
