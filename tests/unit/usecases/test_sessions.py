"""Sessions go on by refreshing and end by logging out, revoking or reuse; then their tokens count no more."""

from asyncio import run

import pytest

from tests.unit.usecases.world import World
from tidegate.domain.claims import TokenPair
from tidegate.domain.errors import DatabaseUnavailable, InvalidAccessToken, InvalidRefreshToken
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.introspect import Introspect
from tidegate.usecases.log_out import LogOut, LogoutScope
from tidegate.usecases.revoke import Revoke


@pytest.fixture
def world() -> World:
    """With the users ada and bob."""
    world = World()
    world.add_user("ada")
    world.add_user("bob")
    return world


class TestRefresh:
    def test_it_hands_out_the_successor_and_an_access_token_of_the_same_session(self, world: World) -> None:
        first = world.logged_in()
        second = world.refreshed(first.tokens)
        assert second.user_id == first.user_id
        assert world.claims(second.tokens).session_id == world.claims(first.tokens).session_id
        assert second.tokens.access_token != first.tokens.access_token
        assert world.refresh_tokens.read(second.tokens.refresh_token).generation == 1
        third = world.refreshed(second.tokens)
        assert world.refresh_tokens.read(third.tokens.refresh_token).generation == 2

    def test_a_repeat_within_the_grace_yields_the_same_successor(self, world: World) -> None:
        """Promise P7: the answer was lost, or there are two tabs."""
        first = world.logged_in().tokens
        second = world.refreshed(first).tokens
        world.clock.advance(10)
        assert world.refreshed(first).tokens.refresh_token == second.refresh_token

    def test_a_repeat_after_the_grace_is_reuse_and_ends_the_session(self, world: World) -> None:
        """Promise P5."""
        first = world.logged_in().tokens
        second = world.refreshed(first).tokens
        world.clock.advance(11)
        with pytest.raises(InvalidRefreshToken) as refused:
            world.refreshed(first)
        assert refused.value.is_reuse
        with pytest.raises(InvalidRefreshToken) as refused:
            world.refreshed(second)
        assert not refused.value.is_reuse

    def test_a_token_before_the_last_is_reuse_at_once(self, world: World) -> None:
        first = world.logged_in().tokens
        third = world.refreshed(world.refreshed(first).tokens).tokens
        with pytest.raises(InvalidRefreshToken) as refused:
            world.refreshed(first)
        assert refused.value.is_reuse
        assert not world.is_live(third)

    def test_an_expired_session_is_refused_and_is_no_reuse(self, world: World) -> None:
        first = world.logged_in().tokens
        world.clock.advance(14 * 86_400)
        with pytest.raises(InvalidRefreshToken) as refused:
            world.refreshed(first)
        assert not refused.value.is_reuse

    @pytest.mark.parametrize("text", ["", "refresh-0 of nothing", "x" * 5000])
    def test_what_is_not_ours_is_refused_and_ends_nothing(self, world: World, text: str) -> None:
        pair = world.logged_in().tokens
        with pytest.raises(InvalidRefreshToken):
            run(world.refresh(text))
        assert world.is_live(pair)

    def test_no_access_token_is_issued_for_a_refused_refresh(self, world: World) -> None:
        first = world.logged_in().tokens
        world.clock.advance(14 * 86_400)
        issued = len(world.access_tokens.issued)
        with pytest.raises(InvalidRefreshToken):
            world.refreshed(first)
        assert len(world.access_tokens.issued) == issued


class TestLogOut:
    def test_each_scope_ends_what_it_names(self, world: World) -> None:
        for scope, expected in (
            (LogoutScope.THIS, [False, True, True]),
            (LogoutScope.OTHERS, [True, False, False]),
            (LogoutScope.ALL, [False, False, False]),
        ):
            pairs = [world.logged_in("ada").tokens for _ in range(3)]
            run(LogOut(sessions=world.sessions)(world.claims(pairs[0]), scope))
            assert [world.is_live(pair) for pair in pairs] == expected, scope

    def test_no_scope_touches_the_sessions_of_others(self, world: World) -> None:
        bobs = world.logged_in("bob").tokens
        for scope in LogoutScope:
            run(LogOut(sessions=world.sessions)(world.claims(world.logged_in("ada").tokens), scope))
        assert world.is_live(bobs)


