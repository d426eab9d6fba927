"""A registration either stores a user who can log in, or tells every field at fault and does nothing."""

from asyncio import run
from datetime import date
from uuid import uuid4

import pytest

from tests.fakes.passwords import InstantPasswords
from tests.fakes.tokens import nth_user
from tests.unit.usecases.world import LIMITS, PASSWORD, World, new_user
from tidegate.domain.errors import FieldFault, HashPoolSaturated, IdentifierTaken, InvalidRequest, TooManyAttempts
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.lanes import Lane
from tidegate.domain.throttling import CounterKind
from tidegate.domain.users import NewUser
from tidegate.usecases.register import Registration


def refused(world: World, **typed: str | None) -> list[str]:
    """Every fault of a registration, as `field=reason`."""
    with pytest.raises(InvalidRequest) as caught:
        run(world.register(Registration(**typed)))
    return [str(fault) for fault in caught.value.faults]


def test_a_registered_user_can_log_in_at_once() -> None:
    """Promises P1 and P2."""
    world = World()
    user_id = run(world.register(Registration(username="Ada", password=PASSWORD)))
    assert user_id == nth_user(1)
    assert world.logged_in("ada").user_id == user_id


def test_what_is_stored_is_what_was_typed_normalised() -> None:
    world = World()
    typed = Registration(
        username="Ada",
        email="Ada@Example.org",
        phone_number="+4930123456",
        password=PASSWORD,
        full_name="Ada Lovelace",
        birthdate="1915-12-10",
    )
    profile = run(world.users.profile(run(world.register(typed))))
    assert profile is not None
    assert (profile.username, profile.email, profile.phone_number) == ("ada", "ada@example.org", "+4930123456")
    assert (profile.full_name, profile.birth_date) == ("Ada Lovelace", date(1915, 12, 10))
    assert profile.last_login is None


@pytest.mark.parametrize("name", [{"username": "ada"}, {"email": "ada@example.org"}, {"phone_number": "+4930123456"}])
def test_one_name_is_enough(name: dict[str, str]) -> None:
    assert run(World().register(Registration(password=PASSWORD, **name))) == nth_user(1)


def test_the_password_is_hashed_as_typed_but_for_its_normalisation() -> None:
    world = World()
    run(world.register(Registration(username="ada", password="  Spa\u0308ter  ")))
    assert world.passwords.hashed == ["  Später  "]


def test_every_field_at_fault_is_told_at_once_and_nothing_is_hashed() -> None:
    world = World()
    faults = refused(
        world,
        username="a da",
        email="a da@example.org",
        phone_number="+49 30",
        password="short",
        full_name="Ada\n",
        birthdate="1915-02-30",
    )
    assert sorted(faults) == [
        "birthdate=not_a_date",
        "email=invalid",
        "full_name=invalid_characters",
        "password=too_short",
        "phone_number=invalid",
        "username=invalid",
    ]
    assert world.passwords.hashed == []


def test_nothing_at_all_lacks_a_name_and_a_password() -> None:
    assert refused(World()) == ["username=missing", "password=missing"]


def test_empty_fields_are_absent() -> None:
    assert refused(World(), username="", email="", phone_number="", password="") == ["username=missing", "password=missing"]


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("seven77", "password=too_short"),
        ("Password123", "password=too_common"),
        ("x" * 1025, "password=too_long"),
        ("correct\0horse", "password=invalid_characters"),
        ("ADA.LOVELACE", "password=same_as_identifier"),
        ("ada@example.org", "password=same_as_identifier"),
    ],
)
def test_a_password_that_may_not_be_chosen_is_never_hashed(password: str, fault: str) -> None:
    world = World()
    assert refused(world, username="ada.lovelace", email="ada@example.org", password=password) == [fault]
    assert world.passwords.hashed == []


def test_a_date_ahead_of_the_clock_is_in_the_future() -> None:
    world = World()
    today = world.clock.now().date()
    tomorrow = date.fromordinal(today.toordinal() + 1)
    assert refused(world, username="ada", password=PASSWORD, birthdate=tomorrow.isoformat()) == ["birthdate=in_the_future"]
    run(world.register(Registration(username="ada", password=PASSWORD, birthdate=today.isoformat())))


def test_a_taken_name_is_told_before_a_hash_is_paid_for() -> None:
    world = World()
    world.add_user("ada")
    with pytest.raises(IdentifierTaken) as caught:
        run(world.register(Registration(username="ADA", email="new@example.org", password=PASSWORD)))
    assert caught.value.faults == (FieldFault("username", "taken"),)
    assert world.passwords.hashed == []


def test_all_taken_names_are_told_together() -> None:
    world = World()
    world.add_user("ada")
    assert refused(world, username="ada", email="ada@example.org", password=PASSWORD) == ["username=taken", "email=taken"]


