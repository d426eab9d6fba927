"""Carries out the orders on standard input and tells on standard output what came of them."""

import gc
import os
import resource
import sys
from time import monotonic
from typing import Final

import msgspec
from bench.driver.answers import UnreadableAnswerError
from bench.driver.asking import Logins, Session, asking_of
from bench.driver.loop import Lane, Loop
from bench.driver.tally import Tally
from bench.orders import Ended, Event, Failed, Measured, Measuring, Orders

OPENING_CONNECTIONS: Final = 16
OPENING_S_MAX: Final = 120.0
WARM_UP_S_MAX: Final = 30.0
"""In the end a connection that nobody answers does not matter any more."""


def carry_out(orders: Orders) -> None:
    """Open the sessions, warm up, measure, drain."""
    sessions = _open_sessions(orders)
    host = f"{orders.host}:{orders.port}"
    lanes = {
        stream.name: Lane(
            asking_of(stream, host, sessions),
            Tally(good=stream.good, is_open=stream.rate_per_s is not None),
            connections=stream.connections,
            rate_per_s=stream.rate_per_s,
            requests=stream.requests,
        )
        for stream in orders.streams
    }
    loop = Loop(orders.host, orders.port, list(lanes.values()))
    loop.connect()
    loop.run(monotonic() + orders.warm_up_s)
    loop.run(monotonic() + WARM_UP_S_MAX, or_when=loop.has_answered_all)
    # What is kept lives to the end, and what is thrown away has no cycles: collecting would only make us late.
    gc.collect()
    gc.freeze()
    gc.disable()
    began_at, cpu_s = monotonic(), _own_cpu_s()
    for lane in lanes.values():
        lane.tally.begin(began_at, began_at + orders.seconds)
    _tell(Measuring())
    loop.run(began_at + orders.seconds, or_when=loop.is_spent)
    seconds, cpu_s = monotonic() - began_at, _own_cpu_s() - cpu_s
    _tell(Ended())
    loop.stop_asking()
    loop.run(monotonic() + orders.drain_s_max, or_when=loop.is_quiet)
    measured = {name: lane.tally.measured(loop.unanswered(lane)) for name, lane in lanes.items()}
    _tell(Measured(seconds=seconds, driver_cpu_s=cpu_s, streams=measured))
    loop.close()


def _open_sessions(orders: Orders) -> list[Session]:
    opening = orders.opening
    if opening is None:
        return []
    logins = Logins(opening, f"{orders.host}:{orders.port}")
    tally = Tally(good=opening.good, is_open=False)
    lane = Lane(logins, tally, connections=min(OPENING_CONNECTIONS, opening.sessions), rate_per_s=None)
    loop = Loop(orders.host, orders.port, [lane])
    tally.begin(monotonic(), float("inf"))
    loop.connect()
    loop.run(monotonic() + OPENING_S_MAX, or_when=lambda: len(logins.sessions) >= opening.sessions)
    loop.stop_asking()
    loop.run(monotonic() + OPENING_S_MAX, or_when=loop.is_quiet)
    loop.close()
    if len(logins.sessions) < opening.sessions:
        statuses = tally.measured([]).by_status
        raise UnreadableAnswerError(f"Only {len(logins.sessions)} of {opening.sessions} logins went well: {statuses}.")
    return logins.sessions[: opening.sessions]


def _own_cpu_s() -> float:
    used = os.times()
    return used.user + used.system


def _tell(event: Event) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Carry out what standard input says; the exit code."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        carry_out(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders))
    except (UnreadableAnswerError, OSError) as error:
        _tell(Failed(reason=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
