"""The words in which the tables of the contract are written: a call, who makes it, and the exact answer that must come."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from string import Template
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.support.client import FORM, JSON, PROBLEM, Client, Person, Reply

NO_STORE: Final = "no-store"
ANYTHING: Final = re.compile(rb"(?s).+")


@dataclass(frozen=True, kw_only=True)
class Says:
    """What an answer must be, to the byte.

    Attributes:
        body: The exact bytes, or a pattern for all of them.
        cache: Header Cache-Control, exactly.
        headers: Further headers, exactly; a pattern for the whole value; None: must not be there.
    """

    status: int
    body: bytes | re.Pattern[bytes]
    cache: str | None = NO_STORE
    media_type: str | None = JSON
    headers: Mapping[str, str | re.Pattern[str] | None] = field(default_factory=dict)

    def but(self, **headers: str | None) -> "Says":
        """The same with other *headers*; `www_authenticate` is WWW-Authenticate."""
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})

    def check(self, reply: Reply, *, reason: str | None = None) -> None:
        """Assert that *reply* is this answer, with *reason* in Tidegate-Reason or without that header."""
        told = (reply.status, reply.reason, reply.body)
        assert reply.status == self.status, told
        assert reply.reason == reason, told
        assert self.body == reply.body if isinstance(self.body, bytes) else self.body.fullmatch(reply.body), told
        assert reply.headers.get("content-type") == self.media_type
        assert reply.headers.get("cache-control") == self.cache
        for name, expected in self.headers.items():
            value = reply.headers.get(name)
            if isinstance(expected, re.Pattern):
                assert value is not None, name
                assert expected.fullmatch(value), (name, value)
            else:
                assert value == expected, (name, value)
        assert reply.headers["x-request-id"]
        assert "server" not in reply.headers
        if self.status != 304:
            assert int(reply.headers["content-length"]) == len(reply.body)


def refusal(status: int, message: str, **headers: str | None) -> Says:
    """An error in the contract's form: the code a string, no further keys."""
    says = Says(status=status, body=b'{"code":"%d","message":"%s"}' % (status, message.encode()))
    return says.but(**headers)


def body(pattern: str) -> re.Pattern[bytes]:
    """A whole body, written as a pattern without escaped braces: ``<`` and ``>`` stand for them."""
    return re.compile(pattern.replace("<", r"\{").replace(">", r"\}").encode())


ACCESS_TOKEN: Final = r'"[\w-]+\.[\w-]+\.[\w-]+"'
REFRESH_TOKEN: Final = r'"[\w-]{60,80}"'

SUCCESS: Final = Says(status=200, body=b'{"code":"200","message":"success"}')
TOKENS: Final = Says(status=200, body=body(f'<"access_token":{ACCESS_TOKEN},"refresh_token":{REFRESH_TOKEN}>'))

INVALID_REQUEST: Final = refusal(400, "invalid request", www_authenticate=None)
TOKEN_MISSING: Final = refusal(401, "unauthorized", www_authenticate='Bearer realm="tidegate"')
TOKEN_REFUSED: Final = refusal(401, "unauthorized", www_authenticate='Bearer realm="tidegate", error="invalid_token"')
CLIENT_REFUSED: Final = refusal(401, "unauthorized", www_authenticate='Basic realm="tidegate", charset="UTF-8"')
INVALID_PASSWORD: Final = refusal(403, "invalid password")
USER_NOT_FOUND: Final = refusal(404, "user not found")
NOT_FOUND: Final = refusal(404, "not found")
TOO_LARGE: Final = refusal(413, "request too large")
UNSUPPORTED: Final = refusal(415, "unsupported media type")


def not_allowed(allow: str) -> Says:
    """405 with the methods that the path knows."""
    return refusal(405, "method not allowed", allow=allow)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the contract. In every text `$username`, `$email` and so on stand for the person's (see `Person`).

    Attributes:
        name: A sentence; the test's id.
        call: Method and path.
        gives: The answer.
        reason: Its Tidegate-Reason, such as ``password=too_short``.
        form: The fields of a form body.
        json: A JSON body.
        content: A body as it is, of *media_type*.
        bearer: The token in Authorization.
        headers: Further request headers.
    """

    name: str
    call: str
    gives: Says
    reason: str | None = None
    form: Mapping[str, str] | None = None
    json: Any = None
    content: bytes | None = None
    media_type: str | None = None
    bearer: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, client: Client, person: Person | None = None, **headers: str) -> Reply:
        """Make the call."""

        def filled(text: str) -> str:
            return text if person is None else Template(text).substitute(vars(person))

        method, path = self.call.split(" ", 1)
        sent = {name: filled(value) for name, value in self.headers.items()} | headers
        content, media_type = self.content, self.media_type
        if self.form is not None:
            content, media_type = urlencode({name: filled(value) for name, value in self.form.items()}).encode(), FORM
        elif self.json is not None:
            content, media_type = _filled_json(self.json, filled), JSON
        elif content is not None:
            content = filled(content.decode("latin-1")).encode("latin-1")
        if media_type is not None:
            sent["Content-Type"] = media_type
        if self.bearer is not None:
            sent["Authorization"] = f"Bearer {filled(self.bearer)}"
        return client.send(method, filled(path), body=content, headers=sent)

    def check(self, client: Client, person: Person | None = None) -> Reply:
        """Make the call and assert that its answer is the contract's."""
        reply = self.send(client, person)
        self.gives.check(reply, reason=self.reason)
        return reply

    def check_problem(self, client: Client, person: Person | None = None) -> None:
        """Make the call as a client that reads RFC 9457, and assert that it hears the same with the field at fault."""
        reply = self.send(client, person, Accept=PROBLEM)
        message = json.loads(self.gives.body)["message"] if isinstance(self.gives.body, bytes) else ""
        assert (reply.status, reply.headers["content-type"]) == (self.gives.status, PROBLEM)
        assert reply.headers["cache-control"] == NO_STORE
        told = reply.json
        assert list(told)[:4] == ["type", "title", "status", "detail"], told
        assert (told["type"], told["title"]) == (f"/docs#{message.replace(' ', '-')}", message)
        assert told["status"] == self.gives.status
        if self.reason is not None:
            name, _, reason = self.reason.partition("=")
            assert {"field": name, "reason": reason} in told["errors"], told
            assert f"{name}: {reason}" in told["detail"], told


def _filled_json(value: object, filled: Callable[[str], str]) -> bytes:
    def walk(part: object) -> object:
        if isinstance(part, str):
            return filled(part)
        if isinstance(part, dict):
            return {name: walk(member) for name, member in part.items()}
        return [walk(member) for member in part] if isinstance(part, list) else part

    return json.dumps(walk(value)).encode()


def table(*rows: Row) -> pytest.MarkDecorator:
    """Run a test for each of *rows*."""
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])
