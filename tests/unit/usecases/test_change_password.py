"""A changed password ends everything that the old one opened."""

from asyncio import run

import pytest

from tests.fakes.passwords import InstantPasswords
from tests.unit.usecases.world import PASSWORD, PHONE, EventfulPasswords, World
from tidegate.domain.claims import TokenPair
from tidegate.domain.errors import (
    Contended,
    HashPoolSaturated,
    InvalidAccessToken,
    InvalidRefreshToken,
    InvalidRequest,
    WrongPassword,
)
from tidegate.domain.lanes import Lane

NEW_PASSWORD = "battery staple"


def change(world: World, pair: TokenPair, *, current: str = PASSWORD, new: str = NEW_PASSWORD) -> TokenPair:
    """Change the password of whoever holds *pair*."""
    return run(world.change_password(world.claims(pair), current=current, new=new, origin=PHONE))


def test_afterwards_the_new_password_works_and_the_old_one_does_not() -> None:
    """Promise P3."""
    world = World()
    world.add_user()
    change(world, world.logged_in().tokens)
    with pytest.raises(WrongPassword):
        world.logged_in()
    assert world.is_live(world.logged_in(password=NEW_PASSWORD).tokens)


def test_whoever_is_logged_in_goes_before_those_who_are_not() -> None:
    world = World()
    world.add_user()
    pair = world.logged_in().tokens
    world.passwords.lanes.clear()
    change(world, pair)
    assert world.passwords.lanes == [Lane.KNOWN_DEVICE] * 2


def test_every_session_ends_the_callers_too_and_the_caller_goes_on_in_a_new_one() -> None:
    world = World()
    world.add_user()
    caller, other = world.logged_in().tokens, world.logged_in().tokens
    continued = change(world, caller)
    assert (world.is_live(caller), world.is_live(other), world.is_live(continued)) == (False, False, True)
    for ended in (caller, other):
        with pytest.raises(InvalidRefreshToken):
            world.refreshed(ended)
    assert world.refreshed(continued).tokens.refresh_token != continued.refresh_token


def test_the_sessions_of_others_go_on() -> None:
    world = World()
    world.add_user()
    world.add_user("bob")
    bobs = world.logged_in("bob").tokens
    change(world, world.logged_in().tokens)
    assert world.is_live(bobs)


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        ("seven77", "new_password=too_short"),
        ("password123", "new_password=too_common"),
        ("ada@example.org", "new_password=same_as_identifier"),
        ("x" * 1025, "new_password=too_long"),
    ],
)
def test_a_password_that_may_not_be_chosen_is_told_before_anything_is_compared(new: str, fault: str) -> None:
    world = World()
    world.add_user()
    pair = world.logged_in().tokens
    compared = world.passwords.compared
    with pytest.raises(InvalidRequest) as refused:
        change(world, pair, new=new)
    assert [str(each) for each in refused.value.faults] == [fault]
    assert (world.passwords.compared, world.passwords.hashed) == (compared, [])
    assert world.is_live(pair)


def test_a_current_password_that_can_be_nobodys_is_told_by_its_own_field() -> None:
    world = World()
    world.add_user()
    with pytest.raises(InvalidRequest) as refused:
        change(world, world.logged_in().tokens, current="nul\0")
    assert [str(each) for each in refused.value.faults] == ["current_password=invalid_characters"]


def test_another_current_password_is_wrong_and_changes_nothing() -> None:
    world = World()
    user_id = world.add_user()
    pair = world.logged_in().tokens
    with pytest.raises(WrongPassword):
        change(world, pair, current="another")
    assert world.users.stored_password(user_id) == InstantPasswords.current(PASSWORD)
    assert world.is_live(pair)
    assert world.passwords.hashed == []


def test_the_current_password_may_be_one_that_could_not_be_chosen_today() -> None:
    """The rules are for what is wished, not for what stands."""
    world = World()
    world.add_user(stored=InstantPasswords.current("short"))
    assert world.is_live(change(world, world.logged_in(password="short").tokens, current="short"))


def test_a_user_who_is_gone_has_no_token_that_counts() -> None:
    world = World()
    user_id = world.add_user()
    pair = world.logged_in().tokens
    world.users.remove(user_id)
    with pytest.raises(InvalidAccessToken):
        change(world, pair)


def test_a_disabled_user_changes_nothing_even_with_the_right_password() -> None:
    """It would take the mark away."""
    world = World()
    user_id = world.add_user()
    pair = world.logged_in().tokens
    world.users.mark_disabled(user_id)
    with pytest.raises(InvalidAccessToken):
        change(world, pair)
    assert world.users.stored_password(user_id) == "!" + InstantPasswords.current(PASSWORD)


def test_a_change_that_somebody_overtook_is_compared_with_what_stands_then() -> None:
    world = World(EventfulPasswords(lambda: None, lambda: overtake()))
    user_id = world.add_user()
    overtake = world.store(user_id, InstantPasswords.current("somebody else's"))
    pair = world.logged_in().tokens
    with pytest.raises(WrongPassword):
        change(world, pair)
    assert world.users.stored_password(user_id) == InstantPasswords.current("somebody else's")


def test_a_rehash_in_between_does_not_stop_a_change() -> None:
    world = World(EventfulPasswords(lambda: None, lambda: rehash(), is_busy=True))
    user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
    rehash = world.store(user_id, InstantPasswords.current(PASSWORD))
    change(world, world.logged_in().tokens)
    assert world.users.stored_password(user_id) == InstantPasswords.current(NEW_PASSWORD)


def test_twice_in_a_row_is_worth_another_try_later() -> None:
    world = World(EventfulPasswords(lambda: None, lambda: rehash(), lambda: undo(), is_busy=True))
    user_id = world.add_user(stored=InstantPasswords.outdated(PASSWORD))
    rehash = world.store(user_id, InstantPasswords.current(PASSWORD))
    undo = world.store(user_id, InstantPasswords.outdated(PASSWORD))
    pair = world.logged_in().tokens
    with pytest.raises(Contended):
        change(world, pair)
    assert world.is_live(pair)


def test_a_full_hash_pool_changes_nothing() -> None:
    world = World()
    user_id = world.add_user()
    pair = world.logged_in().tokens
    world.passwords.is_saturated = True
    with pytest.raises(HashPoolSaturated):
        change(world, pair)
    assert world.users.stored_password(user_id) == InstantPasswords.current(PASSWORD)
    assert world.is_live(pair)
