"""Turns a login identifier and a password into a session and its first token pair."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn
from uuid import UUID

from tidegate.domain.claims import DeviceGrant, TokenPair
from tidegate.domain.errors import Contended, HashPoolSaturated, UnknownUser, UserDisabled, WrongPassword
from tidegate.domain.lanes import Lane
from tidegate.domain.sessions import FIRST_GENERATION, NewSession
from tidegate.domain.throttling import Counter, CounterKind, address_counters, device_counters, login_counters
from tidegate.domain.users import LoginIdentifier, StoredCredentials
from tidegate.ports.ids import Ids
from tidegate.ports.passwords import Passwords
from tidegate.ports.sessions import Sessions
from tidegate.ports.throttling import Throttle
from tidegate.ports.tokens import AccessTokens, DeviceTokens, RefreshTokens
from tidegate.ports.users import NearbyUsers, UserReader, UserWriter

_ATTEMPTS = 2
"""How often a login reads the user's row, which may have changed before the session is opened: first wherever it is
cheapest, then on the primary."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login comes from, as the user will see it among their sessions.

    Attributes:
        device: What the client calls itself; None when it says nothing.
        address: The client's address, textual; None when it has none (a unix socket).
        device_token: What the client was given when a user last logged in from it; None when it sends none.
    """

    device: str | None
    address: str | None
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login that went well.

    Attributes:
        user_id: Whose.
        tokens: The first pair of the new session.
        device_token: For the device to keep; None when the one that it sent will do.
    """

    user_id: UUID
    tokens: TokenPair
    device_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    """One attempt to log in.

    Attributes:
        is_uniform: The hardened profile: an unknown user takes as long as a known one (ADR 0003), and attempts are counted
            by the name that was given, for a name that nobody has is throttled as one that somebody has (ADR 0017).
        name_digest: Stands for a name among the counters, so that no name is kept there.
    """

    nearby: NearbyUsers
    users: UserReader
    credentials: UserWriter
    passwords: Passwords
    sessions: Sessions
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    devices: DeviceTokens
    throttle: Throttle
    ids: Ids
    is_uniform: bool
    name_digest: Callable[[LoginIdentifier], bytes]

    async def __call__(self, identifier: LoginIdentifier, password: str, origin: Origin) -> LoggedIn:
        """Log in, or say why not.

        Args:
            identifier: Normalised.
            password: Normalised, not empty.
            origin: Kept with the session, but for the device token.

        Raises:
            TooManyAttempts: Before the password was looked at.
            UnknownUser: Nobody has *identifier*.
            WrongPassword: It is another.
            UserDisabled: It is right, but the user may not log in.
            Unavailable: No hash thread or no database in time.
        """
        device = None if origin.device_token is None else self.devices.read(origin.device_token)
        if device is None:
            # Of an address that has had enough nobody is even looked up.
            self.throttle.check(address_counters(CounterKind.ADDRESS, origin.address))
        # Nine in ten of a storm end here, before anybody is looked up: what they cost is taken from the hashes.
        self.passwords.refuse_if_full(Lane.LOGIN if device is None else Lane.KNOWN_DEVICE)
        find = self.nearby.find_nearby
        for _ in range(_ATTEMPTS):
            user = await find(identifier)
            find = self.users.find
            if user is None:
                await self._refuse_unknown(identifier, origin)
            known = device if device is not None and device.user_id == user.user_id else None
            lane = Lane.LOGIN if known is None else Lane.KNOWN_DEVICE
            with await self.throttle.admit(self._counters(identifier, user, known, origin)) as attempt:
                matched = await self.passwords.matches(password, user.password_hash, user_id=user.user_id, lane=lane)
                if matched and not user.is_disabled:
                    relied_on = await self._upgraded(user.user_id, password, user.stored_password)
                    pair = await self._open_session(user.user_id, relied_on, origin)
                    if pair is not None:
                        attempt.succeed()
                        return LoggedIn(user.user_id, pair, self.devices.renewed(user.user_id, known))
                elif not user.may_lag or await self.users.find(identifier) == user:
                    # What may lag refuses nobody: the primary has said the same (promises P2, P3, P9).
                    if matched:
                        raise UserDisabled(user.user_id)
                    await attempt.fail()
                    raise WrongPassword(user.user_id)
        raise Contended

    async def _refuse_unknown(self, identifier: LoginIdentifier, origin: Origin) -> NoReturn:
        if self.is_uniform:
            with await self.throttle.admit(login_counters(self.name_digest(identifier), origin.address)) as attempt:
                await self.passwords.imitate(lane=Lane.LOGIN)
                await attempt.fail()
        else:
            # Names that nobody has are many and cost nothing to make up: they must cost us nothing either.
            self.throttle.count(address_counters(CounterKind.ADDRESS, origin.address))
        raise UnknownUser

    def _counters(
        self, identifier: LoginIdentifier, user: StoredCredentials, known: DeviceGrant | None, origin: Origin
    ) -> list[Counter]:
        if known is not None:
            return device_counters(known.device_id)
        # By user, so that all names of a user share one budget; except where that would tell that they are one user's.
        subject = self.name_digest(identifier) if self.is_uniform else user.user_id.bytes
        return login_counters(subject, origin.address)

    async def _open_session(self, user_id: UUID, relied_on: str, origin: Origin) -> TokenPair | None:
        """The first token pair of a new session; None if *relied_on* is not the stored password any more."""
        session = NewSession(
            session_id=self.ids.session_id(), user_id=user_id, device=origin.device, address=origin.address
        )
        if not await self.sessions.open(session, relied_on=relied_on):
            return None
        return TokenPair(
            self.access_tokens.issue(user_id, session.session_id),
            self.refresh_tokens.make(session.session_id, FIRST_GENERATION),
        )

    async def _upgraded(self, user_id: UUID, password: str, stored: str) -> str:
        """Bring *stored* to the current profile if a core is free for it; the stored password that stands afterwards."""
        if not self.passwords.is_outdated(stored) or not self.passwords.is_idle():
            return stored
        try:
            rehashed = await self.passwords.hash(password, lane=Lane.REHASH)
        except HashPoolSaturated:  # somebody else was quicker; the password was right all the same
            return stored
        return rehashed if await self.credentials.rehash(user_id, old=stored, new=rehashed) else stored