class TestRevoke:
    @staticmethod
    def revoke(world: World, token: str) -> None:
        use_case = Revoke(sessions=world.sessions, access_tokens=world.access_tokens, refresh_tokens=world.refresh_tokens)
        run(use_case(token))

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_either_token_ends_its_session_and_no_other(self, world: World, kind: str) -> None:
        pair, other = world.logged_in().tokens, world.logged_in().tokens
        self.revoke(world, getattr(pair, kind))
        assert not world.is_live(pair)
        assert world.is_live(other)
        self.revoke(world, getattr(pair, kind))

    def test_a_refresh_token_that_was_replaced_ends_its_session_too(self, world: World) -> None:
        first = world.logged_in().tokens
        second = world.refreshed(first).tokens
        self.revoke(world, first.refresh_token)
        assert not world.is_live(second)

    @pytest.mark.parametrize("text", ["", "nonsense", "380e6210-d0dc-4405-b1ee-db3a4330cf23"])
    def test_what_is_not_ours_changes_nothing(self, world: World, text: str) -> None:
        pair = world.logged_in().tokens
        self.revoke(world, text)
        assert world.is_live(pair)


class TestAuthenticate:
    @staticmethod
    def authenticate(world: World, pair: TokenPair) -> object:
        use_case = Authenticate(access_tokens=world.access_tokens, revocations=world.revocations)
        return run(use_case(pair.access_token))

    def test_a_token_of_a_live_session_is_what_it_says(self, world: World) -> None:
        pair = world.logged_in().tokens
        claims = world.claims(pair)
        assert self.authenticate(world, pair) == claims
        assert world.revocations.lifetimes_s[-1] == claims.expires_at - claims.issued_at > 0

    def test_a_token_of_a_revoked_session_counts_no_more(self, world: World) -> None:
        pair = world.logged_in().tokens
        run(world.sessions.revoke(world.claims(pair).session_id))
        with pytest.raises(InvalidAccessToken) as refused:
            self.authenticate(world, pair)
        assert not refused.value.is_missing

    def test_an_expired_token_is_refused_without_asking_whether_it_was_revoked(self, world: World) -> None:
        pair = world.logged_in().tokens
        del world.access_tokens.issued[pair.access_token]
        world.revocations.is_lost = True
        with pytest.raises(InvalidAccessToken):
            self.authenticate(world, pair)

    def test_whether_it_was_revoked_cannot_be_known_is_no_refusal(self, world: World) -> None:
        """Promise P9: 401 only from fresh data."""
        pair = world.logged_in().tokens
        world.revocations.is_lost = True
        with pytest.raises(DatabaseUnavailable):
            self.authenticate(world, pair)


class TestIntrospect:
    @staticmethod
    def introspect(world: World, token: str) -> object:
        return run(Introspect(access_tokens=world.access_tokens, sessions=world.sessions)(token))

    def test_an_access_token_of_a_live_session_is_active(self, world: World) -> None:
        pair = world.logged_in().tokens
        assert self.introspect(world, pair.access_token) == world.claims(pair)

    def test_it_is_inactive_as_soon_as_its_session_is_revoked(self, world: World) -> None:
        pair = world.logged_in().tokens
        run(world.sessions.revoke(world.claims(pair).session_id))
        assert self.introspect(world, pair.access_token) is None

    def test_a_refresh_token_is_never_active(self, world: World) -> None:
        """RFC 7662 section 4: no resource server should have seen one."""
        assert self.introspect(world, world.logged_in().tokens.refresh_token) is None

    def test_what_is_not_ours_is_inactive(self, world: World) -> None:
        assert self.introspect(world, "nonsense") is None