def test_of_two_who_come_at_once_the_database_refuses_one() -> None:
    """The look-up before the hash found nobody: the unique index decides."""

    class Crowded(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            await world.users.add(new_user(uuid4(), "ada", "somebody else's"))
            return await super().hash(password, lane=lane)

    world = World(Crowded())
    with pytest.raises(IdentifierTaken):
        run(world.register(Registration(username="ada", password=PASSWORD)))


def test_a_fault_outranks_a_taken_name() -> None:
    """Nobody is looked up for a request that cannot stand."""
    world = World()
    world.add_user("ada")
    assert refused(world, username="ada", password="short") == ["password=too_short"]


def test_a_full_hash_pool_stores_nobody() -> None:
    world = World(InstantPasswords(is_saturated=True))
    with pytest.raises(HashPoolSaturated):
        run(world.register(Registration(username="ada", password=PASSWORD)))
    world.passwords.is_saturated = False
    run(world.register(Registration(username="ada", password=PASSWORD)))


def test_a_registration_goes_behind_the_logins() -> None:
    world = World()
    run(world.register(Registration(username="ada", password=PASSWORD)))
    assert world.passwords.lanes == [Lane.REGISTER]


def test_nothing_is_stored_before_the_password_is_hashed() -> None:
    class Watched(InstantPasswords):
        async def hash(self, password: str, *, lane: Lane) -> str:
            assert added == []
            return await super().hash(password, lane=lane)

    added: list[NewUser] = []
    world = World(Watched())
    add = world.users.add

    async def noted_add(user: NewUser, *, noted_in: int = 0, once: KeyedRequest | None = None) -> None:
        added.append(user)
        await add(user, noted_in=noted_in, once=once)

    world.users.add = noted_add  # type: ignore[method-assign] # a fake of one test
    run(world.register(Registration(username="ada", password=PASSWORD)))
    (stored,) = added
    assert stored.password_hash == InstantPasswords.current(PASSWORD)


def test_a_registration_does_not_show_its_password() -> None:
    """A dataclass shows its fields; this one must not."""
    assert PASSWORD not in repr(Registration(username="ada", password=PASSWORD))


def test_the_use_case_does_not_compare_anything() -> None:
    world = World()
    run(world.register(Registration(username="ada", password=PASSWORD)))
    assert world.passwords.compared == 0


def test_registrations_from_one_address_are_limited_and_faulty_ones_are_not_counted() -> None:
    """A hash each: one caller must not have all of them. Faults cost nothing, and a person makes many."""
    world = World()
    for number in range(LIMITS[CounterKind.REGISTRATION].at_most):
        with pytest.raises(InvalidRequest):
            run(world.register(Registration(username="a b", password=PASSWORD), address="192.0.2.7"))
        run(world.register(Registration(username=f"ada{number}", password=PASSWORD), address="192.0.2.7"))
    with pytest.raises(TooManyAttempts):
        run(world.register(Registration(username="eve", password=PASSWORD), address="192.0.2.7"))
    run(world.register(Registration(username="eve", password=PASSWORD), address="192.0.2.8"))
    run(world.register(Registration(username="bob", password=PASSWORD)))


def test_whoever_finds_no_place_for_a_hash_is_neither_looked_up_nor_counted() -> None:
    world = World(InstantPasswords(is_saturated=True))
    world.add_user()
    for _ in range(LIMITS[CounterKind.REGISTRATION].at_most + 1):
        with pytest.raises(HashPoolSaturated):
            run(world.register(Registration(username="ada", password=PASSWORD), address="198.51.100.7"))
    world.passwords.is_saturated = False
    run(world.register(Registration(username="eve", password=PASSWORD), address="198.51.100.7"))


def test_the_campaign_of_a_link_is_stored_with_the_user_in_lower_case() -> None:
    world = World()
    run(world.register(Registration(username="ada", password=PASSWORD, campaign="Spring-26")))
    run(world.register(Registration(username="bob", password=PASSWORD)))
    assert [user.campaign for user in world.users.added] == ["spring-26", None]


@pytest.mark.parametrize(
    ("campaign", "reason"),
    [
        ("-spring", "invalid_characters"),
        ("spring 26", "invalid_characters"),
        ("ſpring", "invalid_characters"),
        ("s" * 65, "too_long"),
    ],
)
def test_what_cannot_be_the_code_of_a_campaign_is_a_fault_like_others(campaign: str, reason: str) -> None:
    """All are told together; nobody is registered by half."""
    world = World()
    told = refused(world, username="ada", password=PASSWORD, campaign=campaign, birthdate="today")
    assert told == ["birthdate=not_a_date", f"campaign={reason}"]
    assert world.users.added == []
