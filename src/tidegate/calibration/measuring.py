"""Lets hash threads compute each profile for a while, in rounds, and says how fast they were."""

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, thread_time
from typing import Final, NamedTuple

from tidegate.calibration.figures import Hashing, ProfileFigures
from tidegate.calibration.recommending import ACCEPTED_BY
from tidegate.passwords.engine import Argon2Input, Engine
from tidegate.passwords.notations.argon2 import argon2id_cost
from tidegate.passwords.profiles import HashProfile

ROUNDS: Final = 5
"""A neighbour that is busy in one of them, or two, does not move the median."""

MEMORY_SHARE_MAX: Final = 0.5
"""Of the machine's memory: what a start of the API allows for hashing, too."""

_PASSWORD: Final = b"correct horse battery staple"
_P95: Final = 0.95


class Way(NamedTuple):
    """How hashes are made.

    Attributes:
        threads: At the same time.
        in_turn: Hashes that each thread computes at once.
    """

    threads: int
    in_turn: int


@dataclass(slots=True)
class _Tally:
    """What the slices of one profile and way came to.

    Attributes:
        rates: Hashes a second of all threads, one of each slice.
        latencies_ms: Of every hash.
        cpu_s: CPU time of all threads.
        wall_s: For how long they were at it, added up.
    """

    rates: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0


class Measured(NamedTuple):
    """What came out.

    Attributes:
        profiles: In the order in which they were asked for.
        cpu_share: CPU time that the threads got, of what they could have had.
    """

    profiles: tuple[ProfileFigures, ...]
    cpu_share: float


def ways_of(profile: HashProfile, engine: Engine, *, cores: int) -> tuple[Way, ...]:
    """The ways to make hashes of *profile*: on one core, on all, and on all with two in turn where that can be."""
    ways = [Way(1, 1), Way(cores, 1)]
    if engine.in_turn_max > 1 and profile.parallelism == 1:
        ways.append(Way(cores, engine.in_turn_max))
    return tuple(dict.fromkeys(ways))


def memory_per_thread_bytes(profile: HashProfile, *, in_turn: int) -> int:
    """What a hash thread holds while it computes *in_turn* hashes of *profile*."""
    return profile.memory_cost_kib * 1_024 * in_turn


def too_big(profiles: Sequence[HashProfile], engine: Engine, *, cores: int, memory_bytes: int) -> Mapping[str, str]:
    """Those of *profiles* that the memory is too small for, by name, each with a sentence that says so."""
    reasons = {}
    for profile in profiles:
        needed_bytes = max(
            way.threads * memory_per_thread_bytes(profile, in_turn=way.in_turn)
            for way in ways_of(profile, engine, cores=cores)
        )
        if needed_bytes > memory_bytes * MEMORY_SHARE_MAX:
            reasons[profile.name] = (
                f"{cores} threads need {needed_bytes >> 20} MiB, more than half of the {memory_bytes >> 20} MiB here"
            )
    return reasons


def measure(
    profiles: Sequence[HashProfile],
    engine: Engine,
    *,
    cores: int,
    seconds: float,
    rounds: int = ROUNDS,
    on_progress: Callable[[float], None] = lambda _share: None,
) -> Measured:
    """Measure each of *profiles* in each way, in turn, *rounds* times over.

    In turn, because neighbours come and go: what disturbs one profile disturbs the others of that round as well, so that
    they can be compared where the figures themselves cannot be relied on.

    Args:
        profiles: At least one.
        engine: Computes.
        cores: Threads at the same time.
        seconds: For how long in all, about: no slice is shorter than one call.
        rounds: Medians are taken over them.
        on_progress: Told the share that is done, 0 to 1.

    Raises:
        MemoryError: There is not enough for the threads.
    """
    tallies = {(profile, way): _Tally() for profile in profiles for way in ways_of(profile, engine, cores=cores)}
    slice_s = seconds / (rounds * len(tallies))
    done = 0
    for _ in range(rounds):
        for (profile, way), tally in tallies.items():
            _measure_slice(profile, engine, way, tally, slice_s=slice_s)
            done += 1
            on_progress(done / (rounds * len(tallies)))
    return Measured(
        tuple(_figures(profile, engine, tallies, cores=cores) for profile in profiles),
        min(1.0, sum(tally.cpu_s for tally in tallies.values()) / sum(tally.wall_s for tally in tallies.values())),
    )


