"""An HTTP client that hides nothing: the bytes it sends and gets are the test's."""

import base64
import http.client
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PROBLEM = "application/problem+json"
PASSWORD = "correct horse battery"

_serial = itertools.count()
_first_number = int.from_bytes(os.urandom(4))
_run = f"{os.getpid():x}{int.from_bytes(os.urandom(3)):x}"


def fresh_name(stem: str = "user") -> str:
    """A username that no test of this run has used."""
    return f"{stem}-{_run}-{next(_serial)}"


def fresh_phone_number() -> str:
    """A phone number, as E.164, that no test of this run has used."""
    return f"+4915{(_first_number + next(_serial)) % 10**9:09d}"


@dataclass(frozen=True)
class Reply:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str | None:
        return self.headers.get("tidegate-reason")


@dataclass
class Client:
    """One keep-alive connection, opened anew when the server has closed it."""

    port: int
    host: str = "127.0.0.1"
    timeout_s: float = 30.0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str | bytes] | None = None
    ) -> Reply:
        """Send one request as it is given."""
        for is_retry in (False, True):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
            try:
                self._connection.request(method, path, body=body, headers=dict(headers or {}))
                answer = self._connection.getresponse()
                content = answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                if is_retry:
                    raise
                continue
            except (OSError, http.client.HTTPException):
                self.close()  # half a request stands on it
                raise
            if answer.will_close:
                self.close()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
        raise AssertionError("unreachable")

    def get(self, path: str, *, token: str | None = None, **headers: str) -> Reply:
        return self.send("GET", path, headers=_headers(token, headers))

    def delete(self, path: str, *, token: str | None = None) -> Reply:
        return self.send("DELETE", path, headers=_headers(token, {}))

    def form(
        self, path: str, fields: Mapping[str, str] | None = None, *, token: str | None = None, **headers: str
    ) -> Reply:
        body = urlencode(fields or {}).encode()
        return self.send("POST", path, body=body, headers={"Content-Type": FORM} | _headers(token, headers))

    def send_json(
        self, path: str, members: object, *, method: str = "POST", token: str | None = None, **headers: str
    ) -> Reply:
        body = json.dumps(members).encode()
        return self.send(method, path, body=body, headers={"Content-Type": JSON} | _headers(token, headers))

    def register(self, username: str | None = None, password: str = PASSWORD, **members: object) -> str:
        """Register somebody and return their username."""
        name = username or fresh_name()
        reply = self.send_json("/register", {"username": name, "password": password, **members})
        assert reply.status == 200, (reply.status, reply.reason)
        return name

    def log_in(self, username: str, password: str = PASSWORD) -> dict[str, str]:
        """Log somebody in and return their token pair."""
        reply = self.form("/login", {"username": username, "password": password})
        assert reply.status == 200, (reply.status, reply.body)
        pair: dict[str, str] = reply.json
        return pair

    def somebody(self) -> "Somebody":
        """Register a new user and log them in."""
        name = self.register()
        pair = self.log_in(name)
        return Somebody(name, pair["access_token"], pair["refresh_token"])

    def person(self) -> "Person":
        """Register somebody with all three login identifiers and log them in."""
        name, phone_number = fresh_name(), fresh_phone_number()
        self.register(name, email=f"{name}@example.com", phone_number=phone_number)
        return Person.of(name, phone_number, self.log_in(name))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True)
class Somebody:
    """A user who has just logged in with `PASSWORD`."""

    username: str
    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class Person(Somebody):
    """A user with all three login identifiers who has just logged in with `PASSWORD`."""

    email: str
    phone_number: str
    password: str
    user_id: str
    session_id: str

    @classmethod
    def of(cls, username: str, phone_number: str, pair: Mapping[str, str]) -> "Person":
        """The user who was given *pair*."""
        claims = unverified_claims(pair["access_token"])
        return cls(
            username=username,
            access_token=pair["access_token"],
            refresh_token=pair["refresh_token"],
            email=f"{username}@example.com",
            phone_number=phone_number,
            password=PASSWORD,
            user_id=claims["sub"],
            session_id=claims["sid"],
        )


def basic(name: str, secret: str) -> str:
    """The Authorization of a client with a secret (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def unverified_claims(access_token: str) -> dict[str, Any]:
    """What *access_token* says, whoever signed it."""
    payload = access_token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _headers(token: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Keyword names become header names: `if_none_match` is If-None-Match."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return named if token is None else {"Authorization": f"Bearer {token}"} | named
