"""Whose failures count against whom, and who is let in all the same."""

from asyncio import run
from dataclasses import replace

import pytest

from tests.unit.usecases.world import LIMITS, PASSWORD, PHONE, World, username
from tidegate.domain.errors import Refusal, TooManyAttempts, UnknownUser, UserDisabled, WrongPassword
from tidegate.domain.throttling import CounterKind
from tidegate.domain.users import DISABLED_MARK, IdentifierKind, LoginIdentifier
from tidegate.usecases.log_in import Origin

ELSEWHERE = Origin("A laptop", "198.51.100.9")


def refusal(world: World, name: str = "ada", password: str = "wrong", *, origin: Origin = PHONE) -> type[Refusal] | None:
    """What becomes of one login."""
    try:
        world.logged_in(name, password, origin=origin)
    except Refusal as refused:
        return type(refused)
    return None


def fail(world: World, times: int, name: str = "ada", *, origin: Origin = PHONE) -> None:
    for _ in range(times):
        assert refusal(world, name, origin=origin) in (WrongPassword, UnknownUser)


def test_after_too_many_failures_the_right_password_is_told_to_wait_and_not_that_it_is_wrong() -> None:
    world = World()
    world.add_user()
    fail(world, LIMITS[CounterKind.PAIR].at_most)
    compared = world.passwords.compared
    assert refusal(world, password=PASSWORD) is TooManyAttempts
    assert world.passwords.compared == compared
    world.clock.advance(2 * LIMITS[CounterKind.PAIR].window_s)
    assert refusal(world, password=PASSWORD) is None


def test_all_names_of_a_user_share_one_budget() -> None:
    world = World()
    world.add_user()
    fail(world, 2)
    email = LoginIdentifier(IdentifierKind.EMAIL, "ada@example.org")
    with pytest.raises(WrongPassword):
        run(world.log_in(email, "wrong", PHONE))
    assert refusal(world, password=PASSWORD) is TooManyAttempts


def test_somebody_else_at_the_same_address_and_the_user_elsewhere_are_let_in() -> None:
    world = World()
    world.add_user()
    world.add_user("bob")
    fail(world, 3)
    assert refusal(world, "bob", PASSWORD) is None
    assert refusal(world, password=PASSWORD, origin=ELSEWHERE) is None


def test_failures_from_many_addresses_add_up_for_the_user() -> None:
    world = World()
    world.add_user()
    for number in range(LIMITS[CounterKind.USER].at_most):
        assert refusal(world, origin=Origin(None, f"203.0.113.{number}")) is WrongPassword
    assert refusal(world, password=PASSWORD, origin=ELSEWHERE) is TooManyAttempts
    assert world.refused == [CounterKind.USER]


def test_a_success_forgives_the_pair() -> None:
    world = World()
    world.add_user()
    for _ in range(3):
        fail(world, 2)
        assert refusal(world, password=PASSWORD) is None


def test_a_disabled_user_with_the_right_password_counts_nothing() -> None:
    world = World()
    world.add_user(stored=DISABLED_MARK + world.passwords.current(PASSWORD))
    for _ in range(10):
        assert refusal(world, password=PASSWORD) is UserDisabled
    assert world.counters.buckets == {}


class TestUnknownUsers:
    def test_they_count_for_their_address_and_ask_nobody(self) -> None:
        world = World()
        for number in range(LIMITS[CounterKind.ADDRESS].at_most):
            assert refusal(world, f"nobody{number}") is UnknownUser
        assert refusal(world, "nobody") is TooManyAttempts
        assert world.counters.asked == 0
        assert world.refused == [CounterKind.ADDRESS]

    def test_an_address_that_has_had_enough_is_not_looked_up(self) -> None:
        world = World()
        fail(world, LIMITS[CounterKind.ADDRESS].at_most, "nobody")
        looked_up = world.users.found
        assert refusal(world, "nobody") is TooManyAttempts
        assert world.users.found == looked_up

    def test_hardened_they_are_throttled_as_known_ones_are(self) -> None:
        """Else the eleventh answer tells who is registered."""
        world = World(is_uniform=True)
        world.add_user()
        told = {name: [refusal(world, name) for _ in range(5)] for name in ("ada", "nobody")}
        assert [each is TooManyAttempts for each in told["ada"]] == [False, False, False, True, True]
        assert [each is TooManyAttempts for each in told["nobody"]] == [False, False, False, True, True]
        assert world.passwords.imitated == 3

    def test_hardened_names_are_counted_apart(self) -> None:
        """Else one name's failures tell that another, still fresh, belongs to the same user, who then is registered."""
        world = World(is_uniform=True)
        world.add_user()
        fail(world, 3)
        assert refusal(world, password=PASSWORD) is TooManyAttempts
        assert run(world.log_in(LoginIdentifier(IdentifierKind.EMAIL, "ada@example.org"), PASSWORD, PHONE))

    def test_hardened_no_name_is_among_the_counters(self) -> None:
        world = World(is_uniform=True)
        world.add_user()

        async def fail() -> None:
            for name in ("ada", "nobody"):
                with pytest.raises((WrongPassword, UnknownUser)):
                    await world.log_in(username(name), "wrong", PHONE)
            await world.throttle.aclose()

        run(fail())
        subjects = {bucket.rpartition(b":")[0] for bucket in world.counters.buckets if bucket.startswith(b"user:")}
        assert subjects == {b"user:digest of ada", b"user:digest of nobody"}


