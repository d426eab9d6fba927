"""Logs schemathesis in: as one user who stays, and anew for each call that may end the session it is made in."""

import os
from typing import Any

import schemathesis

from tests.support.client import Client

ENDING = ["/logout", "/me/password", "/me/sessions/{id}"]
STAYING = ["/me", "/me/sessions", "/me/coupons"] + [
    f"/coupons/{{code}}/{act}" for act in ("redeem", "reserve", "confirm", "release")
]


class _Credentials:
    """What goes into the header Authorization."""

    def set(self, case: "schemathesis.Case[Any]", data: str, _context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = data


class _Token(_Credentials):
    """A token of the user whom the environment variable *variable* names."""

    variable: str

    def get(self, _case: "schemathesis.Case[Any]", _context: schemathesis.AuthContext) -> str:
        with Client(int(os.environ["PORT"])) as client:
            return "Bearer " + client.log_in(os.environ[self.variable])["access_token"]


@schemathesis.auth().apply_to(path=STAYING)
class Staying(_Token):
    """One token for all calls: whatever they send, it stays good."""

    variable = "STAYING_USERNAME"


# Of another user: one scope of /logout ends all sessions.
@schemathesis.auth(refresh_interval=None).apply_to(path=ENDING)
class Ending(_Token):
    """A token for each call."""

    variable = "ENDING_USERNAME"


@schemathesis.auth().apply_to(path="/introspect")
class Introspecting(_Credentials):
    """The client's name and secret."""

    def get(self, _case: "schemathesis.Case[Any]", _context: schemathesis.AuthContext) -> str:
        return os.environ["CLIENT_CREDENTIALS"]
