"""Turns a login identifier and a password into a session and its first token pair."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.claims import TokenPair
from tidegate.domain.errors import Contended, HashPoolSaturated, UnknownUser, UserDisabled, WrongPassword
from tidegate.domain.lanes import Lane
from tidegate.domain.sessions import FIRST_GENERATION, NewSession
from tidegate.domain.users import LoginIdentifier
from tidegate.ports import AccessTokens, Ids, Passwords, RefreshTokens, Sessions, UserReader, UserWriter

_ATTEMPTS = 2
"""How often a login starts anew because the user's row changed between reading it and opening the session."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login comes from, as the user will see it among their sessions.

    Attributes:
        device: What the client calls itself; None when it says nothing.
        address: The client's address, textual; None when it has none (a unix socket).
    """

    device: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login that went well."""

    user_id: UUID
    tokens: TokenPair


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    """One attempt to log in.

    Attributes:
        is_uniform: The hardened profile: an unknown user takes as long as a known one (ADR 0003).
    """

    users: UserReader
    credentials: UserWriter
    passwords: Passwords
    sessions: Sessions
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    ids: Ids
    is_uniform: bool

    async def __call__(self, identifier: LoginIdentifier, password: str, origin: Origin) -> LoggedIn:
        """Log in, or say why not.

        Args:
            identifier: Normalised.
            password: Normalised, not empty.
            origin: Kept with the session.

        Raises:
            UnknownUser: Nobody has *identifier*.
            WrongPassword: It is another.
            UserDisabled: It is right, but the user may not log in.
            Unavailable: No hash thread or no database in time.
        """
        for _ in range(_ATTEMPTS):
            user = await self.users.find(identifier)
            if user is None:
                if self.is_uniform:
                    await self.passwords.imitate(lane=Lane.LOGIN)
                raise UnknownUser
            if not await self.passwords.matches(password, user.password_hash, lane=Lane.LOGIN):
                raise WrongPassword(user.user_id)
            if user.is_disabled:
                raise UserDisabled(user.user_id)
            relied_on = await self._upgraded(user.user_id, password, user.stored_password)

            session = NewSession(
                session_id=self.ids.session_id(),
                user_id=user.user_id,
                device=origin.device,
                address=origin.address,
            )
            if await self.sessions.open(session, relied_on=relied_on):
                pair = TokenPair(
                    self.access_tokens.issue(user.user_id, session.session_id),
                    self.refresh_tokens.make(session.session_id, FIRST_GENERATION),
                )
                return LoggedIn(user.user_id, pair)
        raise Contended

    async def _upgraded(self, user_id: UUID, password: str, stored: str) -> str:
        """Bring *stored* to the current profile if a core is free for it; the stored password that stands afterwards."""
        if not self.passwords.is_outdated(stored) or not self.passwords.is_idle():
            return stored
        try:
            rehashed = await self.passwords.hash(password, lane=Lane.REHASH)
        except HashPoolSaturated:  # somebody else was quicker; the password was right all the same
            return stored
        return rehashed if await self.credentials.rehash(user_id, old=stored, new=rehashed) else stored
