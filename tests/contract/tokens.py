"""What every implementation of the token ports promises, whatever its tokens look like."""

from uuid import UUID, uuid4

import pytest

from tidegate.domain.claims import RefreshGrant
from tidegate.domain.errors import InvalidAccessToken, InvalidRefreshToken
from tidegate.ports.ids import Ids
from tidegate.ports.tokens import AccessTokens, DeviceTokens, RefreshTokens

USER = UUID("3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b")
SESSION = UUID("01937a1e-2f6b-7c3d-9e4f-a0b1c2d3e4f5")
OTHER_SESSION = UUID("01937a1e-2f6b-7c3d-9e4f-a0b1c2d3e4f6")


class AccessTokensContract:
    """What every `AccessTokens` promises. A subclass overrides the fixture."""

    @pytest.fixture
    def access_tokens(self) -> AccessTokens:
        raise LookupError("the subclass says what is tested")

    def test_a_token_tells_whose_it_is(self, access_tokens: AccessTokens):
        claims = access_tokens.verify(access_tokens.issue(USER, SESSION))
        assert (claims.user_id, claims.session_id) == (USER, SESSION)
        assert claims.issued_at < claims.expires_at
        assert claims.token_id
        assert claims.client_id

    def test_two_tokens_of_one_session_differ(self, access_tokens: AccessTokens):
        tokens = [access_tokens.issue(USER, SESSION) for _ in range(3)]
        assert len({*tokens}) == 3
        assert len({access_tokens.verify(token).token_id for token in tokens}) == 3

    @pytest.mark.parametrize("text", ["", ".", "a.b.c", "\0", "é", "x" * 5000, str(USER)])
    def test_what_was_not_issued_is_refused(self, access_tokens: AccessTokens, text: str):
        with pytest.raises(InvalidAccessToken):
            access_tokens.verify(text)

    def test_a_token_that_was_changed_is_refused(self, access_tokens: AccessTokens):
        token = access_tokens.issue(USER, SESSION)
        for changed in (token[:-1], token + "A", token[1:], token.swapcase(), token + "\n"):
            with pytest.raises(InvalidAccessToken):
                access_tokens.verify(changed)


class RefreshTokensContract:
    """What every `RefreshTokens` promises. A subclass overrides the fixture."""

    @pytest.fixture
    def refresh_tokens(self) -> RefreshTokens:
        raise LookupError("the subclass says what is tested")

    @pytest.mark.parametrize("generation", [0, 1, 2**31, 2**32 - 1])
    def test_a_token_names_its_session_and_generation(self, refresh_tokens: RefreshTokens, generation: int):
        assert refresh_tokens.read(refresh_tokens.make(SESSION, generation)) == RefreshGrant(SESSION, generation)

    def test_the_same_session_and_generation_always_give_the_same_token(self, refresh_tokens: RefreshTokens):
        """Promise P7 stands on it: a lost answer is given again."""
        assert refresh_tokens.make(SESSION, 3) == refresh_tokens.make(SESSION, 3)

    def test_another_session_or_generation_gives_another_token(self, refresh_tokens: RefreshTokens):
        made = [
            refresh_tokens.make(session, generation) for session in (SESSION, OTHER_SESSION) for generation in (0, 1, 256)
        ]
        assert len({*made}) == 6

    @pytest.mark.parametrize("text", ["", ".", "\0", "é", "x" * 5000, str(SESSION), "A" * 71])
    def test_what_was_not_made_is_refused(self, refresh_tokens: RefreshTokens, text: str):
        with pytest.raises(InvalidRefreshToken):
            refresh_tokens.read(text)

    def test_a_token_that_was_changed_is_refused(self, refresh_tokens: RefreshTokens):
        token = refresh_tokens.make(SESSION, 0)
        for changed in (token[:-1], token + "A", token[1:], token.swapcase(), token + "\n"):
            with pytest.raises(InvalidRefreshToken):
                refresh_tokens.read(changed)


class IdsContract:
    """What every `Ids` promises. A subclass overrides the fixture."""

    @pytest.fixture
    def ids(self) -> Ids:
        raise LookupError("the subclass says what is tested")

    def test_no_two_ids_are_the_same(self, ids: Ids):
        assert len({ids.user_id() for _ in range(20)} | {ids.session_id() for _ in range(20)}) == 40

    def test_user_ids_are_of_version_4_and_session_ids_of_version_7(self, ids: Ids):
        assert (ids.user_id().version, ids.session_id().version) == (4, 7)


class DeviceTokensContract:
    """What every DeviceTokens promises."""

    @pytest.fixture
    def devices(self) -> DeviceTokens:
        """What is under test."""
        raise NotImplementedError

    def test_a_device_that_is_not_known_gets_a_token_that_says_whose_it_is(self, devices: DeviceTokens) -> None:
        user_id, other = uuid4(), uuid4()
        tokens = [devices.renewed(each, None) for each in (user_id, user_id, other)]
        grants = [devices.read(token) for token in tokens if token is not None]
        assert [grant and grant.user_id for grant in grants] == [user_id, user_id, other]
        assert len({grant and grant.device_id for grant in grants}) == 3

    def test_a_device_that_has_a_fresh_token_keeps_it(self, devices: DeviceTokens) -> None:
        user_id = uuid4()
        token = devices.renewed(user_id, None)
        assert token is not None
        assert devices.renewed(user_id, devices.read(token)) is None

    @pytest.mark.parametrize("token", ["", "x", "x" * 92, "é" * 92, "\0", "a" * 10_000])
    def test_what_it_did_not_make_says_nothing(self, devices: DeviceTokens, token: str) -> None:
        assert devices.read(token) is None
