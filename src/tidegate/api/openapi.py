"""The OpenAPI 3.1 document, made once at start from the same types that encode the answers."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tidegate.api.endpoints.campaigns import CACHING
from tidegate.api.errors import ANSWERS
from tidegate.api.idempotency import PATTERN
from tidegate.api.schemas import (
    Availability,
    CampaignBody,
    CouponsBody,
    Health,
    Introspection,
    Outcome,
    Problem,
    ProfileBody,
    Readiness,
    ReservationBody,
    SessionsBody,
    Tokens,
)
from tidegate.domain.campaigns import CODE_CHARACTERS_MAX
from tidegate.domain.credentials import PASSWORD_BYTES_MAX, PASSWORD_CODE_POINTS_MIN
from tidegate.domain.users import BIRTH_DATE_MIN, IdentifierKind

Schema = dict[str, Any]

_WITHOUT_NUL: Final = "^[^\\u0000]*$"
_WITHOUT_CONTROLS: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"

_ONCE: Final[Schema] = {"type": "string"}
"""Of a form's unknown fields: they are ignored, but none may be given twice, as a list would be."""

_NAME: Final[Schema] = {"type": "string", "maxLength": 255}
_SECRET: Final[Schema] = {
    "type": "string",
    "format": "password",
    "minLength": 1,
    "maxLength": PASSWORD_BYTES_MAX,
    "pattern": _WITHOUT_NUL,
}
_NEW_SECRET: Final[Schema] = {**_SECRET, "minLength": PASSWORD_CODE_POINTS_MIN}
_TOKEN: Final[Schema] = {"type": "string", "minLength": 1, "pattern": _WITHOUT_NUL}
_NULLABLE_NAME: Final[Schema] = {"type": ["string", "null"], "maxLength": 255}
_FULL_NAME: Final[Schema] = {**_NULLABLE_NAME, "pattern": _WITHOUT_CONTROLS}
# Null passes both: they speak of strings only.
_BIRTH_DATE: Final[Schema] = {
    "type": ["string", "null"],
    "anyOf": [{"format": "date"}, {"maxLength": 0}],
    "description": f"YYYY-MM-DD (ISO 8601), from {BIRTH_DATE_MIN} to today.",
}
_NOT_CHANGEABLE: Final[Schema] = {"type": ["string", "null"], "maxLength": 0, "description": "Cannot be changed."}

# An empty or null field counts as absent, so one that is there is one that is not empty.
_ONE_IDENTIFIER: Final[list[Schema]] = [
    {"properties": {kind: {"type": "string", "minLength": 1}}, "required": [kind]} for kind in IdentifierKind
]
_ONLY_ONE_IDENTIFIER: Final[list[Schema]] = [
    {
        "properties": {kind: {"minLength": 1}} | {other: {"maxLength": 0} for other in IdentifierKind if other != kind},
        "required": [kind],
    }
    for kind in IdentifierKind
]

