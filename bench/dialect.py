"""How a service is spoken to: the same driver measures ours and others that have the same calls under other names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

PASSWORD: Final = "correct horse battery staple"  # of users who exist for minutes
USERNAME: Final = "user{number}"
EMAIL: Final = "user{number}@example.com"
UNKNOWN: Final = "nobody{number}"
UNKNOWN_EMAIL: Final = "nobody{number}@example.com"
NEW: Final = "new{window}x{number}"
NEW_EMAIL: Final = "new{window}x{number}@example.com"
"""{window} is another for each window of load, so that no name is registered twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, as `orders.Stream` takes it.

    Attributes:
        head: Request line and headers.
        body: May be empty.
        good: The status that means success.
    """

    head: str
    body: str = ""
    good: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The calls of one service.

    Attributes:
        login: As user {number}.
        unknown: As somebody who is not registered; a good answer says so.
        register: Somebody new.
        me: With an access token.
        refresh: With a refresh token; None where there is no such thing.
        access_at: Where a login's answer has the access token, as `orders.Opening.access_at`.
        refresh_at: Where it has the refresh token; empty where there is none.
    """

    login: Call
    unknown: Call
    register: Call
    me: Call
    refresh: Call | None
    access_at: str
    refresh_at: str = ""


def form(path: str, fields: Mapping[str, str], *, good: int = 200) -> Call:
    """A POST of a form."""
    body = urlencode(fields, safe="{}@")
    return Call(head=f"POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n", body=body, good=good)


def posted_json(path: str, fields: Mapping[str, str], *, good: int = 200) -> Call:
    """A POST of JSON."""
    return Call(head=f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n", body=json.dumps(fields), good=good)


def with_token(path: str) -> Call:
    """A GET with the access token."""
    return Call(head=f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {{access}}\r\n")


TIDEGATE: Final = Dialect(
    login=form("/login", {"username": USERNAME, "password": PASSWORD}),
    unknown=form("/login", {"username": UNKNOWN, "password": PASSWORD}, good=404),
    register=posted_json(
        "/register", {"username": NEW, "email": NEW_EMAIL, "password": PASSWORD, "birthdate": "1990-01-02"}
    ),
    me=with_token("/me"),
    refresh=form("/refresh", {"refresh_token": "{refresh}"}),
    access_at="json:access_token",
    refresh_at="json:refresh_token",
)
