"""Says how many passwords the cores could compare if a login cost nothing else: what a login is measured against."""

import threading
from statistics import mean
from time import monotonic, thread_time
from typing import NamedTuple

from argon2.low_level import Type, verify_secret


class Hashing(NamedTuple):
    """What bare hashing came to.

    Attributes:
        per_s: Hashes in a second, of all threads together.
        cpu_ms_each: What one cost, in milliseconds of one core.
    """

    per_s: float
    cpu_ms_each: float


def hash_for(stored: str, password: str, *, threads: int, seconds: float) -> Hashing:
    """Compare *password* with *stored* again and again, on so many threads at once.

    Each thread counts whole hashes and divides by its own time, so that none is cut off by the clock. argon2-cffi lets go
    of the interpreter while it hashes.

    Args:
        stored: An Argon2id hash of *password*.
        password: The right one.
        threads: As many as there are cores.
        seconds: For how long.
    """
    rates: list[float] = []
    costs_ms: list[float] = []
    together = threading.Barrier(threads)

    def compare() -> None:
        hashed, octets, done = stored.encode(), password.encode(), 0
        for _ in range(3):  # glibc keeps a thread's memory only after it has given it back once
            verify_secret(hashed, octets, Type.ID)
        together.wait()
        started_at, cpu_s = monotonic(), thread_time()
        while (took_s := monotonic() - started_at) < seconds:
            verify_secret(hashed, octets, Type.ID)
            done += 1
        rates.append(done / took_s)
        costs_ms.append((thread_time() - cpu_s) * 1000 / done)

    running = [threading.Thread(target=compare) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return Hashing(sum(rates), mean(costs_ms))
