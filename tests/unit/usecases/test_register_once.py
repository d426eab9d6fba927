"""A registration with a key makes one user, and says so each time it is sent."""

import asyncio
from asyncio import run
from dataclasses import replace
from uuid import UUID

import pytest

from tests.fakes.passwords import InstantPasswords
from tests.unit.usecases.world import LIMITS, PASSWORD, World, new_user
from tidegate.domain.errors import (
    HashPoolSaturated,
    IdempotencyKeyReused,
    IdempotencyKeyTaken,
    IdentifierTaken,
    InvalidRequest,
    TooManyAttempts,
)
from tidegate.domain.idempotency import KEPT_S, KeyedRequest, Operation
from tidegate.domain.lanes import Lane
from tidegate.domain.throttling import CounterKind
from tidegate.domain.users import LoginIdentifier, StoredCredentials
from tidegate.usecases.register import Registration

KEY = "a key of the client's"
ADDRESS = "192.0.2.7"
ADA = Registration(username="ada", password=PASSWORD)


def register(world: World, typed: Registration = ADA, key: str = KEY, *, address: str | None = None) -> UUID:
    return run(world.register_once(typed, key, address=address))


def keyed(world: World, typed: Registration = ADA) -> KeyedRequest:
    """What is kept of *typed*."""
    fields = [typed.username, typed.email, typed.phone_number, typed.password, typed.full_name, typed.birthdate]
    return world.register_once.keying(Operation.REGISTER, KEY, fields=fields)


def test_sent_again_it_is_the_same_user_and_no_further_hash() -> None:
    """A lost answer to a success, asked for again, is success: not 400 for the caller's own name."""
    world = World()
    user_id = register(world)
    assert [register(world) for _ in range(3)] == [user_id] * 3
    assert world.passwords.hashed == [PASSWORD]
    assert world.logged_in("ada").user_id == user_id


@pytest.mark.parametrize(
    "other",
    [
        Registration(username="ada", password="another horse"),
        Registration(username="bob", password=PASSWORD),
        Registration(username="ada", email="ada@example.org", password=PASSWORD),
        Registration(username="ada", phone_number="+4930123456", password=PASSWORD),
        Registration(username="ada", password=PASSWORD, full_name="Ada"),
        Registration(username="ada", password=PASSWORD, birthdate="2000-01-01"),
    ],
    ids=lambda typed: "+".join(name for name in typed.__slots__ if getattr(typed, name)),
)
def test_another_field_under_the_key_is_refused_and_makes_nobody(other: Registration) -> None:
    world = World()
    register(world)
    with pytest.raises(IdempotencyKeyReused):
        register(world, other)
    assert world.passwords.hashed == [PASSWORD]


def test_without_its_key_it_is_a_name_that_is_taken() -> None:
    world = World()
    register(world)
    with pytest.raises(IdentifierTaken):
        register(world, key="another key of theirs")
    with pytest.raises(IdentifierTaken):
        run(world.register(ADA))


def test_a_refusal_is_not_kept() -> None:
    """Whoever corrects a field may go on with the same key; nothing happened under it."""
    world = World()
    world.add_user("ada")
    with pytest.raises(IdentifierTaken):
        register(world)
    with pytest.raises(InvalidRequest):
        register(world, Registration(username="ada", password="short"))
    register(world, Registration(username="bob", password=PASSWORD))


def test_that_there_is_no_place_is_not_kept() -> None:
    world = World(InstantPasswords(is_saturated=True))
    with pytest.raises(HashPoolSaturated):
        register(world)
    assert world.keys.looked == 0
    world.passwords.is_saturated = False
    register(world)


def test_after_a_day_the_key_is_free() -> None:
    world = World()
    register(world)
    world.keys.let_pass(KEPT_S)
    with pytest.raises(IdentifierTaken):
        register(world)
    register(world, Registration(username="bob", password=PASSWORD))


