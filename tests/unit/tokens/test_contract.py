"""The real tokens and the fakes keep the same promises."""

import hashlib
from time import time
from uuid import uuid4

import pytest

from tests.contract.tokens import AccessTokensContract, DeviceTokensContract, IdsContract, RefreshTokensContract
from tests.fakes.tokens import FakeAccessTokens, FakeDeviceTokens, FakeIds, FakeRefreshTokens
from tidegate.ports.ids import Ids
from tidegate.ports.tokens import AccessTokens, DeviceTokens, RefreshTokens
from tidegate.tokens.access import AccessTokenService
from tidegate.tokens.device import DeviceTokenCodec
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


class TestDeviceTokenCodec(DeviceTokensContract):
    @pytest.fixture
    def devices(self) -> DeviceTokens:
        return DeviceTokenCodec(mac_key=hashlib.sha256(b"a test's key").digest(), ttl_s=1_000, now=time, new_id=uuid4)


class TestFakeDeviceTokens(DeviceTokensContract):
    @pytest.fixture
    def devices(self) -> DeviceTokens:
        return FakeDeviceTokens()


class TestRandomIds(IdsContract):
    @pytest.fixture
    def ids(self) -> Ids:
        return RandomIds()


class TestFakeIds(IdsContract):
    @pytest.fixture
    def ids(self) -> Ids:
        return FakeIds()
