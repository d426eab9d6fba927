"""Lets logins and raw hashing take turns on the same cores."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import msgspec
from bench.driver import Drained, Event, Measured, Measuring, Orders
from bench.login.results import Logins, Raw, Round
from bench.processes import CpuUse, busy_s, cores, own_s
from bench.raw_hashing import hash_for
from bench.under_test import CannotMeasureError, Crowd, Target

WARM_UP_S: Final = 1.0
"""At least; every connection must have had an answer besides."""

REST_S: Final = 1.0
"""Between two turns, when the server's processes are not known and cannot be watched."""

_ALL: Final = "all"
_REPOSITORY: Final = Path(__file__).parents[2]


class Scenario:
    """The turns of one round.

    Args:
        target: The Tidegate under test.
        people: Who log in.
        connections: For each turn of logins, how many clients at once.
        seconds: How long a turn of logins is measured; one of raw hashing half as long, since there is one on each side.
    """

    def __init__(self, target: Target, people: Crowd, *, connections: list[int], seconds: float) -> None:
        self._target = target
        self._people = people
        self._connections = connections
        self._seconds = seconds
        self._cpu = CpuUse(target.pid) if target.pid else None

    def rounds(self, count: int) -> Iterator[Round]:
        """Yield one round after the other, as each ends."""
        for _ in range(count):
            turns: list[Raw | Logins] = [self._raw()]
            for connections in self._connections:
                turns += [self._logins(connections), self._raw()]
            yield Round(turns)

    def _raw(self) -> Raw:
        self._rest()
        stored, password = self._people.stored, self._people.password
        began_at, busy, own = monotonic(), busy_s(), own_s()
        hashing = hash_for(stored, password, threads=cores(), seconds=self._seconds / 2)
        elsewhere_s = busy_s() - busy - (own_s() - own)
        return Raw(hashing.per_s, hashing.cpu_ms_each, elsewhere_s / (monotonic() - began_at))

    def _logins(self, connections: int) -> Logins:
        self._rest()
        host, port = self._target.address
        orders = Orders(
            host=host,
            port=port,
            connections=connections,
            username_prefix=self._people.username_prefix,
            users=self._people.users,
            password=self._people.password,
            seconds=self._seconds,
            warm_up_s=WARM_UP_S,
        )
        used: dict[type[Event], dict[str, float]] = {}
        found: list[Measured] = []

        def hear(event: Event) -> None:
            if self._cpu and not isinstance(event, Drained):
                used[type(event)] = self._cpu.seconds() | {_ALL: busy_s()}
            if isinstance(event, Measured):
                found.append(event)

        _drive(orders, hear)
        (measured,) = found
        if not used:
            return Logins(connections, measured, {}, None)
        cpu_s = {name: s - used[Measuring][name] for name, s in used[Measured].items()}
        elsewhere_s = cpu_s.pop(_ALL) - sum(cpu_s.values()) - measured.driver_cpu_s
        return Logins(connections, measured, cpu_s, elsewhere_s / measured.seconds)

    def _rest(self) -> None:
        """Let the server finish what the turn before left it: what is measured next must not pay for it."""
        if self._cpu:
            self._cpu.wait_until_quiet()
        else:
            sleep(REST_S)


def _drive(orders: Orders, hear: Callable[[Event], None]) -> None:
    """Run the driver to its end, handing on each event as it comes."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_REPOSITORY
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(msgspec.json.encode(orders))
        driver.stdin.close()
        for line in driver.stdout:
            hear(msgspec.json.decode(line, type=Event))
    if driver.returncode:
        raise CannotMeasureError("The driver gave up; what it said stands above.")
