"""Gives a user a new password and ends everything that the old one opened."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.claims import AccessClaims, TokenPair
from tidegate.domain.credentials import normalise_password
from tidegate.domain.errors import Contended, InvalidAccessToken, WrongPassword
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.lanes import Lane
from tidegate.domain.sessions import FIRST_GENERATION, NewSession
from tidegate.domain.throttling import device_counters
from tidegate.domain.users import IdentifierKind, LoginIdentifier, Profile
from tidegate.ports.ids import Ids
from tidegate.ports.passwords import Passwords
from tidegate.ports.profiles import Profiles
from tidegate.ports.sessions import Sessions
from tidegate.ports.throttling import Throttle
from tidegate.ports.tokens import AccessTokens, RefreshTokens
from tidegate.ports.users import UserReader
from tidegate.usecases.log_in import Origin
from tidegate.usecases.password_rules import PasswordRules

_ATTEMPTS = 2
"""How often the change starts anew because the stored password changed between reading and replacing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """One change: every session is revoked, the caller's too, and the caller goes on in a new one (ADR 0008)."""

    users: UserReader
    profiles: Profiles
    rules: PasswordRules
    passwords: Passwords
    sessions: Sessions
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    throttle: Throttle
    ids: Ids

    async def __call__(self, claims: AccessClaims, *, current: str, new: str, origin: Origin) -> TokenPair:
        """Replace the password of the user of *claims*; once this returns the old one never works again (promise P3).

        Raises:
            InvalidRequest: The new password may not be chosen; found before anything is hashed.
            InvalidAccessToken: The user is gone or disabled.
            TooManyAttempts: Too many of this session have named another password.
            WrongPassword: *current* is not the user's.
            Unavailable: No hash thread or no database in time.
        """
        return self.first_pair(claims.user_id, await self.change(claims, current=current, new=new, origin=origin))

    async def change(
        self, claims: AccessClaims, *, current: str, new: str, origin: Origin, once: KeyedRequest | None = None
    ) -> UUID:
        """As above, but return the session that the caller goes on in; with *once*, its key is stored with the change.

        Raises:
            IdempotencyKeyTaken: A request with the key of *once* took effect before.
        """
        current = normalise_password(current, field="current_password")
        profile = await self.profiles.profile(claims.user_id)
        if profile is None:
            raise InvalidAccessToken
        wish = self.rules.choose(new, _identifiers(profile), field="new_password")
        for _ in range(_ATTEMPTS):
            user = await self.users.credentials(claims.user_id)
            if user is None or user.is_disabled:
                raise InvalidAccessToken
            # By session: a stolen access token must not become the password, and nobody else's guesses must lock us out.
            with await self.throttle.admit(device_counters(claims.session_id)) as attempt:
                if not await self.passwords.matches(
                    current, user.password_hash, user_id=user.user_id, lane=Lane.KNOWN_DEVICE
                ):
                    await attempt.fail()
                    raise WrongPassword(user.user_id)
            session = NewSession(
                session_id=self.ids.session_id(),
                user_id=user.user_id,
                device=origin.device,
                address=origin.address,
            )
            stored = await self.passwords.hash(wish, lane=Lane.KNOWN_DEVICE)
            if await self.sessions.change_password(session, old=user.stored_password, stored=stored, once=once):
                return session.session_id
        raise Contended

    def first_pair(self, user_id: UUID, session_id: UUID) -> TokenPair:
        """The tokens of a session that has just begun: always the same refresh token, an access token made now."""
        return TokenPair(
            self.access_tokens.issue(user_id, session_id), self.refresh_tokens.make(session_id, FIRST_GENERATION)
        )


def _identifiers(profile: Profile) -> list[LoginIdentifier]:
    names = {
        IdentifierKind.USERNAME: profile.username,
        IdentifierKind.EMAIL: profile.email,
        IdentifierKind.PHONE_NUMBER: profile.phone_number,
    }
    return [LoginIdentifier(kind, name) for kind, name in names.items() if name]
