"""Carries the ids of jobs through JetStream to whichever worker is free; what they say stays in PostgreSQL.

A message is the id of a row and nothing else, so nothing private is in the queue, and whatever is lost there, doubled or
reordered costs time: the row alone says what is to be done, and whether it was.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from tidegate.domain.jobs import Claimed
from tidegate.queue.connection import QueueConnection
from tidegate.queue.messages import Incoming, Outgoing, QueueAway, StreamMissing

T = TypeVar("T")

STREAM: Final = "tidegate-jobs"
_SUBJECT: Final = "tidegate.jobs"
_SECOND: Final = 1_000_000_000

DUPLICATE_WINDOW_S: Final = 10
"""A publication tried again because its answer was lost counts once. Shorter than any claim is held, or what is published
again because the queue lost it would be taken for a duplicate."""

ACK_WAIT_S: Final = 15
"""When a worker that died with a job is given up; far over what a batch takes, under the 30 s of promise P12."""

_STREAM_CONFIG: Final[dict[str, Any]] = {
    "subjects": [f"{_SUBJECT}.>"],
    "retention": "workqueue",  # what is done is gone
    "storage": "file",
    "max_age": 3_600 * _SECOND,
    "duplicate_window": DUPLICATE_WINDOW_S * _SECOND,
}
_ID_DIGITS_MAX: Final = 18
"""No more fit into a bigint whatever they are; the database would refuse a whole batch for one that does not."""

_CONSUMER_CONFIG: Final[dict[str, Any]] = {
    "ack_policy": "explicit",
    "ack_wait": ACK_WAIT_S * _SECOND,
    "max_deliver": -1,  # tries are counted in the row
    "max_ack_pending": 50_000,
    "deliver_policy": "all",
}


class JobCarrier:
    """`ports.jobs.Carrier`: one lane, with a durable consumer that all workers share.

    Makes the stream and the consumer when it first meets a server, and anew when that has lost them.
    """

    def __init__(self, connection: QueueConnection, *, lane: str) -> None:
        self._connection = connection
        self._lane = lane
        self._is_made = False
        self._takes_none = False
        self._pulled: dict[int, list[Incoming]] = {}

    @property
    def is_up(self) -> bool:
        """See `ports.jobs.Carrier.is_up`."""
        return self._connection.is_up

    async def publish(self, claimed: Sequence[Claimed]) -> bool:
        """See `ports.jobs.Carrier.publish`."""
        # A job that failed and is tried again soon must not be taken for a duplicate of its first try.
        messages = [
            Outgoing(f"{_SUBJECT}.{self._lane}", b"%d" % job.job_id, f"{job.job_id}.{job.tries}") for job in claimed
        ]
        self._takes_none = await self._asked(lambda: self._connection.publish_all(messages)) is None
        return not self._takes_none

    async def backlog(self) -> int | None:
        """See `ports.jobs.Carrier.backlog`."""
        return await self._asked(lambda: self._connection.unacknowledged(STREAM, self._lane))

    async def pull(self, *, at_most: int, wait_s: float) -> Sequence[int] | None:
        """See `ports.jobs.Carrier.pull`."""
        if self._takes_none:  # its storage is full, say: then it still gives what it has, and nothing more comes
            wait_s = 0.0
        messages = await self._asked(lambda: self._connection.pull(STREAM, self._lane, at_most=at_most, wait_s=wait_s))
        if messages is None or (self._takes_none and not messages):
            return None
        pulled: list[int] = []
        for message in messages:
            if message.payload.isdigit() and len(message.payload) <= _ID_DIGITS_MAX:
                job = int(message.payload)
                self._pulled.setdefault(job, []).append(message)
                pulled.append(job)
            else:  # not ours, and it must not come back for ever
                with suppress(QueueAway):
                    await self._connection.ack([message])
        return pulled

    async def settle(self, jobs: Sequence[int]) -> None:
        """See `ports.jobs.Carrier.settle`."""
        with suppress(QueueAway):  # then they come again, and are found done
            await self._connection.ack(self._messages_of(jobs))

    async def put_back(self, jobs: Sequence[int], *, delay_s: float) -> None:
        """See `ports.jobs.Carrier.put_back`."""
        with suppress(QueueAway):
            await self._connection.put_back(self._messages_of(jobs), delay_s=delay_s)

    def _messages_of(self, jobs: Sequence[int]) -> list[Incoming]:
        return [message for job in jobs for message in self._pulled.pop(job, ())]

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        try:
            if not self._is_made:
                await self._make()
            try:
                return await ask()
            except StreamMissing:
                await self._make()
                return await ask()
        except QueueAway:
            self._is_made = False
            return None

    async def _make(self) -> None:
        await self._connection.ensure_stream(STREAM, _STREAM_CONFIG)
        subject = f"{_SUBJECT}.{self._lane}"
        await self._connection.ensure_consumer(STREAM, self._lane, {**_CONSUMER_CONFIG, "filter_subject": subject})
        self._is_made = True
