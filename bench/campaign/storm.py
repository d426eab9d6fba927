"""Everybody who registered through a campaign logs in at once, as fast as the machine can, and the first get coupons."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from bench.campaign.cheap_profile import CHEAP
from bench.campaign.crowds import ASKERS, ENTRANT, dialect_of, enter_campaign, environment, fill
from bench.campaign.looking import (
    LOOK_S,
    STEP_S,
    Happened,
    Look,
    Looking,
    counts_by,
    delays_by_rows,
    delays_seen,
    happened,
    issued_by,
)
from bench.campaign.winners import ASKED_EVERY_S, Winners
from bench.dialect import PASSWORD
from bench.field import Field, Load
from bench.figures import Figure, spread
from bench.ground import Service
from bench.histogram import Histogram
from bench.many.installation import started
from bench.many.question import CONNECTIONS, Asked
from bench.processes import Tree, cores, cpu
from bench.raw_hashing import hash_for
from bench.turns import Granted, Raw, Round, Window

from tidegate.passwords.notations.argon2 import hash_argon2id

WON_SHARE: Final = 0.8
"""Of those who come: so that it is sold out before the storm is over, and the last find nothing."""

WORKERS: Final = 1
_HASHING_S: Final = 1.0
_STORM_S_MAX: Final = 240.0
_GRANTED_S_MAX: Final = 60.0


class Storm:
    """One node with a process a core, one worker, Valkey, NATS and PostgreSQL, as `tidegate up` has them.

    Passwords cost next to nothing, so that the machine is busy with all that is not a hash.
    """

    name = "storm"
    title = "A storm of first logins on one campaign"
    rounds_max = 1

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        with started(folder, users=asked.users, workers=WORKERS, fill=fill, environment=environment()) as installation:
            ground = installation.ground
            cap = max(1, math.floor(asked.users * WON_SHARE))
            campaign = asyncio.run(enter_campaign(ground.dsn, cap=cap))
            node = installation.node("api-1", processes=cores())
            service = Service(
                name=ENTRANT,
                port=node.port,
                tree=Tree(node.pid),
                dialect=dialect_of(ENTRANT),
                beside={"background": installation.background},
            )
            field = Field(ground, {ENTRANT: service}, seconds=_STORM_S_MAX, tell=asked.tell)
            trees = {"postgres": ground.postgres, "node": service.tree, "background": installation.background}

            def take(_number: int) -> Round:
                looking = Looking(ground.dsn, campaign)
                before = {part: cpu(tree).all_s for part, tree in trees.items()}
                winners = Winners(node.port, first_number=asked.users + 1, has_begun=lambda: looking.issued > 0)
                with looking.going_on(), winners.asking():
                    window = field.drive(ENTRANT, [Load("login", CONNECTIONS, requests=asked.users)], label=self.name)
                    looking.wait_until(cap, timeout_s=_GRANTED_S_MAX)
                spent = {part: cpu(tree).all_s - before[part] for part, tree in trees.items()}
                found = asyncio.run(happened(ground.dsn, campaign))
                granted = granted_of(found, looking.looks, cap=cap, eligible=asked.users + ASKERS, workers=WORKERS)
                granted = msgspec.structs.replace(granted, cpu_s=spent, asked=Histogram.of(winners.delays_s))
                return [_cheap_hashes(), window, granted]

            yield take

    def told(self, turns: Round) -> Round:
        """See `Told`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        turns = [turn for round_ in rounds for turn in round_]
        windows = [turn for turn in turns if isinstance(turn, Window)]
        grants = [turn for turn in turns if isinstance(turn, Granted)]
        hashes = [turn.cpu_ms_each * 1000 for turn in turns if isinstance(turn, Raw)]
        whom = f"{grants[0].eligible} eligible, {grants[0].cap} coupons"
        latency = sum((window.streams["login"].good for window in windows), start=Histogram())
        return [
            Figure(text="a hash of the bench: CPU", unit="us each", digits=1, spread=spread(hashes)),
            Figure(text=f"storm ({whom}): logins", unit="a second", digits=0, spread=spread([_rate(w) for w in windows])),
            Figure(text="storm: login latency, p50", unit="ms", digits=0, spread=spread([latency.percentile_ms(50)])),
            Figure(text="storm: login latency, p99", unit="ms", digits=0, spread=spread([latency.percentile_ms(99)])),
            Figure(text="storm: coupons", unit="a second", digits=0, spread=spread([g.per_s for g in grants])),
            *_delays("as the rows say", [g.by_rows for g in grants]),
            *_delays("until the database shows it", [g.seen for g in grants]),
            *_delays(f"until clients who ask every {ASKED_EVERY_S * 1000:.0f} ms see it", _by_clients(grants)),
        ]


def granted_of(found: Happened, looks: Sequence[Look], *, cap: int, eligible: int, workers: int) -> Granted:
    """Sum up what was *found* in the rows after a storm, and by *looks* while it was."""
    start_s = found.first_logins[0]
    last_s = next(look.at_s for look in looks if look.issued >= len(found.granted))
    end_s = max(found.first_logins[-1], last_s)
    steps = 2 + math.ceil((end_s - start_s) / STEP_S)
    return Granted(
        workers=workers,
        eligible=eligible,
        cap=cap,
        granted=len(found.granted),
        seconds=last_s - start_s,
        cpu_s={},
        by_rows=delays_by_rows(found),
        seen=delays_seen(found, looks),
        seen_within_s=LOOK_S,
        step_s=STEP_S,
        first_logins=counts_by(found.first_logins, start_s=start_s, steps=steps),
        grants=issued_by(looks, start_s=start_s, steps=steps),
    )


def _cheap_hashes() -> Raw:
    stored = hash_argon2id(PASSWORD.encode(), CHEAP)
    hashing = hash_for(stored, PASSWORD, threads=cores(), seconds=_HASHING_S)
    return Raw(hashes_per_s=hashing.per_s, cpu_ms_each=hashing.cpu_ms_each, elsewhere_cores=0.0)


def _by_clients(grants: Sequence[Granted]) -> list[Histogram]:
    return [granted.asked for granted in grants if granted.asked.total]


def _rate(window: Window) -> float:
    return window.good_per_s("login")


def _delays(how: str, found: Sequence[Histogram]) -> Iterator[Figure]:
    for percent in (50, 99):
        if found:
            samples = [delays.percentile_ms(percent) for delays in found]
            text = f"storm: first login to coupon {how}, p{percent}"
            yield Figure(text=text, unit="ms", digits=0, spread=spread(samples))
