"""The one table that turns what went wrong into HTTP, and the two forms in which it is told."""

import random
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final

import msgspec

from tidegate.api.http import JSON_TYPE, NO_STORE, Answer, Header, Request
from tidegate.domain import errors as e

PROBLEM_TYPE: Final = (b"content-type", b"application/problem+json")
_RETRY_JITTER_S: Final = 2.0
"""Added to Retry-After at random, so that those who were refused together do not come back together."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the caller is told.

    Attributes:
        status: Also the body's code.
        message: As the contract has it, exactly.
    """

    status: int
    message: str


INTERNAL: Final = Told(500, "internal server error")

ANSWERS: Final[dict[type[e.TidegateError], Told]] = {
    e.InvalidRequest: Told(400, "invalid request"),
    e.InvalidAccessToken: Told(401, "unauthorized"),
    e.InvalidRefreshToken: Told(401, "unauthorized"),
    e.InvalidClient: Told(401, "unauthorized"),
    e.WrongPassword: Told(403, "invalid password"),
    # Only who knows the password is told that the user is disabled, by Tidegate-Reason; the contract has no word for it.
    e.UserDisabled: Told(403, "invalid password"),
    e.TooManyAttempts: Told(429, "too many attempts"),
    e.UnknownUser: Told(404, "user not found"),
    e.UnknownCampaign: Told(404, "campaign not found"),
    # Of somebody else's too: nobody learns which codes there are.
    e.UnknownCoupon: Told(404, "coupon not found"),
    e.UnknownRoute: Told(404, "not found"),
    e.UnknownResource: Told(404, "not found"),
    e.MethodNotAllowed: Told(405, "method not allowed"),
    e.CouponRedeemed: Told(409, "coupon redeemed"),
    e.CouponReserved: Told(409, "coupon reserved"),
    e.ReservationOver: Told(409, "reservation over"),
    e.CouponExpired: Told(410, "coupon expired"),
    e.CouponVoided: Told(410, "coupon voided"),
    e.RequestTooLarge: Told(413, "request too large"),
    e.UnsupportedMediaType: Told(415, "unsupported media type"),
    # The draft's status for it (section 2.7, ADR 0019).
    e.IdempotencyKeyReused: Told(422, "idempotency key reused"),
    e.CampaignStepRefused: Told(409, "not in this state"),
    e.CouponNotVoidable: Told(409, "not voidable"),
    e.Unavailable: Told(503, "service unavailable"),
}

UNIFORM_ANSWERS: Final = ANSWERS | {e.UnknownUser: ANSWERS[e.WrongPassword]}
"""ADR 0003, the hardened profile: nobody learns from an answer who is registered (ASVS v5.0.0-6.3.8)."""


REASONS: Final[dict[type[e.TidegateError], e.FieldFault]] = {
    e.CouponRedeemed: e.FieldFault("coupon", "redeemed"),
    e.CouponReserved: e.FieldFault("coupon", "reserved"),
    e.ReservationOver: e.FieldFault("reservation", "over"),
    e.CouponExpired: e.FieldFault("coupon", "expired"),
    e.CouponVoided: e.FieldFault("coupon", "voided"),
}
"""Told in one short token too, for programs; none stands for a field that is malformed."""

_TOLD_ALIKE: Final = frozenset({e.UnknownUser, e.WrongPassword, e.InvalidRefreshToken})
"""Of which nothing but the class is told, and which come by the thousand: one answer serves for all of a class."""

_TOLD_WHY: Final = (e.UserDisabled, e.CampaignStepRefused, e.CouponNotVoidable, *REASONS)
"""Beside those with a field at fault. A crowd of refusals is to cost one look, not one for each of these."""


class _Body(msgspec.Struct):
    code: str
    message: str


class _Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


def fixed_body(status: int, message: str) -> bytes:
    """The contract's body: `{"code":"...","message":"..."}`, the code a string, no further keys."""
    return msgspec.json.encode(_Body(str(status), message))


SUCCESS: Final = fixed_body(200, "success")


def outcome_of(error: BaseException) -> str:
    """The word for *error* in logs and metrics: its class in lower case and underscores."""
    return _word_for(type(error).__name__)


