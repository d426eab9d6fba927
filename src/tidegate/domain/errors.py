"""Every way out of a use case that is not an answer.

    TidegateError
    ├── Refusal                 the caller's doing, expected, never logged as a fault
    │   ├── InvalidRequest      a field at fault, and why
    │   │   ├── IdentifierTaken a field fault that only the database can see
    │   │   └── CampaignCodeTaken  likewise
    │   ├── MalformedRequest    not even fields: broken JSON, not UTF-8, an HTTP message cut short
    │   ├── RequestTooLarge     more header or body than we read
    │   ├── UnsupportedMediaType
    │   ├── UnknownRoute        no such path
    │   ├── UnknownResource     a path that exists, for something that does not
    │   │   ├── UnknownCampaign  for the public, a draft has none
    │   │   └── UnknownGrant    the campaign is there, but gave that user or under that code nothing
    │   ├── MethodNotAllowed
    │   ├── UnknownUser         nobody has this login identifier
    │   ├── UnknownCoupon       or somebody else's
    │   ├── CouponVoided
    │   ├── CouponRedeemed
    │   ├── CouponReserved      kept for a payment that is under way
    │   ├── CouponExpired
    │   ├── ReservationOver     or never was
    │   ├── WrongPassword
    │   ├── TooManyAttempts     the caller's own excess; says nothing of the password
    │   ├── IdempotencyKeyReused  another request had this key before
    │   ├── CampaignStepRefused   a campaign in this state does not do that
    │   ├── CouponNotVoidable     it was never granted, is voided already or has been used
    │   ├── UserDisabled        told only to who knows the password
    │   ├── InvalidAccessToken  RFC 6750 section 3.1, invalid_token
    │   ├── InvalidRefreshToken RFC 6749 section 5.2, invalid_grant
    │   └── InvalidClient       RFC 6749 section 5.2, invalid_client
    └── Unavailable             ours, transient, worth another try
        ├── HashPoolSaturated
        ├── DatabaseUnavailable
        ├── Contended           what we relied on changed under us, and again
        │   └── IdempotencyKeyTaken  the same request took effect meanwhile
        ├── DeadlineExceeded
        └── NodeStopping        others are to be asked from now on

Anything else that is raised is a bug and is answered 500 without detail. The classes hold data, neither prose nor status:
`api/errors.py` turns each into HTTP. None of them ever holds a password, a token or a password hash.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from uuid import UUID

P = ParamSpec("P")
T = TypeVar("T")


class TidegateError(Exception):
    """Root of everything Tidegate raises on purpose."""


class Refusal(TidegateError):
    """The caller asked for what cannot be given; asking the same again gives the same."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field and what is wrong with it.

    Attributes:
        field: The name on the wire, such as ``birthdate``.
        reason: A short token for programs, such as ``too_common``; lower case and underscores.
    """

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}={self.reason}"


class InvalidRequest(Refusal):
    """At least one field is missing, malformed or not allowed."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(*faults)
        self.faults: tuple[FieldFault, ...] = faults