class _Worked(NamedTuple):
    """What one thread did: the seconds of each call, of all of them, and of its CPU."""

    calls_s: Sequence[float]
    wall_s: float
    cpu_s: float


def _measure_slice(profile: HashProfile, engine: Engine, way: Way, tally: _Tally, *, slice_s: float) -> None:
    """Hash on as many threads as *way* says for *slice_s*, and add what came of it to *tally*.

    Each thread counts whole calls and divides by its own time, so that none is cut off by the clock.
    """
    together = threading.Barrier(way.threads)
    with ThreadPoolExecutor(way.threads) as executor:
        running = [
            executor.submit(_work, profile, engine, way, together=together, slice_s=slice_s) for _ in range(way.threads)
        ]
        failures = [failure for each in running if (failure := each.exception()) is not None]
    if failures:
        raise next((each for each in failures if not isinstance(each, threading.BrokenBarrierError)), failures[0])
    worked = [each.result() for each in running]
    tally.rates.append(sum(len(each.calls_s) * way.in_turn / each.wall_s for each in worked))
    for each in worked:
        tally.latencies_ms += [call_s * 1_000 for call_s in each.calls_s]
        tally.cpu_s += each.cpu_s
        tally.wall_s += each.wall_s


def _work(profile: HashProfile, engine: Engine, way: Way, *, together: threading.Barrier, slice_s: float) -> _Worked:
    """What one thread does. If it fails, the others hear of it instead of waiting for it."""
    cost = argon2id_cost(profile)
    inputs = [Argon2Input(_PASSWORD, os.urandom(profile.salt_len), profile.hash_len) for _ in range(way.in_turn)]
    calls_s: list[float] = []
    engine.keep(profile.memory_cost_kib)
    try:
        engine.digests(cost, inputs)  # until its memory is there, and warm
        together.wait()
        started_at, cpu_s = perf_counter(), thread_time()
        ended_at = started_at
        while ended_at - started_at < slice_s:  # once at least
            call_at = ended_at
            engine.digests(cost, inputs)
            ended_at = perf_counter()
            calls_s.append(ended_at - call_at)
        return _Worked(calls_s, ended_at - started_at, thread_time() - cpu_s)
    except BaseException:
        together.abort()
        raise
    finally:
        engine.release()


def _figures(
    profile: HashProfile, engine: Engine, tallies: Mapping[tuple[HashProfile, Way], _Tally], *, cores: int
) -> ProfileFigures:
    hashing = {way: _hashing(profile, way, tallies[profile, way]) for way in ways_of(profile, engine, cores=cores)}
    return ProfileFigures(
        name=profile.name,
        accepted_by=ACCEPTED_BY[profile.name],
        memory_cost_kib=profile.memory_cost_kib,
        time_cost=profile.time_cost,
        parallelism=profile.parallelism,
        one_thread=hashing[Way(1, 1)],
        one_at_a_time=hashing[Way(cores, 1)],
        two_in_turn=next((each for way, each in hashing.items() if way.in_turn > 1), None),
    )


def _hashing(profile: HashProfile, way: Way, tally: _Tally) -> Hashing:
    rate = median(tally.rates)
    memory_bytes = memory_per_thread_bytes(profile, in_turn=way.in_turn)
    return Hashing(
        threads=way.threads,
        in_turn=way.in_turn,
        hashes_per_s=rate,
        hashes_per_s_per_core=rate / way.threads,
        latency_ms_median=median(tally.latencies_ms),
        latency_ms_p95=percentile(tally.latencies_ms, _P95),
        cpu_ms_each=tally.cpu_s * 1_000 / (len(tally.latencies_ms) * way.in_turn),
        cpu_share=min(1.0, tally.cpu_s / tally.wall_s),
        memory_bytes_per_thread=memory_bytes,
        memory_bytes=memory_bytes * way.threads,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The least of *values* that at least *share* of them do not exceed (the nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
