"""A login ends in a session or in the one refusal that is true."""

from asyncio import run

import pytest

from tests.contract.jobs import LoginPut
from tests.fakes.passwords import InstantPasswords
from tests.fakes.tokens import nth_session
from tests.unit.usecases.world import PASSWORD, PHONE, EventfulPasswords, World, username
from tidegate.domain.errors import Contended, HashPoolSaturated, UnknownUser, UserDisabled, WrongPassword
from tidegate.domain.lanes import Lane
from tidegate.domain.users import IdentifierKind, LoginIdentifier

NEW_PASSWORD = "battery staple"


def test_the_right_password_opens_a_session_and_hands_out_its_first_pair() -> None:
    world = World()
    user_id = world.add_user()
    logged_in = world.logged_in()
    assert logged_in.user_id == user_id
    claims = world.claims(logged_in.tokens)
    assert (claims.user_id, claims.session_id) == (user_id, nth_session(1))
    grant = world.refresh_tokens.read(logged_in.tokens.refresh_token)
    assert (grant.session_id, grant.generation) == (nth_session(1), 0)
    (view,) = run(world.sessions.of_user(user_id))
    assert (view.session_id, view.device, view.address) == (nth_session(1), PHONE.device, PHONE.address)


def test_a_login_puts_the_job_that_records_it() -> None:
    world = World()
    user_id = world.add_user()
    world.logged_in()
    assert world.sessions.jobs == [LoginPut(user_id, world.clock.now())]


def test_any_of_the_names_logs_in() -> None:
    world = World()
    user_id = world.add_user()
    email = LoginIdentifier(IdentifierKind.EMAIL, "ada@example.org")
    assert run(world.log_in(email, PASSWORD, PHONE)).user_id == user_id


def test_each_login_is_a_session_of_its_own() -> None:
    world = World()
    world.add_user()
    first, second = world.logged_in(), world.logged_in()
    assert world.claims(first.tokens).session_id != world.claims(second.tokens).session_id
    assert world.is_live(first.tokens)
    assert world.is_live(second.tokens)


def test_nobody_is_an_unknown_user_and_costs_no_comparison() -> None:
    world = World()
    with pytest.raises(UnknownUser):
        world.logged_in("nobody")
    assert (world.passwords.compared, world.passwords.imitated) == (0, 0)


def test_another_password_is_wrong_and_leaves_nothing_behind() -> None:
    world = World()
    user_id = world.add_user()
    with pytest.raises(WrongPassword) as refused:
        world.logged_in(password="another")
    assert refused.value.user_id == user_id
    assert (world.sessions.count, world.sessions.jobs, world.passwords.hashed) == (0, [], [])


def test_that_a_user_is_disabled_is_told_to_who_knows_the_password() -> None:
    world = World()
    user_id = world.add_user()
    world.users.mark_disabled(user_id)
    with pytest.raises(UserDisabled) as refused:
        world.logged_in()
    assert refused.value.user_id == user_id
    assert world.sessions.count == 0


def test_whoever_does_not_know_the_password_of_a_disabled_user_learns_nothing() -> None:
    world = World()
    world.users.mark_disabled(world.add_user())
    with pytest.raises(WrongPassword):
        world.logged_in(password="another")


def test_a_disabled_user_is_not_rehashed() -> None:
    """The new hash would be stored without the mark."""
    world = World()
    world.users.mark_disabled(world.add_user(stored=InstantPasswords.outdated(PASSWORD)))
    with pytest.raises(UserDisabled):
        world.logged_in()
    assert world.passwords.hashed == []


def test_a_full_hash_pool_is_no_wrong_password() -> None:
    world = World(InstantPasswords(is_saturated=True))
    world.add_user()
    looked_up = world.users.found
    with pytest.raises(HashPoolSaturated):
        world.logged_in()
    assert world.users.found == looked_up, "who is refused in a storm must cost no look-up"


