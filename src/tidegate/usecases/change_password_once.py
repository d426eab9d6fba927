"""Gives a user a new password, once for each idempotency key."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.claims import AccessClaims, TokenPair
from tidegate.domain.errors import InvalidAccessToken
from tidegate.domain.idempotency import Keying, Operation
from tidegate.domain.throttling import device_counters
from tidegate.ports.sessions import Sessions
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_password import ChangePassword
from tidegate.usecases.log_in import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePasswordOnce:
    """One change that may be sent again, with the access token that it has ended (ADR 0019)."""

    authenticate: Authenticate
    change_password: ChangePassword
    sessions: Sessions
    act_once: ActOnce
    keying: Keying

    async def __call__(self, claims: AccessClaims, key: str, *, current: str, new: str, origin: Origin) -> TokenPair:
        """Replace the password, or find that this very request has done so; either way the tokens of the same session.

        Args:
            claims: Of a token that we signed and that has not expired. Its session may be over: the change ends it, and who
                lost the answer has no other token. Who is let in so knows key, old password and new password.
            key: The client's.
            current: As for `ChangePassword`.
            new: As for `ChangePassword`.
            origin: As for `ChangePassword`.

        Raises:
            InvalidAccessToken: The session of *claims* is over, and not by this request; or the one that this request began
                is.
            TooManyAttempts: Too many of this session did not fit their key, or have named another password.
            IdempotencyKeyReused: *key* came before with other passwords, and the password was changed.
            Refusal: As `ChangePassword`.
            Unavailable: As `ChangePassword`.
        """
        caller = claims.user_id.bytes + claims.session_id.bytes
        request = self.keying(Operation.CHANGE_PASSWORD, key, caller=caller, fields=[current, new])

        async def change() -> UUID:
            await self.authenticate.refuse_revoked(claims)
            return await self.change_password.change(claims, current=current, new=new, origin=origin, once=request)

        session_id = await self.act_once(request, change, counters=device_counters(claims.session_id))
        if not await self.sessions.is_live(session_id):
            raise InvalidAccessToken  # no tokens of a session that has been ended since
        return self.change_password.first_pair(claims.user_id, session_id)