@cache
def _word_for(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Refuser:
    """Answers what went wrong.

    Args:
        is_uniform: The hardened profile.
    """

    def __init__(self, *, is_uniform: bool) -> None:
        self._answers = UNIFORM_ANSWERS if is_uniform else ANSWERS
        self._is_uniform = is_uniform
        self._told: dict[type, Told] = {}
        self._alike: dict[type, Answer] = {}
        self._until_later: dict[int, Answer] = {}

    def _tell(self, kind: type[e.TidegateError]) -> Told:
        """What is told of *kind*, or of the nearest class above it that the table has."""
        found = next((self._answers[above] for above in kind.__mro__ if above in self._answers), INTERNAL)
        self._told[kind] = found
        return found

    def answer(self, error: e.TidegateError, request: Request) -> Answer:
        """The answer to *request* that ended in *error*."""
        wants_problem = _wants_problem(request)
        if type(error) in _TOLD_ALIKE and not wants_problem:
            return self._alike.get(type(error)) or self._tell_alike(error)
        told = self._told.get(type(error)) or self._tell(type(error))
        faults = self._faults(error)
        headers: list[Header] = [NO_STORE, *_headers_of(error)]
        if wants_problem:
            return Answer(told.status, _problem(told, faults), [PROBLEM_TYPE, *headers])
        if faults:
            headers.append((b"tidegate-reason", str(faults[0]).encode("ascii", "replace")))
        return Answer(told.status, fixed_body(told.status, told.message), [JSON_TYPE, *headers])

    def _tell_alike(self, error: e.TidegateError) -> Answer:
        told = self._tell(type(error))
        body = fixed_body(told.status, told.message)
        answer = self._alike[type(error)] = Answer(told.status, body, [JSON_TYPE, NO_STORE, *_headers_of(error)])
        return answer

    def later(self, refusal: e.Unavailable) -> Answer:
        """What whoever is turned away with *refusal* is told, in the plain form. There are as many answers as seconds."""
        seconds = _seconds_until_retry(refusal)
        answer = self._until_later.get(seconds)
        if answer is None:
            told = self._answers[e.Unavailable]
            body = fixed_body(told.status, told.message)
            answer = Answer(told.status, body, [JSON_TYPE, NO_STORE, _retry_after(seconds)])
            self._until_later[seconds] = answer
        return answer

    def internal(self, request: Request) -> Answer:
        """The answer to *request* that ended in a bug: no detail."""
        if _wants_problem(request):
            return Answer(INTERNAL.status, _problem(INTERNAL, ()), [PROBLEM_TYPE, NO_STORE])
        return Answer(INTERNAL.status, fixed_body(INTERNAL.status, INTERNAL.message))

    def _faults(self, error: e.TidegateError) -> tuple[e.FieldFault, ...]:
        if isinstance(error, e.InvalidRequest):
            return error.faults
        if not isinstance(error, _TOLD_WHY):
            return ()
        if isinstance(error, e.UserDisabled) and not self._is_uniform:
            return (e.FieldFault("user", "disabled"),)
        if isinstance(error, e.CampaignStepRefused):
            return (e.FieldFault("state", error.state),)
        if isinstance(error, e.CouponNotVoidable):
            return (e.FieldFault("coupon", error.because),)
        reason = REASONS.get(type(error))
        return () if reason is None else (reason,)


def _wants_problem(request: Request) -> bool:
    for accepted in request.header_values(b"accept"):  # noqa: SIM110 - any() costs three times as much, once a refusal
        if b"application/problem+json" in accepted.lower():
            return True
    return False


def _headers_of(error: e.TidegateError) -> list[Header]:
    match error:
        case e.InvalidAccessToken(is_missing=True):
            return [(b"www-authenticate", b'Bearer realm="tidegate"')]
        case e.InvalidAccessToken() | e.InvalidRefreshToken():
            return [(b"www-authenticate", b'Bearer realm="tidegate", error="invalid_token"')]
        case e.InvalidClient():
            return [(b"www-authenticate", b'Basic realm="tidegate", charset="UTF-8"')]
        case e.MethodNotAllowed():
            return [(b"allow", ", ".join(error.allowed).encode())]
        case e.TooManyAttempts():
            # To the next second after it: who comes back exactly then is let through.
            return [(b"retry-after", str(int(error.retry_after_s) + 1).encode())]
        case e.Unavailable():
            return [_retry_after(_seconds_until_retry(error))]
        case _:
            return []


def _seconds_until_retry(refusal: e.Unavailable) -> int:
    wait_s = refusal.retry_after_s + random.random() * _RETRY_JITTER_S  # noqa: S311 - spreads load, guards nothing
    return max(1, round(wait_s))


def _retry_after(seconds: int) -> Header:
    return (b"retry-after", str(seconds).encode())


def _problem(told: Told, faults: tuple[e.FieldFault, ...]) -> bytes:
    """RFC 9457; the type is the anchor of the page that explains it."""
    detail = ", ".join(f"{fault.field}: {fault.reason}" for fault in faults) or HTTPStatus(told.status).description
    problem = _Problem(
        type=f"/docs#{told.message.replace(' ', '-')}",
        title=told.message,
        status=told.status,
        detail=detail or told.message,
        errors=[{"field": fault.field, "reason": fault.reason} for fault in faults],
    )
    return msgspec.json.encode(problem)
