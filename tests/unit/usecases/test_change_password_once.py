"""A change of password with a key happens once, and its tokens can be had again by who lost the answer."""

from asyncio import run
from uuid import UUID

import pytest

from tests.unit.usecases.world import LIMITS, PASSWORD, PHONE, World
from tidegate.domain.claims import TokenPair
from tidegate.domain.errors import (
    HashPoolSaturated,
    IdempotencyKeyReused,
    InvalidAccessToken,
    InvalidRequest,
    TooManyAttempts,
    WrongPassword,
)
from tidegate.domain.idempotency import KEPT_S, Operation
from tidegate.domain.throttling import CounterKind

NEW_PASSWORD = "battery staple"
KEY = "a key of the client's"


@pytest.fixture
def world() -> World:
    world = World()
    world.add_user()
    return world


def change(world: World, pair: TokenPair, *, current: str = PASSWORD, new: str = NEW_PASSWORD, key: str = KEY) -> TokenPair:
    """Change the password of whoever holds *pair*."""
    return run(world.change_password_once(world.claims(pair), key, current=current, new=new, origin=PHONE))


def session_of(world: World, pair: TokenPair) -> UUID:
    return world.claims(pair).session_id


def test_sent_again_with_the_token_that_it_ended_it_gives_the_same_session(world: World) -> None:
    """The refresh token is the same string, the access token is a new one; nothing is hashed."""
    pair = world.logged_in().tokens
    first = change(world, pair)
    hashed, compared = len(world.passwords.hashed), world.passwords.compared
    again = change(world, pair)
    assert again.refresh_token == first.refresh_token
    assert session_of(world, again) == session_of(world, first) != session_of(world, pair)
    assert world.is_live(again)
    assert (len(world.passwords.hashed), world.passwords.compared) == (hashed, compared)
    assert not world.is_live(pair)


@pytest.mark.parametrize("other", [{"new": "another staple"}, {"current": NEW_PASSWORD}])
def test_other_passwords_under_the_key_are_refused(world: World, other: dict[str, str]) -> None:
    pair = world.logged_in().tokens
    change(world, pair)
    with pytest.raises(IdempotencyKeyReused):
        change(world, pair, **other)
    assert world.is_live(world.logged_in(password=NEW_PASSWORD).tokens)


def test_with_another_key_the_token_that_was_ended_changes_nothing(world: World) -> None:
    pair = world.logged_in().tokens
    change(world, pair)
    with pytest.raises(InvalidAccessToken):
        change(world, pair, key="another key of theirs")
    with pytest.raises(InvalidAccessToken):
        change(world, pair, key="another key of theirs", current=NEW_PASSWORD, new=PASSWORD)
    assert world.is_live(world.logged_in(password=NEW_PASSWORD).tokens)


def test_a_key_is_of_one_session(world: World) -> None:
    """Whoever else has it, with whatever token, hears nothing of it."""
    other, pair = world.logged_in().tokens, world.logged_in().tokens
    first = change(world, pair)
    with pytest.raises(InvalidAccessToken):
        change(world, other)
    world.add_user("bob")
    assert session_of(world, change(world, world.logged_in("bob").tokens)) != session_of(world, first)


def test_no_tokens_of_a_session_that_has_been_ended_since(world: World) -> None:
    pair = world.logged_in().tokens
    first = change(world, pair)
    run(world.sessions.revoke(session_of(world, first)))
    with pytest.raises(InvalidAccessToken):
        change(world, pair)


def test_a_wrong_password_is_not_kept(world: World) -> None:
    pair = world.logged_in().tokens
    with pytest.raises(WrongPassword):
        change(world, pair, current="another")
    assert world.keys.count == 0
    change(world, pair)


def test_faults_and_a_full_pool_are_not_kept(world: World) -> None:
    pair = world.logged_in().tokens
    with pytest.raises(InvalidRequest):
        change(world, pair, new="short")
    world.passwords.is_saturated = True
    with pytest.raises(HashPoolSaturated):
        change(world, pair)
    world.passwords.is_saturated = False
    assert world.is_live(change(world, pair))


def test_after_a_day_the_key_is_free(world: World) -> None:
    pair = world.logged_in().tokens
    change(world, pair)
    world.keys.let_pass(KEPT_S)
    with pytest.raises(InvalidAccessToken):
        change(world, pair)


def test_who_guesses_the_passwords_of_a_key_is_throttled(world: World) -> None:
    """A stolen access token, and a key, must not become a way to try passwords."""
    pair = world.logged_in().tokens
    change(world, pair)
    for number in range(LIMITS[CounterKind.DEVICE].at_most):
        with pytest.raises(IdempotencyKeyReused):
            change(world, pair, new=f"a guess, number {number}")
    looked = world.keys.looked
    with pytest.raises(TooManyAttempts):
        change(world, pair)
    assert world.keys.looked == looked


@pytest.mark.parametrize("moment", ["is_revoked", "credentials", "hash"])
def test_whom_the_same_request_overtakes_on_another_node_hears_the_same(
    world: World, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it does. Else it would hear 401, 403 or 503 of a change that is its own."""
    pair = world.logged_in().tokens
    made: list[UUID] = []
    overtaken = {"is_revoked": world.revocations, "credentials": world.users, "hash": world.passwords}[moment]
    go_on = getattr(overtaken, moment)

    async def after_the_other(*args: object, **named: object) -> object:
        monkeypatch.undo()
        made.append(await change_elsewhere(world, pair))
        return await go_on(*args, **named)

    monkeypatch.setattr(overtaken, moment, after_the_other)
    assert [session_of(world, change(world, pair))] == made
    assert world.passwords.hashed.count(NEW_PASSWORD) == (2 if moment == "hash" else 1)


async def change_elsewhere(world: World, pair: TokenPair) -> UUID:
    """What another node does with the same request; the session that it begins."""
    claims = world.claims(pair)
    caller = claims.user_id.bytes + claims.session_id.bytes
    request = world.change_password_once.keying(
        Operation.CHANGE_PASSWORD, KEY, caller=caller, fields=[PASSWORD, NEW_PASSWORD]
    )
    return await world.change_password.change(claims, current=PASSWORD, new=NEW_PASSWORD, origin=PHONE, once=request)
