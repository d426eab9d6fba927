"""GET and PATCH /me."""

from dataclasses import dataclass
from typing import Final

from tidegate.api.bearer import authenticated
from tidegate.api.conditional import names, tag_of
from tidegate.api.fields import read_json, text_member
from tidegate.api.http import JSON_TYPE, Answer, Header, Request
from tidegate.api.schemas import ProfileBody, encode
from tidegate.domain.errors import FaultCollector, InvalidAccessToken
from tidegate.domain.users import IdentifierKind, Profile
from tidegate.ports.profiles import Profiles
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_profile import ChangeProfile

_PRIVATE: Final = (b"cache-control", b"private, no-cache")
"""The device may keep a profile, but must ask whether it still stands (DESIGN 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMeEndpoint:
    """Bearer."""

    authenticate: Authenticate
    profiles: Profiles

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the profile, or 304 if the caller has it already."""
        claims = await authenticated(request, self.authenticate)
        profile = await self.profiles.profile(claims.user_id)
        if profile is None:
            raise InvalidAccessToken
        return profile_answer(profile, if_none_match=b",".join(request.header_values(b"if-none-match")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMeEndpoint:
    """Bearer; JSON: `full_name` and `birthdate`, each optional; what is absent, null or empty stays as it is."""

    authenticate: Authenticate
    change_profile: ChangeProfile

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the profile as it is then."""
        claims = await authenticated(request, self.authenticate)
        members = read_json(request)
        faults = FaultCollector()
        for kind in IdentifierKind:
            if members.get(kind) not in (None, ""):
                faults.add(kind, "not_changeable")
        full_name = faults.collect(text_member, members, "full_name")
        birthdate = faults.collect(text_member, members, "birthdate")
        faults.raise_if_any()
        return profile_answer(await self.change_profile(claims, full_name=full_name, birthdate=birthdate))


def profile_answer(profile: Profile, *, if_none_match: bytes = b"") -> Answer:
    """Return *profile* with its ETag (RFC 9110 section 8.8.3), or 304 when *if_none_match* names it."""
    body = encode(ProfileBody.of(profile))
    etag = tag_of(body)
    headers: list[Header] = [(b"etag", etag), _PRIVATE]
    if if_none_match and names(if_none_match, etag):
        return Answer(304, b"", headers)
    return Answer(200, body, [JSON_TYPE, *headers])
