"""The calls that a client can make, each recorded, and what it remembers of users and sessions meanwhile.

Nothing is ever sent twice by itself: whether something happened once or twice is what is to be found out.
"""

import contextlib
import http.client
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from tests.faults.history import Kind, Recorder, digest
from tests.support.client import FORM, JSON, Reply, fresh_phone_number, unverified_claims

PATIENCE_S: Final = 20.0
"""Far over every deadline of a node, so that a late answer is seen to be late."""


@dataclass
class Session:
    """What a device holds.

    Attributes:
        session_id: Its own.
        past: The refresh tokens that were replaced.
        asked_at_s: When the present refresh token was first presented without an answer.
    """

    session_id: str
    access_token: str
    refresh_token: str
    past: list[str] = field(default_factory=list)
    asked_at_s: float | None = None


@dataclass
class Person:
    """A user as their client knows them.

    Attributes:
        names: By kind of login identifier.
        possible: The labels of the passwords that may be the right one, the likeliest last.
        sessions: Those that may be alive.
        ended: Those that must be dead, or have been refused.
        labels: How many passwords have been thought of.
    """

    names: Mapping[str, str]
    possible: list[int] = field(default_factory=lambda: [0])
    sessions: list[Session] = field(default_factory=list)
    ended: list[Session] = field(default_factory=list)
    labels: int = 1
    wishes: int = 0

    @property
    def username(self) -> str:
        return self.names["username"]

    def password(self, label: int) -> str:
        """What the label *label* stands for."""
        return f"correct horse {label} of {self.username}"

    def all_over(self) -> None:
        """Every session has ended."""
        self.ended += self.sessions
        self.sessions = []


class Caller:
    """One client's connections, one to each node; never repeats a request."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def send(
        self, node: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The whole answer.

        Raises:
            OSError, HTTPException: There was none, or not all of it.
        """
        connection = self._connections.get(node)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._ports[node], timeout=PATIENCE_S)
            self._connections[node] = connection
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            self._forget(node)
            raise
        if answer.will_close:
            self._forget(node)
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def form(
        self, node: str, path: str, fields: Mapping[str, str], token: str | None = None, key: str | None = None
    ) -> Reply:
        """POST *fields*."""
        headers = {"Content-Type": FORM} | _bearer(token) | _keyed(key)
        return self.send(node, "POST", path, urlencode(fields).encode(), headers)

    def json(
        self, node: str, method: str, path: str, members: bytes, token: str | None = None, key: str | None = None
    ) -> Reply:
        """Send *members*."""
        return self.send(node, method, path, members, {"Content-Type": JSON} | _bearer(token) | _keyed(key))

    def close(self) -> None:
        """Hang up."""
        for node in tuple(self._connections):
            self._forget(node)

    def _forget(self, node: str) -> None:
        connection = self._connections.pop(node, None)
        if connection is not None:
            connection.close()


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


@dataclass
class Calls:
    """The calls that a client can make, each recorded; they return the status, or None where no answer came."""

    name: str
    recorder: Recorder
    caller: Caller

    def register(self, person: Person, node: str, key: str | None = None) -> int | None:
        members = {**person.names, "password": person.password(0)}
        body = ("{" + ",".join(f'"{name}":"{value}"' for name, value in members.items()) + "}").encode()
        return self._asked(
            Kind.REGISTER,
            node,
            lambda: self.caller.json(node, "POST", "/register", body, key=key),
            user=person.username,
            password=0,
            key=key,
        )[0]

    def log_in(self, person: Person, node: str, label: int, named_by: str) -> tuple[int | None, Session | None]:
        fields = {named_by: person.names[named_by], "password": person.password(label)}
        status, opened = self._asked(
            Kind.LOGIN,
            node,
            lambda: self.caller.form(node, "/login", fields),
            user=person.username,
            named_by=named_by,
            password=label,
        )
        return status, opened

    def refresh(self, person: Person, node: str, session: Session, token: str) -> tuple[int | None, Session | None]:
        return self._asked(
            Kind.REFRESH,
            node,
            lambda: self.caller.form(node, "/refresh", {"refresh_token": token}),
            user=person.username,
            session=session.session_id,
            presented=digest(token),
        )

    def me(self, person: Person, node: str, session: Session) -> int | None:
        return self._asked(
            Kind.ME,
            node,
            lambda: self.caller.send(node, "GET", "/me", headers=_bearer(session.access_token)),
            user=person.username,
            session=session.session_id,
        )[0]

    def change_profile(self, person: Person, node: str, session: Session) -> int | None:
        person.wishes += 1
        wish = f"Wish {person.wishes}"
        return self._asked(
            Kind.CHANGE_PROFILE,
            node,
            lambda: self.caller.json(node, "PATCH", "/me", f'{{"full_name":"{wish}"}}'.encode(), session.access_token),
            user=person.username,
            session=session.session_id,
            wish=wish,
        )[0]

    def log_out(self, person: Person, node: str, session: Session, scope: str) -> int | None:
        return self._asked(
            Kind.LOGOUT,
            node,
            lambda: self.caller.form(node, "/logout", {"scope": scope}, session.access_token),
            user=person.username,
            session=session.session_id,
            scope=scope,
        )[0]

    def change_password(
        self, person: Person, node: str, session: Session, current: int, new: int, key: str | None = None
    ) -> tuple[int | None, Session | None]:
        fields = {"current_password": person.password(current), "new_password": person.password(new)}
        return self._asked(
            Kind.CHANGE_PASSWORD,
            node,
            lambda: self.caller.form(node, "/me/password", fields, session.access_token, key),
            user=person.username,
            session=session.session_id,
            password=current,
            new_password=new,
            key=key,
        )

    def _asked(self, kind: Kind, node: str, ask: Callable[[], Reply], **known: Any) -> tuple[int | None, Session | None]:
        with contextlib.suppress(OSError, http.client.HTTPException):
            with self.recorder.call(kind, client=self.name, node=node, **known) as under_way:
                reply = ask()
                under_way.status = reply.status
                opened = _session_of(reply)
                if opened is not None:
                    under_way.note(received=digest(opened.refresh_token))
                    if kind is not Kind.REFRESH:
                        under_way.note(opened=opened.session_id)
            return reply.status, opened
        return None, None


def _session_of(reply: Reply) -> Session | None:
    if reply.status != 200 or b"refresh_token" not in reply.body:
        return None
    pair = reply.json
    return Session(unverified_claims(pair["access_token"])["sid"], pair["access_token"], pair["refresh_token"])


def new_person(client: str, number: int, chance: random.Random) -> Person:
    """Somebody whom nobody knows, with a username and perhaps more names."""
    username = f"{client}-{chance.getrandbits(40):x}-{number}"
    names = {"username": username}
    if chance.random() < 0.5:
        names["email"] = f"{username}@example.com"
    if chance.random() < 0.5:
        names["phone_number"] = fresh_phone_number()
    return Person(names)
