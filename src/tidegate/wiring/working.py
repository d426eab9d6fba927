"""One worker process: what it is made of, and how it works until it is told to stop."""

import asyncio
import signal
from typing import Final

from tidegate.config import Settings
from tidegate.observability.log import open_log
from tidegate.storage.idempotency import PostgresIdempotencyKeys
from tidegate.storage.jobs import PostgresJobs
from tidegate.storage.sessions import PostgresSessions
from tidegate.usecases.clean_up_idempotency_keys import CleanUpIdempotencyKeys
from tidegate.usecases.clean_up_sessions import CleanUpSessions
from tidegate.usecases.record_logins import RecordLogins
from tidegate.wiring.parts import open_primary, session_lifetimes
from tidegate.worker.loop import WorkerLoop

_CONNECTIONS: Final = 1
"""The loop does one thing at a time."""

_DEAD_FOR_S_MIN: Final = 60
"""Added to how long an access token can outlive its session, before the session's row goes."""


async def run_worker(settings: Settings) -> None:
    """Do jobs and clean up until SIGTERM or SIGINT, then finish the batch under way.

    Raises:
        DatabaseUnavailable: The primary cannot be reached at start; later it is waited for.
    """
    with open_log(settings.log_file) as log:
        async with open_primary(settings, connections=_CONNECTIONS) as primary:

            def report(failure: Exception) -> None:
                log.event("error", "worker", "a round failed and will be tried again", failure)

            loop = WorkerLoop(
                jobs=PostgresJobs(primary),
                record_logins=RecordLogins(),
                clean_ups=[
                    CleanUpSessions(
                        sessions=PostgresSessions(primary, lifetimes=session_lifetimes(settings)),
                        dead_for_s=settings.access_token_ttl_s + _DEAD_FOR_S_MIN,
                    ),
                    CleanUpIdempotencyKeys(keys=PostgresIdempotencyKeys(primary)),
                ],
                on_failure=report,
                poll_interval_s=settings.worker_poll_interval_ms / 1000,
            )
            running = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                running.add_signal_handler(number, loop.stop)
            log.event("info", "worker", "working")
            await loop.run()
        log.event("info", "worker", "stopped")
