"""Says how many passwords the cores could compare if a login cost nothing else: what a login is measured against."""

import threading
from time import monotonic

from argon2.low_level import Type, verify_secret


def hashes_per_s(stored: str, password: str, *, threads: int, seconds: float) -> float:
    """Return how often *password* was compared with *stored* in a second, on so many threads at once.

    Each thread counts whole hashes and divides by its own time, so that none is cut off by the clock. argon2-cffi lets go
    of the interpreter while it hashes.

    Args:
        stored: An Argon2id hash of *password*.
        password: The right one.
        threads: As many as there are cores.
        seconds: For how long.
    """
    rates: list[float] = []
    together = threading.Barrier(threads)

    def compare() -> None:
        hashed, octets, done = stored.encode(), password.encode(), 0
        for _ in range(3):  # glibc keeps a thread's memory only after it has given it back once
            verify_secret(hashed, octets, Type.ID)
        together.wait()
        started_at = monotonic()
        while (took_s := monotonic() - started_at) < seconds:
            verify_secret(hashed, octets, Type.ID)
            done += 1
        rates.append(done / took_s)

    running = [threading.Thread(target=compare) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(rates)
