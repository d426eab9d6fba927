"""A profile changes field by field, and only when every given field may stand."""

from asyncio import run
from datetime import date

import pytest

from tests.unit.usecases.world import World
from tidegate.domain.errors import InvalidAccessToken, InvalidRequest
from tidegate.domain.users import Profile
from tidegate.usecases.change_profile import ChangeProfile


def change(world: World, *, full_name: str | None = None, birthdate: str | None = None) -> Profile:
    """Change the profile of the user ada."""
    claims = world.claims(world.logged_in().tokens)
    use_case = ChangeProfile(profiles=world.users, clock=world.clock)
    return run(use_case(claims, full_name=full_name, birthdate=birthdate))


def test_what_is_given_is_stored_and_what_is_not_stays() -> None:
    world = World()
    world.add_user()
    change(world, full_name="Ada Lovelace", birthdate="1915-12-10")
    profile = change(world, full_name="Ada King")
    assert (profile.full_name, profile.birth_date) == ("Ada King", date(1915, 12, 10))
    profile = change(world, birthdate="1916-02-29", full_name="")
    assert (profile.full_name, profile.birth_date) == ("Ada King", date(1916, 2, 29))


def test_nothing_given_changes_nothing_and_tells_the_profile() -> None:
    world = World()
    user_id = world.add_user()
    assert change(world) == run(world.users.profile(user_id))


def test_every_fault_is_told_and_nothing_is_stored() -> None:
    world = World()
    user_id = world.add_user()
    with pytest.raises(InvalidRequest) as refused:
        change(world, full_name="\0", birthdate="yesterday")
    assert [str(fault) for fault in refused.value.faults] == ["full_name=invalid_characters", "birthdate=not_a_date"]
    with pytest.raises(InvalidRequest):
        change(world, full_name="Ada", birthdate="2999-01-01")
    profile = run(world.users.profile(user_id))
    assert profile is not None
    assert (profile.full_name, profile.birth_date) == (None, None)


def test_a_user_who_is_gone_has_no_token_that_counts() -> None:
    world = World()
    user_id = world.add_user()
    claims = world.claims(world.logged_in().tokens)
    world.users.remove(user_id)
    with pytest.raises(InvalidAccessToken):
        run(ChangeProfile(profiles=world.users, clock=world.clock)(claims, full_name="Ada", birthdate=None))