def test_repetitions_count_as_registrations_do() -> None:
    """Else a key whose first request somebody knows in part would let them guess the password, without a limit."""
    world = World()
    register(world, address=ADDRESS)
    for number in range(LIMITS[CounterKind.REGISTRATION].at_most - 1):
        with pytest.raises(IdempotencyKeyReused):
            register(world, Registration(username="ada", password=f"a guess, number {number}"), address=ADDRESS)
    looked = world.keys.looked
    with pytest.raises(TooManyAttempts):
        register(world, address=ADDRESS)
    assert world.keys.looked == looked


def test_retries_that_overtake_their_first_wait_for_it_and_cost_no_hash() -> None:
    class SlowPasswords(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await asyncio.sleep(0)  # lets all the others go on as far as they can
            return await super().hash(password, lane=lane)

    world = World(SlowPasswords())

    async def at_once() -> list[UUID]:
        return await asyncio.gather(*(world.register_once(ADA, KEY) for _ in range(64)))

    assert len(set(run(at_once()))) == 1
    assert world.passwords.hashed == [PASSWORD]
    assert world.act_once.turns.count == 0


def test_when_the_first_of_them_fails_the_next_does_it() -> None:
    class OnceSaturated(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await asyncio.sleep(0)
            if not self.hashed:
                self.hashed.append("none")
                raise HashPoolSaturated
            return await super().hash(password, lane=lane)

    world = World(OnceSaturated())

    async def at_once() -> list[UUID | BaseException]:
        return await asyncio.gather(*(world.register_once(ADA, KEY) for _ in range(3)), return_exceptions=True)

    first, *others = run(at_once())
    assert isinstance(first, HashPoolSaturated)
    assert others == [world.logged_in("ada").user_id] * 2


def test_whose_name_was_taken_by_the_same_request_elsewhere_hears_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node commits it after we looked for the key and before we looked for the name."""
    world = World()
    theirs = new_user(UUID(int=77), "ada", InstantPasswords.current(PASSWORD))
    find = world.users.find

    async def find_late(identifier: LoginIdentifier) -> StoredCredentials | None:
        monkeypatch.undo()
        await world.users.add(theirs, once=keyed(world))
        return await find(identifier)

    monkeypatch.setattr(world.users, "find", find_late)
    assert register(world) == theirs.user_id
    assert world.passwords.hashed == []


def test_whose_key_was_taken_by_the_same_request_elsewhere_hears_success() -> None:
    """Another node commits it while we hash."""

    class Overtaken(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await world.users.add(theirs, once=keyed(world))
            return await super().hash(password, lane=lane)

    world = World(Overtaken())
    theirs = new_user(UUID(int=77), "ada", InstantPasswords.current(PASSWORD))
    assert register(world) == theirs.user_id


def test_whose_key_was_taken_by_another_request_elsewhere_is_refused() -> None:
    class Overtaken(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await world.users.add(theirs, once=keyed(world, Registration(username="bob", password=PASSWORD)))
            return await super().hash(password, lane=lane)

    world = World(Overtaken())
    theirs = new_user(UUID(int=77), "bob", InstantPasswords.current(PASSWORD))
    with pytest.raises(IdempotencyKeyReused):
        register(world)


def test_a_key_that_was_taken_and_is_gone_again_is_for_later() -> None:
    """It expired in between. Nobody may hear success of it, and 503 is worth another try."""

    class Overtaken(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await world.users.add(new_user(UUID(int=77), "bob", "stored"), once=keyed(world))
            return await super().hash(password, lane=lane)

    world = World(Overtaken())
    world.keys.before_look = lambda looked: world.keys.let_pass(KEPT_S if looked == 2 else 0)
    with pytest.raises(IdempotencyKeyTaken):
        register(world)


def test_the_campaign_is_part_of_the_request() -> None:
    """And of one without a campaign the same is kept as before there were any: see `keyed`."""
    world = World()
    through = replace(ADA, campaign="spring")
    user_id = register(world, through)
    assert register(world, through) == user_id
    for other in (ADA, replace(ADA, campaign="summer")):
        with pytest.raises(IdempotencyKeyReused):
            register(world, other)
    assert [user.campaign for user in world.users.added] == ["spring"]
    before = World()
    assert run(before.keys.made_by(keyed(before))) is None
    assert register(before) == run(before.keys.made_by(keyed(before)))
