"""People who log in all the time, and what became of each login: the clock that a death is measured with."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlencode

from bench.dialect import PASSWORD
from bench.ground import CannotMeasureError

CALLERS: Final = 2
PAUSE_S: Final = 0.05
"""Between two logins of one caller: many enough to see a gap, few enough that nobody waits for a core."""

_FORM: Final = "application/x-www-form-urlencoded"
_PATIENCE_S: Final = 20.0
"""Over every deadline of our own."""


class Call(NamedTuple):
    """One login, by the monotonic clock."""

    began_s: float
    ended_s: float
    is_good: bool


class Aftermath(NamedTuple):
    """What became of the logins after a kill; see `turns.Kill`."""

    first_good_s: float
    last_bad_s: float
    bad: int
    logins: int
    longest_s: float


def aftermath(calls: Sequence[Call], killed_s: float) -> Aftermath:
    """Sum up *calls* since *killed_s*.

    Raises:
        CannotMeasureError: None that began after the kill went well.
    """
    ended = [call for call in calls if call.ended_s >= killed_s]
    bad = [call for call in ended if not call.is_good]
    good = [call.ended_s for call in ended if call.is_good and call.began_s >= killed_s]
    if not good:
        raise CannotMeasureError("Nobody can log in any more.")
    return Aftermath(
        first_good_s=min(good) - killed_s,
        last_bad_s=max((call.ended_s - killed_s for call in bad), default=0.0),
        bad=len(bad),
        logins=len(ended),
        longest_s=max(call.ended_s - call.began_s for call in ended),
    )


class Callers:
    """Callers who come over a connection of their own each time, as people do.

    Args:
        port: Where they log in, on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._calls: list[Call] = []
        self._is_ending = threading.Event()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Register them, and let them log in until the block ends.

        Raises:
            CannotMeasureError: They cannot register.
        """
        people = [{"username": f"caller{number}", "password": PASSWORD} for number in range(CALLERS)]
        for person in people:
            if not self._post("/register", json.dumps(person), "application/json"):
                raise CannotMeasureError("Nobody can register.")
            if not self._post("/login", urlencode(person), _FORM):
                raise CannotMeasureError("Nobody can log in.")
        threads = [threading.Thread(target=self._call, args=(urlencode(person),)) for person in people]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_ending.set()
            for thread in threads:
                thread.join()

    def calls(self) -> list[Call]:
        """All that have ended."""
        return list(self._calls)

    def _call(self, body: str) -> None:
        while not self._is_ending.wait(PAUSE_S):
            began_s = time.monotonic()
            is_good = self._post("/login", body, _FORM)
            self._calls.append(Call(began_s, time.monotonic(), is_good))

    def _post(self, path: str, body: str, kind: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        try:
            connection.request("POST", path, body=body, headers={"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return answer.status == http.HTTPStatus.OK
