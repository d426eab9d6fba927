"""Where the turns are taken: drives one service after the other and reads meanwhile what that costs."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec
from bench.dialect import PASSWORD, Call, Dialect
from bench.ground import CannotMeasureError, Ground, Service
from bench.orders import Ended, Event, Measured, Measuring, Opening, Orders, Stream
from bench.processes import Memory, busy_s, cores, cpu, memory, own_s, wait_until_quiet
from bench.raw_hashing import hash_for
from bench.turns import Raw, Window

WARM_UP_S: Final = 1.0
"""At least; in a closed loop every connection must have had an answer besides."""

DRAIN_S_MAX: Final = 20.0
"""Over every deadline of our own."""

SESSIONS: Final = 256
"""Whose tokens /me and /refresh are asked with; each costs a login beforehand."""

_NAMES_A_WINDOW: Final = 1_000_000
_REPOSITORY: Final = Path(__file__).parents[1]


class Load(NamedTuple):
    """One stream of a window, before it is known which service it goes to.

    Attributes:
        call: Which call of its dialect.
        connections: See `orders.Stream`.
        rate_per_s: See `orders.Stream`.
        requests: Likewise.
    """

    call: str
    connections: int
    rate_per_s: float | None = None
    requests: int | None = None


class Field:
    """The services of a run.

    Args:
        ground: What they stand on.
        services: Ours and the peers, by name.
        seconds: How long a window is measured unless its scenario says otherwise.
        tell: Told each turn as it ends, for whoever waits.
    """

    def __init__(
        self, ground: Ground, services: dict[str, Service], *, seconds: float, tell: Callable[[str], None]
    ) -> None:
        self._ground = ground
        self._services = services
        self._windows = count()
        self._tell = tell
        self.seconds = seconds

    def has(self, name: str) -> bool:
        """Whether service *name* takes part."""
        return name in self._services

    def raw(self) -> Raw:
        """Hash on all cores and do nothing else, half as long as a window: there is one on each side of it."""
        self._rest()
        began_at, busy, own = monotonic(), busy_s(), own_s()
        hashing = hash_for(self._ground.stored, PASSWORD, threads=cores(), seconds=self.seconds / 2)
        elsewhere_s = busy_s() - busy - (own_s() - own)
        self._tell(f"raw hashing {hashing.per_s:.1f}/s")
        return Raw(
            hashes_per_s=hashing.per_s,
            cpu_ms_each=hashing.cpu_ms_each,
            elsewhere_cores=max(0.0, elsewhere_s) / (monotonic() - began_at),
        )

    def drive(self, name: str, loads: Sequence[Load], *, seconds: float | None = None, label: str = "") -> Window:
        """Put *loads* on service *name* at once.

        Args:
            name: Of one that takes part.
            loads: What is asked.
            seconds: How long it is measured; None: as the run has it.
            label: See `turns.Window`.

        Raises:
            CannotMeasureError: The driver gave up.
        """
        service = self._services[name]
        calls = {load.call: _call(service.dialect, load.call) for load in loads}
        orders = self._orders(service, loads, seconds or self.seconds)
        self._rest()
        readings, measured = self._watch(service, orders)
        before, after = readings
        spent = {name: s - before.cpu_s[name] for name, s in after.cpu_s.items()}
        busy_meanwhile_s = spent.pop("machine")
        spent["driver"] = measured.driver_cpu_s
        elsewhere_s = busy_meanwhile_s - sum(spent.values()) + spent["hashing"]  # which is a part of the node's
        rates = [load.rate_per_s for load in loads if load.rate_per_s]
        window = Window(
            service=name,
            label=label,
            connections=sum(load.connections for load in loads),
            asked_per_s=sum(rates) if rates else None,
            seconds=measured.seconds,
            streams=measured.streams,
            good_status={load: call.good for load, call in calls.items()},
            cpu_s=spent,
            elsewhere_cores=max(0.0, elsewhere_s) / measured.seconds,
            pss_mib=after.memory.pss_mib,
            rss_mib=after.memory.rss_mib,
        )
        self._tell(_told(window))
        return window

    def _orders(self, service: Service, loads: Sequence[Load], seconds: float) -> Orders:
        window, dialect = next(self._windows), service.dialect
        streams = [
            Stream(
                name=load.call,
                head=call.head,
                body=call.body.replace("{window}", f"{window:04d}"),
                good=call.good,
                refresh_at=dialect.refresh_at,
                connections=load.connections,
                rate_per_s=load.rate_per_s,
                first_number=1,
                numbers=self._ground.users if load.call == "login" else _NAMES_A_WINDOW,
                requests=load.requests,
            )
            for load in loads
            for call in [_call(dialect, load.call)]
        ]
        needed = [load.connections for load in loads if load.call in {"me", "refresh"}]
        opening = Opening(
            head=dialect.login.head,
            body=dialect.login.body,
            good=dialect.login.good,
            sessions=max([SESSIONS, *needed]),
            access_at=dialect.access_at,
            refresh_at=dialect.refresh_at,
        )
        return Orders(
            host="127.0.0.1",
            port=service.port,
            opening=opening if needed else None,
            streams=streams,
            # Who asks a number of requests wants to see all of them.
            warm_up_s=0.0 if any(load.requests for load in loads) else WARM_UP_S,
            seconds=seconds,
            drain_s_max=DRAIN_S_MAX,
        )

    def _watch(self, service: Service, orders: Orders) -> "tuple[list[_Reading], Measured]":
        """Run the driver; return what was read at the beginning and at the end of the window, and what it measured."""
        readings: list[_Reading] = []
        measured: list[Measured] = []

        def hear(event: Event) -> None:
            if isinstance(event, (Measuring, Ended)):
                readings.append(self._read(service, is_last=isinstance(event, Ended)))
            elif isinstance(event, Measured):
                measured.append(event)
            else:
                raise CannotMeasureError(f"The driver gave up on {service.name}: {event.reason}")

        _drive(orders, hear)
        if len(readings) != 2 or not measured:
            raise CannotMeasureError("The driver ended early; what it said stands above.")
        return readings, measured[0]

    def _read(self, service: Service, *, is_last: bool) -> "_Reading":
        node = cpu(service.tree)
        cpu_s = {
            "node": node.all_s,
            "hashing": node.niced_s,
            "postgres": cpu(self._ground.postgres).all_s,
            "machine": busy_s(),
        } | {name: cpu(tree).all_s for name, tree in service.beside.items()}
        return _Reading(cpu_s, memory(service.tree) if is_last else Memory(0.0, 0.0))

    def _rest(self) -> None:
        """Let everybody finish what the turn before left them: what is measured next must not pay for it."""
        trees = [tree for service in self._services.values() for tree in (service.tree, *service.beside.values())]
        wait_until_quiet(dict.fromkeys([self._ground.postgres, *trees]))


class _Reading(NamedTuple):
    cpu_s: dict[str, float]
    memory: Memory


def _call(dialect: Dialect, name: str) -> Call:
    call: Call | None = getattr(dialect, name)
    if call is None:
        raise CannotMeasureError(f"This service has no call {name}.")
    return call


def _drive(orders: Orders, hear: Callable[[Event], None]) -> None:
    """Run the driver to its end, handing on each event as it comes."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_REPOSITORY
    ) as driver:
        try:
            assert driver.stdin is not None
            assert driver.stdout is not None
            driver.stdin.write(msgspec.json.encode(orders))
            driver.stdin.close()
            for line in driver.stdout:
                hear(msgspec.json.decode(line, type=Event))
        except BaseException:
            driver.kill()
            raise


def _told(window: Window) -> str:
    streams = ", ".join(
        f"{name} {window.good_per_s(name):.1f}/s p99 {measured.good.percentile_ms(99):.1f} ms"
        for name, measured in window.streams.items()
    )
    return f"{window.service} {window.label} {window.connections} connections: {streams}".replace("  ", " ")
