"""Every error has one answer, in the contract's exact bytes."""

import json
from uuid import UUID

import pytest

from tidegate.api.errors import ANSWERS, REASONS, UNIFORM_ANSWERS, Refuser, outcome_of
from tidegate.api.http import Request
from tidegate.domain import errors as e

USER = UUID(int=7)
EXAMPLES: list[tuple[e.TidegateError, bytes]] = [
    (e.InvalidRequest(e.FieldFault("password", "too_common")), b'{"code":"400","message":"invalid request"}'),
    (e.IdentifierTaken(e.FieldFault("username", "taken")), b'{"code":"400","message":"invalid request"}'),
    (e.MalformedRequest(e.FieldFault("body", "not_json")), b'{"code":"400","message":"invalid request"}'),
    (e.InvalidAccessToken(is_missing=True), b'{"code":"401","message":"unauthorized"}'),
    (e.InvalidRefreshToken(is_reuse=True), b'{"code":"401","message":"unauthorized"}'),
    (e.InvalidClient(), b'{"code":"401","message":"unauthorized"}'),
    (e.WrongPassword(USER), b'{"code":"403","message":"invalid password"}'),
    (e.UserDisabled(USER), b'{"code":"403","message":"invalid password"}'),
    (e.UnknownUser(), b'{"code":"404","message":"user not found"}'),
    (e.UnknownCampaign(), b'{"code":"404","message":"campaign not found"}'),
    (e.UnknownCoupon(), b'{"code":"404","message":"coupon not found"}'),
    (e.CouponRedeemed(), b'{"code":"409","message":"coupon redeemed"}'),
    (e.CouponReserved(), b'{"code":"409","message":"coupon reserved"}'),
    (e.ReservationOver(), b'{"code":"409","message":"reservation over"}'),
    (e.CouponExpired(), b'{"code":"410","message":"coupon expired"}'),
    (e.CouponVoided(), b'{"code":"410","message":"coupon voided"}'),
    (e.UnknownRoute(), b'{"code":"404","message":"not found"}'),
    (e.UnknownResource(), b'{"code":"404","message":"not found"}'),
    (e.MethodNotAllowed(("GET",)), b'{"code":"405","message":"method not allowed"}'),
    (e.RequestTooLarge(), b'{"code":"413","message":"request too large"}'),
    (e.UnsupportedMediaType(), b'{"code":"415","message":"unsupported media type"}'),
    (e.HashPoolSaturated(retry_after_s=3.0), b'{"code":"503","message":"service unavailable"}'),
    (e.IdempotencyKeyReused(), b'{"code":"422","message":"idempotency key reused"}'),
    (e.IdempotencyKeyTaken(), b'{"code":"503","message":"service unavailable"}'),
    (e.TooManyAttempts(retry_after_s=7.2), b'{"code":"429","message":"too many attempts"}'),
    (e.CampaignCodeTaken(e.FieldFault("code", "taken")), b'{"code":"400","message":"invalid request"}'),
    (e.UnknownGrant(), b'{"code":"404","message":"not found"}'),
    (e.CampaignStepRefused(state="ended", step="resume"), b'{"code":"409","message":"not in this state"}'),
    (e.CouponNotVoidable(because="redeemed"), b'{"code":"409","message":"not voidable"}'),
    (e.DatabaseUnavailable(), b'{"code":"503","message":"service unavailable"}'),
    (e.Contended(), b'{"code":"503","message":"service unavailable"}'),
    (e.DeadlineExceeded(), b'{"code":"503","message":"service unavailable"}'),
    (e.NodeStopping(), b'{"code":"503","message":"service unavailable"}'),
]


def a_request(accept: bytes | None = None) -> Request:
    return Request("POST", "/login", b"", {} if accept is None else {b"accept": [accept]}, None, "id")


