"""The bodies that are JSON, as types: what is encoded, and what the OpenAPI document says of it."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tidegate.domain.claims import TokenPair
from tidegate.domain.sessions import SessionView
from tidegate.domain.users import Profile

encode = msgspec.json.encode


class Tokens(msgspec.Struct):
    """A token pair."""

    access_token: Annotated[str, Meta(description="JWT (RFC 9068, EdDSA); send it as Authorization: Bearer.")]
    refresh_token: Annotated[str, Meta(description="Opaque; works once, then its successor does.")]

    @classmethod
    def of(cls, pair: TokenPair) -> "Tokens":
        """The body for *pair*."""
        return cls(pair.access_token, pair.refresh_token)


class Outcome(msgspec.Struct):
    """Success without more to say, and every error."""

    code: Annotated[str, Meta(description="The HTTP status, as a string.", examples=["200"])]
    message: Annotated[str, Meta(examples=["success"])]


class FieldError(msgspec.Struct):
    """One field at fault."""

    field: str
    reason: Annotated[str, Meta(examples=["too_common"])]


class Problem(msgspec.Struct):
    """An error for who sends Accept: application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ProfileBody(msgspec.Struct):
    """What a user sees of themselves."""

    userid: UUID
    username: str | None
    email: str | None
    phone_number: Annotated[str, Meta(description="E.164")] | None
    full_name: str | None
    birthdate: date | None
    last_login: Annotated[datetime, Meta(description="UTC; seconds late, for it is written after the answer.")] | None

    @classmethod
    def of(cls, profile: Profile) -> "ProfileBody":
        """The body for *profile*."""
        return cls(
            userid=profile.user_id,
            username=profile.username,
            email=profile.email,
            phone_number=profile.phone_number,
            full_name=profile.full_name,
            birthdate=profile.birth_date,
            last_login=profile.last_login,
        )


class SessionBody(msgspec.Struct):
    """One live session."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    device: Annotated[str, Meta(description="The User-Agent of its login.")] | None
    address: str | None
    current: Annotated[bool, Meta(description="Whether the caller's access token is of this session.")]

    @classmethod
    def of(cls, view: SessionView, *, current: UUID) -> "SessionBody":
        """The body for *view*, seen from the session *current*."""
        return cls(
            id=view.session_id,
            created_at=view.created_at,
            last_used_at=view.last_used_at,
            expires_at=view.expires_at,
            device=view.device,
            address=view.address,
            current=view.session_id == current,
        )


class SessionsBody(msgspec.Struct):
    """All live sessions of the caller, the latest used first."""

    sessions: list[SessionBody]


class Availability(msgspec.Struct):
    """Whether a username is free."""

    available: bool


class Introspection(msgspec.Struct, omit_defaults=True):
    """What RFC 7662 section 2.2 asks for; of a token that is not active only that."""

    active: bool
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    client_id: str | None = None
    sid: str | None = None
    jti: str | None = None
    exp: int | None = None
    iat: int | None = None


class Health(msgspec.Struct):
    """A healthy answer."""

    status: str


class Readiness(msgspec.Struct, omit_defaults=True):
    """A ready answer."""

    status: str
    full: Annotated[list[str], Meta(description="Lanes of the hash pool in which a newcomer would be told 503 now.")] = []
