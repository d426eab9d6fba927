"""How many jobs one worker does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import jobs
from bench.figures import Figure, spread
from bench.many.question import Asked
from bench.scenarios.scenario import in_turn
from bench.turns import Jobs, Round

USERS: Final = 20_000
JOBS: Final = 60_000
CORES: Final = 2
PER_S_MIN: Final = 5_000
"""On so many cores, with PostgreSQL beside it."""

_QUEUES: Final = ("queue", "table")


class Working:
    """One worker takes jobs through NATS, and from their table alone; each time with servers of its own."""

    name = "jobs"
    title = "Jobs of one worker"

    @contextmanager
    def asking(self, _folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""

        def take(number: int) -> Round:
            turns: Round = []
            for queue in in_turn(_QUEUES, number):
                found = jobs.measure(queue, users=USERS, jobs=JOBS)
                asked.tell(f"{queue}: {jobs.told(found).strip()}")
                turns.append(found)
            return turns

        yield take

    def told(self, _turns: Round) -> Round:
        """See `Told`: the figures tell all."""
        return []

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        found = [turn for turns in rounds for turn in turns if isinstance(turn, Jobs)]
        asked = [queue for queue in _QUEUES if any(turn.queue == queue for turn in found)]
        return [figure for queue in asked for figure in _figures(queue, [turn for turn in found if turn.queue == queue])]


def _figures(queue: str, found: Sequence[Jobs]) -> Iterator[Figure]:
    title = f"jobs from the {queue}"
    yield Figure(text=title, unit="a second", spread=spread([turn.per_s for turn in found]), digits=0)
    yield Figure(
        text=f"{title}, if {CORES} cores did nothing else",
        unit="a second",
        spread=spread([turn.per_s_of(CORES) for turn in found]),
        at_least=PER_S_MIN,
        digits=0,
    )
    for part in found[0].cpu_s:
        samples = [turn.cpu_s[part] / turn.done * 1e6 for turn in found]
        yield Figure(text=f"{title}: CPU of {part}", unit="us each", spread=spread(samples), digits=0)
