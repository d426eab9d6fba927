"""Does the waiting jobs and cleans up, batch by batch, for as long as the process lives and whatever the database does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tidegate.ports import Jobs
from tidegate.usecases.record_logins import RecordLogins

JOBS_AT_ONCE_MAX: Final = 500
"""In one transaction. Updates by unnest cost a tenth of single ones from some hundred rows on (STACK.md section 4)."""

CleanUp = Callable[[], Awaitable[bool]]
"""Does one bounded batch; True when there may be more to do at once."""

_FAILURE_PAUSE_S_MIN: Final = 0.1
_FAILURE_PAUSE_S_MAX: Final = 5.0
"""After a failed round, doubling."""


class WorkerLoop:
    """One worker. Any number may run beside each other: each job is held by one of them."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        record_logins: RecordLogins,
        clean_ups: Sequence[CleanUp],
        on_failure: Callable[[Exception], None],
        poll_interval_s: float = 0.2,
        cleanup_interval_s: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            jobs: Where they wait.
            record_logins: Takes the jobs `LoginSucceeded`.
            clean_ups: Called one after the other.
            on_failure: Told of every round that failed; the round is tried again.
            poll_interval_s: How long to wait when no job was waiting.
            cleanup_interval_s: How long to wait when there was nothing to clean up.
            monotonic: In seconds; tests hold it.
        """
        self._jobs = jobs
        self._record_logins = record_logins
        self._clean_ups = clean_ups
        self._on_failure = on_failure
        self._poll_interval_s = poll_interval_s
        self._cleanup_interval_s = cleanup_interval_s
        self._monotonic = monotonic
        self._stopping = asyncio.Event()
        self._polled_at = monotonic()
        self._cleanup_due_at = monotonic()
        self._jobs_done = 0

    async def run(self) -> None:
        """Work until `stop`."""
        pause_s = _FAILURE_PAUSE_S_MIN
        while not self._stopping.is_set():
            try:
                is_more = await self._do_jobs()
                is_more |= await self._clean_up()
            except Exception as failure:
                self._on_failure(failure)
                await self._rest(pause_s)
                pause_s = min(pause_s * 2, _FAILURE_PAUSE_S_MAX)
            else:
                pause_s = _FAILURE_PAUSE_S_MIN
                if not is_more:
                    await self._rest(self._poll_interval_s)

    def stop(self) -> None:
        """Let `run` return when the batch under way is done."""
        self._stopping.set()

    @property
    def jobs_done(self) -> int:
        """How many jobs this worker has done."""
        return self._jobs_done

    @property
    def poll_age_s(self) -> float:
        """Seconds since it last looked for jobs with success; grows while the database is away or the loop hangs."""
        return self._monotonic() - self._polled_at

    async def _do_jobs(self) -> bool:
        async with self._jobs.take(at_most=JOBS_AT_ONCE_MAX) as batch:
            await self._record_logins(batch)
        self._jobs_done += len(batch.logins)
        self._polled_at = self._monotonic()
        return len(batch.logins) == JOBS_AT_ONCE_MAX

    async def _clean_up(self) -> bool:
        if self._monotonic() < self._cleanup_due_at:
            return False
        is_more = any([await clean_up() for clean_up in self._clean_ups])
        if not is_more:
            self._cleanup_due_at = self._monotonic() + self._cleanup_interval_s
        return is_more

    async def _rest(self, seconds: float) -> None:
        """Wait, but not for `stop`."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