class FaultCollector:
    """Reads several fields and remembers every fault, so that all are told together."""

    def __init__(self) -> None:
        self._faults: list[FieldFault] = []

    def add(self, field: str, reason: str) -> None:
        """Remember one fault."""
        self._faults.append(FieldFault(field, reason))

    def collect(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what *read* returns, or None if it raised `InvalidRequest`; the faults are kept."""
        try:
            return read(*args, **kwargs)
        except InvalidRequest as refusal:
            self._faults.extend(refusal.faults)
            return None

    def raise_if_any(self) -> None:
        """Refuse the request if any field was at fault.

        Raises:
            InvalidRequest: With all faults, in the order they were found.
        """
        if self._faults:
            raise InvalidRequest(*self._faults)


class IdentifierTaken(InvalidRequest):
    """Somebody else has this username, email or phone number."""


class CampaignCodeTaken(InvalidRequest):
    """Another campaign has this code; codes are never free again, for links with them are about."""


class MalformedRequest(InvalidRequest):
    """The request cannot be read at all, so no field can be named: the fault's field is ``request`` or ``body``."""


class RequestTooLarge(Refusal):
    """More header or body than we are ready to read."""


class UnsupportedMediaType(Refusal):
    """The body is in a form that this path does not read."""


class UnknownRoute(Refusal):
    """There is no such path."""


class UnknownResource(Refusal):
    """The path is right, but the thing it names does not exist or is not the caller's."""


class UnknownCampaign(UnknownResource):
    """No campaign has this code; for the public, a draft has none."""


class UnknownGrant(UnknownResource):
    """The user has no seat in the campaign, or no coupon has the code."""


class MethodNotAllowed(Refusal):
    """The path does not do this.

    Attributes:
        allowed: The methods it knows, for the Allow header (RFC 9110 section 10.2.1).
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(*allowed)
        self.allowed = allowed


class UnknownUser(Refusal):
    """Nobody has this login identifier."""


class UnknownCoupon(Refusal):
    """The caller has no coupon of this code: whether anybody else has is not told."""


class CouponVoided(Refusal):
    """An operator has taken the coupon back."""


class CouponRedeemed(Refusal):
    """The coupon was used before."""


class CouponReserved(Refusal):
    """The coupon is kept for a payment that is under way."""


class CouponExpired(Refusal):
    """The coupon's last day is over."""


class ReservationOver(Refusal):
    """The coupon is not kept by this reservation: it was released, or another has come since, or it never was."""


class WrongPassword(Refusal):
    """The password is not the user's.

    Attributes:
        user_id: Whose it is not; for the log, never for the answer.
    """

    def __init__(self, user_id: UUID) -> None:
        super().__init__(user_id)
        self.user_id = user_id


class TooManyAttempts(Refusal):
    """Too many failed before; whether this one would have is not looked at.

    Attributes:
        retry_after_s: After how many seconds the next one is let through, if none fails meanwhile.
    """

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class IdempotencyKeyReused(Refusal):
    """Another request than this one took effect under the same idempotency key."""


class CampaignStepRefused(Refusal):
    """A campaign in this state does not do that.

    Attributes:
        state: Where it is, such as ``ended``.
        step: What was asked for, such as ``resume``.
    """

    def __init__(self, *, state: str, step: str) -> None:
        super().__init__(state, step)
        self.state = state
        self.step = step


class CouponNotVoidable(Refusal):
    """There is no coupon that could be taken back.

    Attributes:
        because: What it is instead: ``held``, ``lapsed``, ``voided``, ``returned`` or ``redeemed``.
    """

    def __init__(self, *, because: str) -> None:
        super().__init__(because)
        self.because = because


class UserDisabled(Refusal):
    """The password is right, but the user may not log in.

    Attributes:
        user_id: Who may not; for the log, never for the answer.
    """

    def __init__(self, user_id: UUID) -> None:
        super().__init__(user_id)
        self.user_id = user_id


class InvalidAccessToken(Refusal):
    """No access token, or one that is malformed, expired, revoked or not ours.

    Attributes:
        is_missing: The request carried no token at all (RFC 6750 section 3.1: then no error code is told).
    """

    def __init__(self, *, is_missing: bool = False) -> None:
        super().__init__(is_missing)
        self.is_missing = is_missing


class InvalidRefreshToken(Refusal):
    """The refresh token is malformed, expired, revoked, reused or not ours.

    Attributes:
        is_reuse: A token that had been replaced came back, so its session has been revoked (RFC 9700 section 4.14.2).
    """

    def __init__(self, *, is_reuse: bool = False) -> None:
        super().__init__(is_reuse)
        self.is_reuse = is_reuse


class InvalidClient(Refusal):
    """The client credentials of an introspection are missing or wrong."""


class Unavailable(TidegateError):
    """We cannot now; the same request may well succeed later.

    Attributes:
        retry_after_s: After how many seconds it is worth another try.
    """

    def __init__(self, *, retry_after_s: float = 1.0) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class HashPoolSaturated(Unavailable):
    """No hash thread will be free in time."""


class DatabaseUnavailable(Unavailable):
    """The database is away, refuses us, or has no connection free in time."""


class Contended(Unavailable):
    """The row that a decision relied on was changed by somebody else, each time we tried."""


class IdempotencyKeyTaken(Contended):
    """A request with this idempotency key took effect between our looking for one and our own; nothing was done again."""


class DeadlineExceeded(Unavailable):
    """The request took longer than it may (promise P10)."""


class NodeStopping(Unavailable):
    """This node takes leave: what is under way ends here, and the next is to go to another."""