class TestKnownDevices:
    def test_nobody_can_lock_a_user_out_of_a_device_that_is_known(self) -> None:
        world = World()
        world.add_user()
        token = world.logged_in().device_token
        known = replace(PHONE, device_token=token)
        for number in range(LIMITS[CounterKind.USER].at_most):
            refusal(world, origin=Origin(None, f"203.0.113.{number}"))
        fail(world, 1, "nobody")
        assert refusal(world, password=PASSWORD) is TooManyAttempts
        logged_in = world.logged_in(origin=known)
        assert logged_in.device_token is None

    def test_an_address_that_has_had_enough_does_not_lock_it_out_either(self) -> None:
        world = World()
        world.add_user()
        known = replace(PHONE, device_token=world.logged_in().device_token)
        fail(world, LIMITS[CounterKind.ADDRESS].at_most, "nobody")
        assert refusal(world, password=PASSWORD) is TooManyAttempts
        assert refusal(world, password=PASSWORD, origin=known) is None

    def test_it_has_a_budget_of_its_own_and_no_more(self) -> None:
        world = World()
        world.add_user()
        known = replace(PHONE, device_token=world.logged_in().device_token)
        fail(world, LIMITS[CounterKind.DEVICE].at_most, origin=known)
        assert refusal(world, password=PASSWORD, origin=known) is TooManyAttempts
        assert world.refused == [CounterKind.DEVICE]
        assert refusal(world, password=PASSWORD) is None

    def test_its_success_forgives_it(self) -> None:
        world = World()
        world.add_user()
        known = replace(PHONE, device_token=world.logged_in().device_token)
        for _ in range(4):
            fail(world, 1, origin=known)
            assert refusal(world, password=PASSWORD, origin=known) is None

    def test_the_token_of_another_user_is_as_good_as_none(self) -> None:
        """Else one's own login would buy guesses at everybody."""
        world = World()
        world.add_user()
        world.add_user("mallory")
        own = replace(PHONE, device_token=world.logged_in("mallory").device_token)
        fail(world, LIMITS[CounterKind.PAIR].at_most, origin=own)
        assert refusal(world, origin=own) is TooManyAttempts
        assert world.refused == [CounterKind.PAIR]
        fail(world, LIMITS[CounterKind.ADDRESS].at_most - LIMITS[CounterKind.PAIR].at_most, "nobody", origin=own)
        assert refusal(world, "nobody", origin=own) is TooManyAttempts

    @pytest.mark.parametrize("token", ["", "device-1", "no such thing"])
    def test_a_token_that_is_not_ours_is_as_good_as_none(self, token: str) -> None:
        world = World()
        world.add_user()
        forged = replace(PHONE, device_token=token)
        fail(world, LIMITS[CounterKind.PAIR].at_most, origin=forged)
        assert refusal(world, password=PASSWORD, origin=forged) is TooManyAttempts


def test_a_session_may_name_a_wrong_current_password_so_often_and_no_other_session_suffers() -> None:
    """Who stole an access token must not guess the password with it."""
    world = World()
    world.add_user()
    stolen, own = world.logged_in(), world.logged_in()

    def change(claims_of: object, current: str) -> None:
        assert claims_of in (stolen, own)
        pair = stolen.tokens if claims_of is stolen else own.tokens
        run(world.change_password(world.claims(pair), current=current, new="battery staple", origin=PHONE))

    for _ in range(LIMITS[CounterKind.DEVICE].at_most):
        with pytest.raises(WrongPassword):
            change(stolen, "wrong")
    with pytest.raises(TooManyAttempts):
        change(stolen, PASSWORD)
    change(own, PASSWORD)
