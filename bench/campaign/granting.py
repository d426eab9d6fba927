"""How many coupons workers grant when nobody logs in meanwhile: all are noted and wait."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.campaign.crowds import activate, enter_campaign, environment, fill
from bench.campaign.looking import LOOK_S, Looking
from bench.figures import Figure, spread
from bench.many.installation import started
from bench.many.question import Asked
from bench.processes import Tree, cpu, wait_until_quiet
from bench.turns import Granted, Round

WORKERS_MAX: Final = 2
CORES: Final = 2
_GRANTED_S_MAX: Final = 240.0


class Granting:
    """The line is full when the campaign begins; first one worker serves it, then one more."""

    name = "grants"
    title = "Coupons at their own speed"
    rounds_max = 1

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        with started(folder, users=asked.users, workers=0, fill=fill, environment=environment()) as installation:
            dsn, postgres = installation.ground.dsn, installation.ground.postgres
            workers: list[Tree] = []

            def take(_number: int) -> Round:
                turns: Round = []
                for count in range(1, WORKERS_MAX + 1):
                    workers.append(installation.worker(f"worker-{count}"))
                    granted = _granted(dsn, postgres, workers, users=asked.users)
                    asked.tell(f"{count} workers: {granted.per_s:.0f} coupons/s")
                    turns.append(granted)
                return turns

            yield take

    def told(self, _turns: Round) -> Round:
        """See `Told`: the figures tell all."""
        return []

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        turns = [turn for round_ in rounds for turn in round_ if isinstance(turn, Granted)]
        by_workers = {count: [turn for turn in turns if turn.workers == count] for count in range(1, WORKERS_MAX + 1)}
        return [figure for count, found in by_workers.items() for figure in _figures(count, found)]


def _figures(count: int, found: Sequence[Granted]) -> Iterator[Figure]:
    text = f"coupons of {count} worker{'' if count == 1 else 's'}, {found[0].granted} in line"
    yield Figure(text=text, unit="a second", digits=0, spread=spread([turn.per_s for turn in found]))
    for part in found[0].cpu_us_each:
        samples = [turn.cpu_us_each[part] for turn in found]
        yield Figure(text=f"{text}: CPU of {part}", unit="us each", digits=0, spread=spread(samples))


def _granted(dsn: str, postgres: Tree, workers: Sequence[Tree], *, users: int) -> Granted:
    """Let *workers* grant a coupon to each of so many *users*."""
    campaign = asyncio.run(enter_campaign(dsn, cap=users, state="draft", are_noted=True))
    wait_until_quiet([postgres, *workers])
    trees = {"worker": Tree(workers[0].root, also=tuple(tree.root for tree in workers[1:])), "postgres": postgres}
    before = {part: cpu(tree).all_s for part, tree in trees.items()}
    looking = Looking(dsn, campaign)
    with looking.going_on():
        looking.wait_until(0, timeout_s=_GRANTED_S_MAX)
        asyncio.run(activate(dsn, campaign))
        looking.wait_until(users, timeout_s=_GRANTED_S_MAX)
    spent = {part: cpu(tree).all_s - before[part] for part, tree in trees.items()}
    began_s = max(look.at_s for look in looking.looks if not look.issued)  # before it the workers rested and did not know
    ended_s = next(look.at_s for look in looking.looks if look.issued >= users)
    return Granted(
        workers=len(workers),
        eligible=users,
        cap=users,
        granted=users,
        seconds=ended_s - began_s,
        cpu_s=spent,
        seen_within_s=LOOK_S,
    )
