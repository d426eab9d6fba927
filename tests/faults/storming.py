"""A run whose only fault is that everybody comes at once: many more logins than two nodes can hash (DESIGN 6, P11).

How many that is, is found out first, in the same run. The crowd, the primary and the nodes share the machine's cores, so
the hash is the dearest that there is: what a client costs is then little beside it, and a crowd in Python can ask for ten
times the peak. What refusals cost where a hash is cheap is for `bench/scenarios/storm.py` to tell.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.faults.crowds import Crowd, Wires, ask_at, keep_asking
from tests.faults.ending import drain, probe, read_back
from tests.faults.history import History, Kind, Outcome, Recorder, Window
from tests.faults.ledger import open_ledger, read_ledger
from tests.faults.parts import Parts, Starting
from tests.faults.primaries import Primaries, own_folder
from tests.support.databases import make_migrated_database
from tidegate.passwords.notations.argon2 import hash_argon2id
from tidegate.passwords.profiles import RFC9106_65536

STORM: Final = "login storm"
"""Its name as a fault."""

TIMES: Final = 10
"""As P11 has it."""

_PROFILE: Final = RFC9106_65536
_PASSWORD: Final = "correct horse of everybody"
_USERS: Final = 6_000
"""More than call at once while a request may last: two logins of one user would share a hash."""

_AT_ONCE: Final = 8
"""Of each node at the peak: its threads never wait for work, and nobody has to be refused."""

_SIDE_PER_S: Final = 25.0
"""Calls of /me, and of /refresh, to each node, all the while."""

_WARM_UP_S: Final = 2.0
_PEAK_S: Final = 6.0
_GATHERING_S: Final = 5.0
"""Longer than a request may last: whatever the storm's beginning found empty is full by then."""

_STORM_S: Final = 6.0
_STORMS: Final = 3
"""Each between two peaks: what others do on the machine in one of them must not decide."""


def run_storm(seed: int, *, source: Path | None = None) -> History:
    """Find the peak, let the storm come, and see everything serve again.

    Call it from the main thread: servers end when the thread that started them ends.

    Args:
        seed: Of who is registered to see that everything serves again; of a storm nothing is left to chance.
        source: The folder of another build's package; None: ours.
    """
    recorder = Recorder()
    with own_folder() as folder, Primaries(folder).opened() as primaries:
        database = make_migrated_database(primaries.leader)
        open_ledger(primaries.leader.dsn(database))
        asyncio.run(_fill(primaries.leader.dsn(database)))
        with Starting(folder, primaries, database, source=source, HASH_PROFILE=_PROFILE.name) as parts:
            ports = parts.ports
            # Past the lines, which cost the cores as much as the nodes do for a refusal.
            peaks, storms = asyncio.run(_weather(recorder, {node.name: node.port for node in parts.nodes}))
            healed_s = time.monotonic()
            read_back(parts, recorder, probe(recorder, ports, seed), ports)
            return _history(seed, recorder, parts, ports, healed_s=healed_s, peaks=peaks, storms=storms)


def _history(seed: int, recorder: Recorder, parts: Parts, ports: Mapping[str, int], **known: Any) -> History:
    unrest = drain(parts)
    jobs = read_ledger(parts.dsn)
    seen: dict[str, Any] = {"calls": recorder.calls, "faults": recorder.faults, "jobs": jobs, "unrest": unrest}
    return History(seed=seed, nodes=tuple(ports), **seen, **known)


async def _fill(dsn: str) -> None:
    """Make the users, all with one hash: to hash for each would take longer than the storm."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO users (userid, username, password)"
        " SELECT gen_random_uuid(), 'storm-' || number, $1 FROM generate_series(0, $2::int - 1) AS number",
        hash_argon2id(_PASSWORD.encode(), _PROFILE),
        _USERS,
    )
    await connection.close()


async def _weather(recorder: Recorder, ports: Mapping[str, int]) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """What the crowd does; when it was the peak, and when the storm."""
    wires = Wires(ports)
    crowd = Crowd(recorder, wires, _PASSWORD)
    numbers, nodes = itertools.count(), itertools.cycle(ports)

    async def log_in(node: str) -> object:
        return await crowd.log_in(node, f"storm-{next(numbers) % _USERS}")

    async def peak() -> Window:
        window = _window(_WARM_UP_S, _PEAK_S)
        await asyncio.gather(*(keep_asking(partial(log_in, node), _AT_ONCE, window.ended_s) for node in ports))
        return window

    async def storm(before: Window) -> Window:
        window = _window(_GATHERING_S, _STORM_S)
        with recorder.fault(STORM, frozenset()):
            await ask_at(TIMES * _logins_per_s(recorder, before), lambda: log_in(next(nodes)), window.ended_s)
        return window

    sides = [await _side(crowd, node) for node in ports]
    aside = [asyncio.ensure_future(each) for side in sides for each in side]
    peaks, storms = [await peak()], []
    for _ in range(_STORMS):
        storms.append(await storm(peaks[-1]))
        peaks.append(await peak())
    for each in aside:
        each.cancel()
    await asyncio.gather(*aside, return_exceptions=True)
    wires.close()
    return tuple(peaks), tuple(storms)


def _window(after_s: float, for_s: float) -> Window:
    began_s = time.monotonic() + after_s
    return Window(began_s, began_s + for_s)


def _logins_per_s(recorder: Recorder, peak: Window) -> float:
    good = [call for call in recorder.calls if call.kind is Kind.LOGIN and call.outcome is Outcome.OK and peak.holds(call)]
    return max(1, len(good)) / (peak.ended_s - peak.began_s)


async def _side(crowd: Crowd, node: str) -> tuple[Awaitable[None], Awaitable[None]]:
    """Those who are logged in at *node*: one who looks at their profile and one whose tokens are always refreshed."""
    reader, refresher = [await crowd.log_in(node, f"storm-{number}") for number in (0, 1)]
    assert reader is not None, node
    assert refresher is not None, node

    async def refresh() -> None:
        answer = await crowd.refresh(node, refresher["refresh_token"])
        refresher.update(answer or {})

    return _regularly(lambda: crowd.me(node, reader["access_token"])), _regularly(refresh)


async def _regularly(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask, one time after the other."""
    while True:
        await ask()
        await asyncio.sleep(1 / _SIDE_PER_S)
