"""Says how many passwords the cores could compare if a login cost nothing else: what a login is measured against."""

import os
import threading
from statistics import mean
from time import monotonic, thread_time
from typing import NamedTuple

from tidegate.passwords.engine import ENGINE, Argon2Input
from tidegate.passwords.notations import parse
from tidegate.passwords.notations.argon2 import Argon2Hash


class Hashing(NamedTuple):
    """What bare hashing came to.

    Attributes:
        per_s: Hashes in a second, of all threads together.
        cpu_ms_each: What one cost, in milliseconds of one core.
    """

    per_s: float
    cpu_ms_each: float


def hash_for(stored: str, password: str, *, threads: int, seconds: float) -> Hashing:
    """Hash *password* again and again as *stored* says, on so many threads at once.

    Each thread counts whole hashes and divides by its own time, so that none is cut off by the clock. It is the engine that
    logins are hashed with, which lets go of the interpreter meanwhile; as many in turn as it can, and in kept memory.

    Args:
        stored: An Argon2 hash of *password*.
        password: The right one.
        threads: As many as there are cores.
        seconds: For how long.
    """
    rates: list[float] = []
    costs_ms: list[float] = []
    together = threading.Barrier(threads)

    parsed = parse(stored)
    if not isinstance(parsed, Argon2Hash):
        raise TypeError("this is no Argon2 hash")
    work = parsed.work(password.encode())

    def in_turn() -> list[Argon2Input]:
        """Of salts of their own, as users have them: equal ones read the same places of the cache at the same time."""
        return [work.given._replace(salt=os.urandom(len(work.given.salt))) for _ in range(ENGINE.in_turn_max)]

    def compare() -> None:
        done = 0
        ENGINE.keep(work.cost.memory_cost_kib)
        for _ in range(3):  # until memory and caches are warm
            ENGINE.digests(work.cost, in_turn())
        together.wait()
        started_at, cpu_s = monotonic(), thread_time()
        while (took_s := monotonic() - started_at) < seconds:
            done += len(ENGINE.digests(work.cost, in_turn()))
        rates.append(done / took_s)
        costs_ms.append((thread_time() - cpu_s) * 1000 / done)
        ENGINE.release()

    running = [threading.Thread(target=compare) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return Hashing(sum(rates), mean(costs_ms))
