"""Publishes the jobs of one lane, as long as there is a queue: claimed by flag, for a time, so that none is passed over.

The claim is a lease in the row and is not given back. Killed before publishing, the relay loses that time; what was
published and lost, wherever, is published again when the lease ends; what was published and done has no row any more.
"""

from typing import Final

from tidegate.ports.jobs import Carrier, Jobs
from tidegate.worker.lanes import Lane, Watcher

CLAIMED_FOR_S: Final = 20.0
"""Over the duplicate window of the stream (10 s), or it would swallow what is published again; under the 30 s of P12."""

CLAIMED_MAX: Final = 1_000
"""In one statement, and as many acknowledgements under way."""

BACKLOG_MAX: Final = 10_000
"""Published and not done. More wait in the table, where they are not published again and again while workers lag."""


class Relay:
    """One lane's relay. Any number may run beside each other."""

    def __init__(self, lane: Lane, *, jobs: Jobs, carrier: Carrier, watcher: Watcher) -> None:
        self._lane = lane
        self._jobs = jobs
        self._carrier = carrier
        self._watcher = watcher

    async def work(self) -> bool:
        """Publish one batch; True when there may be more at once.

        Raises:
            Unavailable: The database is; nothing is lost.
        """
        if not self._carrier.is_up:
            return False
        backlog = await self._carrier.backlog()
        if backlog is None or backlog >= BACKLOG_MAX:
            return False
        at_most = min(CLAIMED_MAX, BACKLOG_MAX - backlog)
        claimed = await self._jobs.claim(self._lane.kinds, at_most=at_most, again_after_s=CLAIMED_FOR_S)
        if not claimed or not await self._carrier.publish(claimed):
            return False
        self._watcher.relayed(self._lane.name, [job.age_s for job in claimed])
        return len(claimed) == at_most
