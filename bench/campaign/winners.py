"""People of the storm who log in and ask for their coupon until they have it: what clients see of its delay."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from bench.campaign.crowds import ASKERS, ENTRANT, name_of
from bench.dialect import PASSWORD

ASKED_EVERY_S: Final = 0.05
"""By a client that wants to know; so much later than it is there a coupon is seen at the most, and its answer's time."""

_AT_ONCE: Final = 2
_PATIENCE_S: Final = 20.0
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Winners:
    """`ASKERS` entrants whom the driver leaves alone: one after the other logs in for the first time and waits.

    Args:
        port: Of the node, on the loopback interface.
        first_number: Of the first of them.
        has_begun: Whether the storm has: nobody comes before.
    """

    def __init__(self, port: int, *, first_number: int, has_begun: Callable[[], bool]) -> None:
        self._port = port
        self._has_begun = has_begun
        self._numbers = iter(range(first_number, first_number + ASKERS))
        self._is_ending = threading.Event()
        self.delays_s: list[float] = []

    @property
    def is_going_on(self) -> bool:
        """Whether anybody may still come."""
        return not self._is_ending.is_set()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let them come until the block ends, or until one is told that there is no coupon, or no such question."""
        threads = [threading.Thread(target=self._come) for _ in range(_AT_ONCE)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_ending.set()
            for thread in threads:
                thread.join()

    def _come(self) -> None:
        while not self._has_begun() and not self._is_ending.wait(ASKED_EVERY_S):
            pass
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        try:
            while not self._is_ending.is_set() and (number := next(self._numbers, None)) is not None:
                if not self._log_in_and_wait(connection, name_of(ENTRANT, number)):
                    self._is_ending.set()
        except (OSError, http.client.HTTPException):
            pass  # a client that is cut off has seen nothing
        finally:
            connection.close()

    def _log_in_and_wait(self, connection: http.client.HTTPConnection, username: str) -> bool:
        form = urlencode({"username": username, "password": PASSWORD})
        connection.request("POST", "/login", body=form, headers=_FORM)
        status, body = _answer(connection)
        if status != http.HTTPStatus.OK:
            return True  # another may have more luck
        logged_in_s = time.monotonic()
        headers = {"Authorization": f"Bearer {body['access_token']}"}
        while not self._is_ending.is_set() and time.monotonic() < logged_in_s + _PATIENCE_S:
            connection.request("GET", "/me/coupons", headers=headers)
            status, body = _answer(connection)
            if status != http.HTTPStatus.OK or body.get("status") not in {"pending", "granted"}:
                return False
            if body["status"] == "granted":
                self.delays_s.append(time.monotonic() - logged_in_s)
                return True
            self._is_ending.wait(ASKED_EVERY_S)
        return True


def _answer(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    answer = connection.getresponse()
    text = answer.read()
    body: dict[str, Any] = json.loads(text) if answer.status == http.HTTPStatus.OK else {}
    return answer.status, body
