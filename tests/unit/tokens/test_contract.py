"""The real tokens and the fakes keep the same promises."""

import hashlib

import pytest

from tests.contract.tokens import AccessTokensContract, IdsContract, RefreshTokensContract
from tests.fakes.tokens import FakeAccessTokens, FakeIds, FakeRefreshTokens
from tidegate.ports import AccessTokens, Ids, RefreshTokens
from tidegate.tokens.access import AccessTokenService
from tidegate.tokens.ids import RandomIds
from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.refresh import RefreshTokenCodec
from tidegate.tokens.verifier import AccessTokenVerifier


class TestAccessTokenService(AccessTokensContract):
    @pytest.fixture
    def access_tokens(self, issuer: AccessTokenIssuer, verifier: AccessTokenVerifier) -> AccessTokens:
        return AccessTokenService(issuer, verifier)


class TestFakeAccessTokens(AccessTokensContract):
    @pytest.fixture
    def access_tokens(self) -> AccessTokens:
        return FakeAccessTokens()


class TestRefreshTokenCodec(RefreshTokensContract):
    @pytest.fixture
    def refresh_tokens(self) -> RefreshTokens:
        return RefreshTokenCodec(mac_key=hashlib.sha256(b"a test's key").digest())


class TestFakeRefreshTokens(RefreshTokensContract):
    @pytest.fixture
    def refresh_tokens(self) -> RefreshTokens:
        return FakeRefreshTokens()


class TestRandomIds(IdsContract):
    @pytest.fixture
    def ids(self) -> Ids:
        return RandomIds()


class TestFakeIds(IdsContract):
    @pytest.fixture
    def ids(self) -> Ids:
        return FakeIds()