REGISTRATION: Final[Schema] = {
    "type": "object",
    "description": "At least one of username, email and phone_number.",
    "properties": {
        "username": {**_NULLABLE_NAME, "description": "PRECIS UsernameCaseMapped; without @, not beginning with +."},
        "email": {**_NULLABLE_NAME, "description": "Stored in lower case, its domain in IDNA form."},
        "phone_number": {**_NULLABLE_NAME, "description": "Stored as E.164."},
        "password": {**_NEW_SECRET, "description": "Any characters but NUL; none of the common passwords."},
        "full_name": _FULL_NAME,
        "birthdate": _BIRTH_DATE,
        "campaign": {
            "type": ["string", "null"],
            "pattern": f"^([A-Za-z0-9][A-Za-z0-9\\-]{{0,{CODE_CHARACTERS_MAX - 1}}})?$",
            "description": "The code of a campaign. One that is unknown or not open keeps nobody from registering.",
        },
    },
    "required": ["password"],
    "anyOf": _ONE_IDENTIFIER,
}
LOGIN_FORM: Final[Schema] = {
    "type": "object",
    "description": "Exactly one of username, email and phone_number.",
    "properties": {"username": _NAME, "email": _NAME, "phone_number": _NAME, "password": _SECRET},
    "required": ["password"],
    "oneOf": _ONLY_ONE_IDENTIFIER,
    "additionalProperties": _ONCE,
}
PROFILE_CHANGE: Final[Schema] = {
    "type": "object",
    "properties": {"full_name": _FULL_NAME, "birthdate": _BIRTH_DATE}
    | {str(kind): _NOT_CHANGEABLE for kind in IdentifierKind},
}
_SCOPE: Final[Schema] = {
    "type": "string",
    "enum": ["this", "others", "all", ""],
    "default": "this",
    "description": "Which sessions end; empty counts as absent.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What the document says of one route.

    Attributes:
        summary: One line.
        ok: The type of the body of a 200, or a media type when it is no JSON of ours, or None for any JSON object.
        refusals: The further statuses; 405, 500 and 503 can come from every path.
        form: The properties of a form body.
        json: The schema of a JSON body.
        query: Names of required query parameters.
        security: The name of the security scheme.
        kept: The Cache-Control under which it answers 304 to If-None-Match; None: it does not.
        is_repeatable: Takes an Idempotency-Key (ADR 0019).
    """

    summary: str
    ok: type | str | None
    refusals: tuple[int, ...] = ()
    form: Schema | None = None
    json: Schema | None = None
    query: tuple[str, ...] = ()
    security: str | None = None
    kept: str | None = None
    is_repeatable: bool = False


def _form(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": _ONCE}


_BODY: Final = (400, 413, 415)
_ON_COUPONS: Final = (400, 401, 404, 409, 410, 413, 429)
_RESERVATION: Final[Schema] = {"type": "string", "format": "uuid", "description": "What reserve has answered."}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/login"): Operation(
        summary="Log in; with a JSON body: register",
        ok=Tokens,
        refusals=(*_BODY, 403, 404, 429),
        form=LOGIN_FORM,
        json=REGISTRATION,
        is_repeatable=True,
    ),
    ("POST", "/register"): Operation(
        summary="Register", ok=Outcome, refusals=(*_BODY, 429), json=REGISTRATION, is_repeatable=True
    ),
    ("POST", "/refresh"): Operation(
        summary="Exchange a refresh token for the next token pair",
        ok=Tokens,
        refusals=(*_BODY, 401),
        form=_form({"refresh_token": _TOKEN}, "refresh_token"),
    ),
    ("POST", "/logout"): Operation(
        summary="End this session, the others, or all",
        ok=Outcome,
        refusals=(*_BODY, 401),
        form=_form({"scope": _SCOPE}),
        security="bearer",
    ),
    ("GET", "/me"): Operation(
        summary="Read one's profile", ok=ProfileBody, refusals=(401,), security="bearer", kept="private, no-cache"
    ),
    ("PATCH", "/me"): Operation(
        summary="Change one's profile", ok=ProfileBody, refusals=(*_BODY, 401), json=PROFILE_CHANGE, security="bearer"
    ),
    ("POST", "/me/password"): Operation(
        summary="Change one's password; every session ends and a new one begins",
        ok=Tokens,
        refusals=(*_BODY, 401, 403, 429),
        form=_form({"current_password": _SECRET, "new_password": _NEW_SECRET}, "current_password", "new_password"),
        security="bearer",
        is_repeatable=True,
    ),
    ("GET", "/me/sessions"): Operation(summary="List one's sessions", ok=SessionsBody, refusals=(401,), security="bearer"),
    ("DELETE", "/me/sessions/{id}"): Operation(
        summary="End one of one's sessions", ok=Outcome, refusals=(401, 404), security="bearer"
    ),
    ("GET", "/me/coupons"): Operation(
        summary="List one's coupons, or how far one has come on the way to one",
        ok=CouponsBody,
        refusals=(401,),
        security="bearer",
    ),
    ("GET", "/availability"): Operation(
        summary="Ask whether a username is free", ok=Availability, refusals=(400, 404, 429), query=("username",)
    ),
    ("GET", "/campaigns/{code}"): Operation(summary="Show a campaign", ok=CampaignBody, refusals=(404,), kept=CACHING),
    ("POST", "/coupons/{code}/redeem"): Operation(
        summary="Use one's coupon, once and for good",
        ok=Outcome,
        refusals=_ON_COUPONS,
        security="bearer",
        is_repeatable=True,
    ),
    ("POST", "/coupons/{code}/reserve"): Operation(
        summary="Keep one's coupon for a payment",
        ok=ReservationBody,
        refusals=_ON_COUPONS,
        security="bearer",
        is_repeatable=True,
    ),
    ("POST", "/coupons/{code}/confirm"): Operation(
        summary="The payment is through: use the coupon that is kept for it",
        ok=Outcome,
        refusals=(*_BODY, *_ON_COUPONS),
        form=_form({"reservation": _RESERVATION}, "reservation"),
        security="bearer",
        is_repeatable=True,
    ),
    ("POST", "/coupons/{code}/release"): Operation(
        summary="There was no payment: let the coupon go",
        ok=Outcome,
        refusals=(*_BODY, *_ON_COUPONS),
        form=_form({"reservation": _RESERVATION}, "reservation"),
        security="bearer",
        is_repeatable=True,
    ),
    ("POST", "/revoke"): Operation(
        summary="Give a token back (RFC 7009)", ok=Outcome, refusals=_BODY, form=_form({"token": _TOKEN}, "token")
    ),
    ("POST", "/introspect"): Operation(
        summary="Ask whether an access token is active (RFC 7662)",
        ok=Introspection,
        refusals=(*_BODY, 401, 429),
        form=_form({"token": _TOKEN}, "token"),
        security="client",
    ),
    ("GET", "/.well-known/jwks.json"): Operation(summary="The keys that verify access tokens (RFC 7517)", ok=None),
    ("GET", "/.well-known/oauth-authorization-server"): Operation(summary="Metadata (RFC 8414)", ok=None),
    ("GET", "/health/live"): Operation(summary="Whether the process runs", ok=Health),
    ("GET", "/health/ready"): Operation(summary="Whether a login would be served now", ok=Readiness),
    ("GET", "/openapi.json"): Operation(summary="This document", ok=None),
    ("GET", "/docs"): Operation(summary="This document for people", ok="text/html; charset=utf-8"),
}


def document(*, version: str, issuer: str) -> dict[str, Any]:
    """Return the whole document."""
    bodies = [Tokens, Outcome, Problem, ProfileBody, SessionsBody, CouponsBody, ReservationBody, CampaignBody]
    bodies += [Availability, Introspection, Health, Readiness]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for (method, template), operation in OPERATIONS.items():
        paths.setdefault(template, {})[method.lower()] = _operation(method, template, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": version,
            "description": "Registers people, logs them in and hands out tokens.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _refusal(status) for status in sorted(_messages())},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "client": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _messages() -> dict[int, list[str]]:
    messages: dict[int, list[str]] = {500: ["internal server error"]}
    for told in ANSWERS.values():
        if told.message not in messages.setdefault(told.status, []):
            messages[told.status].append(told.message)
    return messages


_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A random string of the client's, such as a UUID, in quotes or without "
    "(draft-ietf-httpapi-idempotency-key-header). A request that is sent again with its key within 24 hours happens once "
    "and is answered alike; another request with that key is 422. Ignored where a form logs in.",
    "schema": {"type": "string", "pattern": PATTERN},
}
_TAG: Final = {"description": "RFC 9110 section 8.8.3.", "required": True, "schema": {"type": "string"}}
_LOGIN_HEADERS: Final = {
    "Set-Cookie": {
        "description": "The device token, for a device that does not have it yet: sent back with the next login, nobody "
        "else's failures can throttle it.",
        "schema": {"type": "string"},
    },
}
_REFUSAL_HEADERS: Final[dict[int, dict[str, str]]] = {
    400: {"Tidegate-Reason": "The first field at fault and why, such as password=too_common."},
    401: {"WWW-Authenticate": "RFC 6750 section 3."},
    405: {"Allow": "What the path does."},
    429: {"Retry-After": "Seconds until the next attempt is let through."},
    503: {"Retry-After": "Seconds."},
}


def _refusal(status: int) -> dict[str, Any]:
    messages = _messages()[status]
    example = {"code": str(status), "message": messages[0]}
    return {
        "description": " or ".join(messages),
        "headers": {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in _REFUSAL_HEADERS.get(status, {}).items()
        },
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Outcome"}, "example": example},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }


def _operation(method: str, template: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method.lower()}{template.replace('/', '_').replace('{', '').replace('}', '').replace('.', '')}",
        "responses": _responses(method, template, operation),
    }
    parameters = _parameters(template, operation)
    if parameters:
        described["parameters"] = parameters
    content = {}
    if operation.form is not None:
        content["application/x-www-form-urlencoded"] = {"schema": operation.form}
    if operation.json is not None:
        content["application/json"] = {"schema": operation.json}
    if content:
        described["requestBody"] = {"required": method != "POST" or template != "/logout", "content": content}
    if operation.security:
        described["security"] = [{operation.security: []}]
    return described


def _parameters(template: str, operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": True, "schema": {**_NAME, "minLength": 1}} for name in operation.query
    ]
    if "{id}" in template:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}})
    if "{code}" in template:
        parameters.append({"name": "code", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}})
    if operation.kept:
        parameters.append({"name": "If-None-Match", "in": "header", "schema": {"type": "string"}})
    if operation.is_repeatable:
        parameters.append(_IDEMPOTENCY_KEY)
    return parameters


def _responses(method: str, template: str, operation: Operation) -> dict[str, Any]:
    match operation.ok:
        case None:
            content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
        case str() as media_type:
            content = {media_type: {"schema": {"type": "string"}}}
        case body:
            schema: Schema = {"$ref": f"#/components/schemas/{body.__name__}"}
            if (method, template) == ("POST", "/login"):  # a JSON body registers (ADR 0002)
                schema = {"anyOf": [schema, {"$ref": "#/components/schemas/Outcome"}]}
            content = {"application/json": {"schema": schema}}
    responses: dict[str, Any] = {"200": {"description": "Success", "content": content}}
    if (method, template) == ("POST", "/login"):
        responses["200"]["headers"] = _LOGIN_HEADERS
    if operation.kept:
        headers = {"ETag": _TAG, "Cache-Control": {"required": True, "schema": {"const": operation.kept}}}
        responses["200"]["headers"] = headers
        responses["304"] = {"description": "What If-None-Match names still stands", "headers": headers}
    key_refusals = (422,) if operation.is_repeatable else ()
    for status in sorted({*operation.refusals, *key_refusals, 405, 500, 503}):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses
