"""Figures as a calibration would find them, for tests that reckon with them."""

from tidegate.calibration.figures import Hashing, ProfileFigures
from tidegate.calibration.recommending import ACCEPTED_BY
from tidegate.passwords.profiles import PROFILES


def hashing(
    per_s: float,
    *,
    threads: int = 2,
    in_turn: int = 1,
    p95_ms: float = 20.0,
    memory_kib: int = 19_456,
    cpu_share: float = 1.0,
) -> Hashing:
    per_thread = memory_kib * 1_024 * in_turn
    return Hashing(
        threads=threads,
        in_turn=in_turn,
        hashes_per_s=per_s,
        hashes_per_s_per_core=per_s / threads,
        latency_ms_median=p95_ms * 0.9,
        latency_ms_p95=p95_ms,
        cpu_ms_each=threads * 1_000 * cpu_share / per_s,
        cpu_share=cpu_share,
        memory_bytes_per_thread=per_thread,
        memory_bytes=per_thread * threads,
    )


def figures(name: str, per_s: float, *, p95_ms: float = 20.0, has_two_in_turn: bool = True) -> ProfileFigures:
    profile = PROFILES[name]
    memory_kib = profile.memory_cost_kib
    in_turn = hashing(per_s, in_turn=2, p95_ms=p95_ms * 1.6, memory_kib=memory_kib) if has_two_in_turn else None
    return ProfileFigures(
        name=name,
        accepted_by=ACCEPTED_BY[name],
        memory_cost_kib=memory_kib,
        time_cost=profile.time_cost,
        parallelism=profile.parallelism,
        one_thread=hashing(per_s / 2, threads=1, p95_ms=p95_ms, memory_kib=memory_kib),
        one_at_a_time=hashing(per_s * 0.8 if has_two_in_turn else per_s, p95_ms=p95_ms, memory_kib=memory_kib),
        two_in_turn=in_turn,
    )