class TestWhenTheStoredPasswordChangesMeanwhile:
    """Promise P3: a session is opened only on the password that still stands."""

    def test_the_old_password_is_compared_anew_and_is_wrong(self) -> None:
        world = World(EventfulPasswords(lambda: change()))
        user_id = world.add_user()
        change = world.store(user_id, InstantPasswords.current(NEW_PASSWORD))
        with pytest.raises(WrongPassword):
            world.logged_in()
        assert world.passwords.compared == 2
        assert (world.sessions.count, world.sessions.jobs) == (0, [])

    def test_the_same_password_under_another_hash_logs_in_at_the_second_attempt(self) -> None:
        """Another login has just rehashed it."""
        world = World(EventfulPasswords(lambda: change(), is_busy=True))
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        change = world.store(user_id, InstantPasswords.current(PASSWORD))
        assert world.is_live(world.logged_in().tokens)
        assert (world.passwords.compared, world.sessions.count) == (2, 1)

    def test_twice_in_a_row_is_worth_another_try_later(self) -> None:
        world = World(EventfulPasswords(lambda: change(), lambda: change_back(), is_busy=True))
        user_id = world.add_user()
        change = world.store(user_id, InstantPasswords.outdated(PASSWORD))
        change_back = world.store(user_id, InstantPasswords.current(PASSWORD))
        with pytest.raises(Contended):
            world.logged_in()
        assert (world.passwords.compared, world.sessions.count) == (2, 0)

    def test_a_user_who_was_disabled_is_told_so(self) -> None:
        world = World(EventfulPasswords(lambda: world.users.mark_disabled(user_id)))
        user_id = world.add_user()
        with pytest.raises(UserDisabled):
            world.logged_in()
        assert world.sessions.count == 0

    def test_a_user_who_was_deleted_is_unknown(self) -> None:
        world = World(EventfulPasswords(lambda: world.users.remove(user_id)))
        user_id = world.add_user()
        with pytest.raises(UnknownUser):
            world.logged_in()
        assert world.sessions.count == 0


class TestRehashing:
    """An outdated hash is brought to the current profile when that costs nobody a place."""

    def test_an_outdated_hash_is_replaced(self) -> None:
        world = World()
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        assert world.is_live(world.logged_in().tokens)
        assert world.users.stored_password(user_id) == InstantPasswords.current(PASSWORD)
        assert world.passwords.compared == 1
        world.logged_in()
        assert world.passwords.hashed == [PASSWORD]

    def test_a_current_hash_stays(self) -> None:
        world = World()
        world.add_user()
        world.logged_in()
        assert world.passwords.hashed == []

    def test_a_wrong_password_replaces_nothing(self) -> None:
        world = World()
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        with pytest.raises(WrongPassword):
            world.logged_in(password="another")
        assert world.users.stored_password(user_id) == InstantPasswords.outdated(PASSWORD)
        assert world.passwords.hashed == []

    def test_while_no_thread_is_free_it_waits_for_another_day(self) -> None:
        world = World(InstantPasswords(is_busy=True))
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        assert world.is_live(world.logged_in().tokens)
        assert world.users.stored_password(user_id) == InstantPasswords.outdated(PASSWORD)

    def test_it_is_in_a_lane_of_its_own_behind_every_login(self) -> None:
        world = World()
        world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        world.logged_in()
        assert world.passwords.lanes == [Lane.LOGIN, Lane.REHASH]

    def test_a_thread_that_is_taken_in_the_last_moment_fails_no_login(self) -> None:
        """Idle when asked, and no more when it came to it."""

        class Overtaken(InstantPasswords):
            def is_idle(self) -> bool:
                return True

        world = World(Overtaken(is_busy=True))
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        assert world.is_live(world.logged_in().tokens)
        assert world.users.stored_password(user_id) == InstantPasswords.outdated(PASSWORD)

    def test_a_password_changed_meanwhile_is_not_undone(self) -> None:
        """Compare and set: the rehash is of a password that no longer stands."""
        world = World(EventfulPasswords(lambda: change()))
        user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
        change = world.store(user_id, InstantPasswords.current(NEW_PASSWORD))
        with pytest.raises(WrongPassword):
            world.logged_in()
        assert world.users.stored_password(user_id) == InstantPasswords.current(NEW_PASSWORD)
        assert world.sessions.count == 0


class TestHardened:
    """ADR 0003: an unknown user takes as long as a known one, and no core."""

    def test_an_unknown_user_is_imitated_and_not_hashed(self) -> None:
        world = World(is_uniform=True)
        with pytest.raises(UnknownUser):
            world.logged_in("nobody")
        assert (world.passwords.imitated, world.passwords.compared, world.passwords.hashed) == (1, 0, [])
        assert world.passwords.lanes == [Lane.LOGIN]  # where a known user would have waited

    def test_a_known_user_is_compared_and_not_imitated(self) -> None:
        world = World(is_uniform=True)
        world.add_user()
        with pytest.raises(WrongPassword):
            world.logged_in(password="another")
        assert (world.passwords.imitated, world.passwords.compared) == (0, 1)

    def test_a_full_hash_pool_refuses_an_unknown_user_as_it_does_a_known_one(self) -> None:
        world = World(InstantPasswords(is_saturated=True), is_uniform=True)
        world.add_user()
        for name in ("ada", "nobody"):
            with pytest.raises(HashPoolSaturated):
                run(world.log_in(username(name), PASSWORD, PHONE))
