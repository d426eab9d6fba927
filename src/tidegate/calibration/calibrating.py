"""Measures this machine: every profile for `tidegate calibrate`, one of them for `tidegate capacity`."""

import os
import platform
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from tidegate.calibration.figures import Calibration, Machine, ProfileFigures
from tidegate.calibration.measuring import ROUNDS, measure, too_big
from tidegate.calibration.recommending import recommend
from tidegate.passwords.engine import ENGINE, Engine
from tidegate.passwords.profiles import PROFILES

_CPUINFO: Final = Path("/proc/cpuinfo")

_ROUND_S_MIN: Final = 2.0
"""In which every profile has one call at least in each way. Who has less time gets fewer rounds."""


def calibrate(
    *,
    version: str,
    measured_at: datetime,
    cores: int,
    memory_bytes: int,
    seconds: float,
    wished_latency_ms: float,
    on_progress: Callable[[float], None],
    engine: Engine = ENGINE,
) -> Calibration:
    """Measure every profile that the memory allows, and recommend one.

    Args:
        version: Of this program.
        measured_at: Now, aware.
        cores: That Tidegate may use.
        memory_bytes: That it may use.
        seconds: For how long, about.
        wished_latency_ms: See `recommend`.
        on_progress: Told the share that is done, 0 to 1.
        engine: Computes.

    Raises:
        MemoryError: There is not enough for a single profile.
    """
    left_out = too_big(tuple(PROFILES.values()), engine, cores=cores, memory_bytes=memory_bytes)
    profiles = [profile for profile in PROFILES.values() if profile.name not in left_out]
    if not profiles:
        raise MemoryError
    rounds = max(1, min(ROUNDS, int(seconds / _ROUND_S_MIN)))
    measured = measure(profiles, engine, cores=cores, seconds=seconds, rounds=rounds, on_progress=on_progress)
    return Calibration(
        tidegate=version,
        measured_at=measured_at.isoformat(timespec="seconds"),
        machine=Machine(
            cpu=cpu_name(), cores=cores, memory_bytes=memory_bytes, system=f"{platform.system()} {platform.release()}"
        ),
        engine=engine.name,
        seconds=seconds,
        rounds=rounds,
        cpu_share=measured.cpu_share,
        profiles=measured.profiles,
        left_out=left_out,
        recommendation=recommend(measured.profiles, wished_latency_ms=wished_latency_ms),
    )


def measure_one(
    name: str, *, cores: int, memory_bytes: int, seconds: float, on_progress: Callable[[float], None]
) -> ProfileFigures:
    """Measure the profile called *name*, one of `PROFILES`. See `calibrate`.

    Raises:
        MemoryError: There is not enough for it.
    """
    profile = PROFILES[name]
    if too_big([profile], ENGINE, cores=cores, memory_bytes=memory_bytes):
        raise MemoryError
    measured = measure([profile], ENGINE, cores=cores, seconds=seconds, on_progress=on_progress)
    return measured.profiles[0]


def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """The CPU as its maker calls it, or its architecture where the system does not tell."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or os.uname().machine
