"""How late another node knows of a revocation."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from bench.figures import Figure, spread
from bench.ground import CannotMeasureError
from bench.histogram import Histogram
from bench.many.installation import started
from bench.many.question import Asked
from bench.processes import cores
from bench.revocation_delay import delays_s
from bench.turns import Delays, Round

from tidegate.storage.revocations import APPLICATION_NAME

COUNT: Final = 100
"""Revocations of a round: the slowest but one is its p99."""

_PERCENTS: Final = (50, 99)

_QUEUE_S_MAX: Final = 60.0
"""A node that starts hears of revocations from the database, until the queue has been well for 10 s."""

_LISTENERS: Final = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


class Revoking:
    """Two nodes; one revokes a session, the other is asked with its access token until it refuses."""

    name = "revocations"
    title = "From a revocation to its refusal on another node, by the queue"

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        with started(folder, users=1) as installation:
            nodes = [installation.node(name, processes=max(1, cores() // 2)) for name in ("first", "second")]
            asyncio.run(_until_by_queue(installation.ground.dsn))
            here, there = (f"127.0.0.1:{each.port}" for each in nodes)

            def take(_number: int) -> Round:
                found = Delays(delays=Histogram.of(delays_s(here, there, count=COUNT)))
                asked.tell(f"{COUNT} revocations: p99 {found.delays.percentile_ms(99):.1f} ms")
                return [found]

            yield take

    def told(self, _turns: Round) -> Round:
        """See `Told`: the figures tell all."""
        return []

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        found = [turn.delays for turns in rounds for turn in turns if isinstance(turn, Delays)]
        return [
            Figure(
                text=f"revocation known on another node by the queue, p{percent}",
                unit="ms",
                spread=spread([delays.percentile_ms(percent) for delays in found]),
                at_most=1_000,
            )
            for percent in _PERCENTS
        ]


async def _until_by_queue(dsn: str) -> None:
    """Wait until no node listens in the database: from then on the queue alone tells."""
    connection = await asyncpg.connect(dsn)
    try:
        give_up_at = time.monotonic() + _QUEUE_S_MAX
        while await connection.fetchval(_LISTENERS, APPLICATION_NAME):
            if time.monotonic() > give_up_at:
                raise CannotMeasureError(
                    f"Nodes still listen in the database after {_QUEUE_S_MAX:.0f} s: the queue is not well."
                )
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