@pytest.mark.parametrize(("error", "body"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_the_body_is_the_contract_s(error, body):
    answer = Refuser(is_uniform=False).answer(error, a_request())
    assert answer.body == body
    assert answer.status == int(json.loads(body)["code"])
    assert answer.headers.count((b"content-type", b"application/json")) == 1
    assert (b"cache-control", b"no-store") in answer.headers


def test_every_class_of_error_has_an_example_and_an_answer():
    def leaves(kind: type[e.TidegateError]) -> set[type[e.TidegateError]]:
        return {kind}.union(*(leaves(each) for each in kind.__subclasses__()))

    ours = {kind for kind in leaves(e.TidegateError) if kind.__module__ == e.__name__}
    abstract = {e.TidegateError, e.Refusal, e.Unavailable}
    assert {type(error) for error, _ in EXAMPLES} == ours - abstract
    for kind in ours - {e.TidegateError, e.Refusal}:
        assert any(base in ANSWERS for base in kind.__mro__), kind


def test_a_field_at_fault_is_told_in_one_short_token():
    error = e.InvalidRequest(e.FieldFault("password", "too_common"), e.FieldFault("email", "invalid"))
    assert (b"tidegate-reason", b"password=too_common") in Refuser(is_uniform=False).answer(error, a_request()).headers


def test_problem_json_tells_every_field_to_who_asks():
    error = e.InvalidRequest(e.FieldFault("password", "too_common"), e.FieldFault("email", "invalid"))
    answer = Refuser(is_uniform=False).answer(error, a_request(b"application/problem+json"))
    assert (b"content-type", b"application/problem+json") in answer.headers
    assert json.loads(answer.body) == {
        "type": "/docs#invalid-request",
        "title": "invalid request",
        "status": 400,
        "detail": "password: too_common, email: invalid",
        "errors": [{"field": "password", "reason": "too_common"}, {"field": "email", "reason": "invalid"}],
    }


def test_what_stands_against_a_coupon_is_told_in_one_token_too():
    refuser = Refuser(is_uniform=False)
    for error, reason in REASONS.items():
        assert (b"tidegate-reason", str(reason).encode()) in refuser.answer(error(), a_request()).headers
        problem = json.loads(refuser.answer(error(), a_request(b"application/problem+json")).body)
        assert problem["errors"] == [{"field": reason.field, "reason": reason.reason}]
    assert e.UnknownCoupon not in REASONS


def test_a_bug_tells_nothing():
    refuser = Refuser(is_uniform=False)
    assert refuser.internal(a_request()).body == b'{"code":"500","message":"internal server error"}'
    assert json.loads(refuser.internal(a_request(b"application/problem+json")).body)["status"] == 500


def test_the_hardened_profile_answers_unknown_wrong_and_disabled_alike():
    """ADR 0003: status, body and headers are the same, in both forms."""
    refuser = Refuser(is_uniform=True)
    for accept in (None, b"application/problem+json"):
        answers = [
            refuser.answer(error, a_request(accept))
            for error in (e.UnknownUser(), e.WrongPassword(USER), e.UserDisabled(USER))
        ]
        assert answers[0] == answers[1] == answers[2]
    assert UNIFORM_ANSWERS.keys() == ANSWERS.keys()


def test_a_missing_token_is_asked_for_and_a_bad_one_is_named():
    """RFC 6750 section 3.1."""
    refuser = Refuser(is_uniform=False)
    asked = dict(refuser.answer(e.InvalidAccessToken(is_missing=True), a_request()).headers)
    refused = dict(refuser.answer(e.InvalidAccessToken(), a_request()).headers)
    assert asked[b"www-authenticate"] == b'Bearer realm="tidegate"'
    assert refused[b"www-authenticate"] == b'Bearer realm="tidegate", error="invalid_token"'


def test_an_unavailable_answer_says_when_to_come_back_spread_out():
    """Those who were refused together must not come back together."""
    refuser = Refuser(is_uniform=False)
    waits = {
        int(dict(refuser.answer(e.HashPoolSaturated(retry_after_s=5), a_request()).headers)[b"retry-after"])
        for _ in range(200)
    }
    assert waits == {5, 6, 7}


@pytest.mark.parametrize(("wait_s", "told"), [(0.0, b"1"), (0.2, b"1"), (7.0, b"8"), (7.9, b"8")])
def test_who_tries_too_often_is_told_the_second_from_which_the_next_is_let_through(wait_s, told):
    """Never before it: who then comes back and is refused again will not believe us."""
    answer = Refuser(is_uniform=False).answer(e.TooManyAttempts(retry_after_s=wait_s), a_request())
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (429, told)


def test_an_outcome_is_the_class_in_words():
    assert outcome_of(e.WrongPassword(USER)) == "wrong_password"


def test_who_is_turned_away_hears_what_any_refusal_for_want_of_a_thread_says() -> None:
    refuser = Refuser(is_uniform=False)
    refusal = e.HashPoolSaturated(retry_after_s=3.0)
    told: set[bytes] = set()
    for _ in range(200):
        plain, later = refuser.answer(refusal, a_request()), refuser.later(refusal)
        assert (later.status, later.body) == (plain.status, plain.body)
        assert sorted(name for name, _ in later.headers) == sorted(name for name, _ in plain.headers)
        told.add(dict(later.headers)[b"retry-after"])
    assert told == {b"3", b"4", b"5"}
