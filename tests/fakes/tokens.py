"""Tokens and ids that a person can read and a test can foretell."""

from itertools import count
from uuid import UUID

from tidegate.domain.claims import AccessClaims, DeviceGrant, RefreshGrant
from tidegate.domain.errors import InvalidAccessToken, InvalidRefreshToken


class FakeAccessTokens:
    """Issues `access-1 of <session>`, `access-2 of <session>` ...; knows what it issued and nothing else.

    Attributes:
        issued: Every token and its claims. A test may put one there, or take one away, which then counts as expired.
    """

    def __init__(self, *, now: int = 1_800_000_000, ttl_s: int = 300) -> None:
        self.issued: dict[str, AccessClaims] = {}
        self._numbers = count(1)
        self._now = now
        self._ttl_s = ttl_s

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        number = next(self._numbers)
        token = f"access-{number} of {session_id}"
        self.issued[token] = AccessClaims(
            user_id=user_id,
            session_id=session_id,
            expires_at=self._now + self._ttl_s,
            issued_at=self._now,
            token_id=f"jti-{number}",
            client_id="first-party",
        )
        return token

    def verify(self, token: str) -> AccessClaims:
        if token not in self.issued:
            raise InvalidAccessToken
        return self.issued[token]


class FakeRefreshTokens:
    """Makes `refresh-<generation> of <session>`; knows what it made and nothing else."""

    def __init__(self) -> None:
        self.made: dict[str, RefreshGrant] = {}

    def make(self, session_id: UUID, generation: int) -> str:
        token = f"refresh-{generation} of {session_id}"
        self.made[token] = RefreshGrant(session_id, generation)
        return token

    def read(self, token: str) -> RefreshGrant:
        if token not in self.made:
            raise InvalidRefreshToken
        return self.made[token]


class FakeDeviceTokens:
    """Makes `device-1 of <user>`, `device-2 of <user>` ...; knows what it made and nothing else.

    Attributes:
        made: Every token and what it says. A test may take one away, which then counts as expired.
    """

    def __init__(self) -> None:
        self.made: dict[str, DeviceGrant] = {}

    def read(self, token: str) -> DeviceGrant | None:
        return self.made.get(token)

    def renewed(self, user_id: UUID, known: DeviceGrant | None) -> str | None:
        if known is not None:
            return None
        number = len(self.made) + 1
        token = f"device-{number} of {user_id}"
        self.made[token] = DeviceGrant(user_id, nth_session(9_000 + number), 2_000_000_000)
        return token


class FakeIds:
    """Counts: the n-th user is `nth_user(n)`, the n-th session `nth_session(n)`, from 1."""

    def __init__(self) -> None:
        self._users = count(1)
        self._sessions = count(1)

    def user_id(self) -> UUID:
        return nth_user(next(self._users))

    def session_id(self) -> UUID:
        return nth_session(next(self._sessions))

    coupon_id = campaign_id = user_id


def nth_user(n: int) -> UUID:
    """The id of the n-th user that a `FakeIds` named, from 1."""
    return UUID(f"00000000-0000-4000-8000-{n:012d}")


def nth_session(n: int) -> UUID:
    """The id of the n-th session that a `FakeIds` named, from 1."""
    return UUID(f"00000000-0000-7000-8000-{n:012d}")
