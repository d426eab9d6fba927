"""A run with a campaign: a crowd logs in for the first time while everything dies; in the end the first N have coupons.

Some are let in during each fault, so that the line is served while it lasts; from the last one on, everybody comes who can.
In the end the rows are read back, for `checkers_of_campaigns.coupons_exact` to count them anew.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg

from tests.faults.calling import Person
from tests.faults.campaign_faults import CAMPAIGN_FAULTS, of_campaigns
from tests.faults.disturbances import DISTURBANCES, Disturbance
from tests.faults.ending import drain, probe, read_back, unrest
from tests.faults.first_logins import PASSWORD, FirstLogins
from tests.faults.history import Campaign, Grant, History, Recorder
from tests.faults.ledger import open_ledger, read_ledger
from tests.faults.parts import CHEAP_PROFILE, Parts, Starting
from tests.faults.plans import REPLICAS, Planned
from tests.faults.primaries import Primaries, own_folder
from tests.faults.stages import Stage
from tests.support.campaigns import CODE, make_campaign
from tests.support.databases import make_migrated_database
from tests.support.tables import rows
from tidegate.passwords.notations.argon2 import hash_argon2id
from tidegate.passwords.profiles import DEFAULT_PROFILE

ELIGIBLE: Final = 20_000

CAMPAIGN_PLAN: Final = (
    *CAMPAIGN_FAULTS,
    "worker killed",
    "worker stopped",
    "queue killed",
    "queue wiped",
    "queue replayed",
    "cache killed",
    "cache from an old dump",
    "primary killed",
    "primary frozen",
    "commits unheard",
    "answers cut",
    "node killed",
    "late commits",
)
"""What is drawn from: whoever hands jobs on, whoever grants, and whoever is told."""

CAMPAIGN_PLAN_SHORT: Final = ("queue replayed", "cache killed", "primary killed", "worker killed", "first logins late")
"""One of each that issue 5 names: so much can always be had in a minute."""

_LET_IN_SHARE: Final = 0.8
"""Of the cap, before the last fault: with it comes everybody else, and the end of the coupons."""

_ANSWERED_WITHIN_S: Final = 20.0
_FLOOD_LOGINS_MIN: Final = 2
"""Times the cap: so many more log in, however slow the machine is."""

_FLOOD_S: Final = 4.0
_FLOOD_S_MAX: Final = 60.0
_SERVED_WITHIN_S: Final = 60.0


def run_campaign(
    seed: int,
    plan: Sequence[Planned],
    *,
    cap: int,
    eligible: int = ELIGIBLE,
    source: Path | None = None,
    statements: Sequence[str] = (),
) -> History:
    """Let everything happen, and return what did.

    Call it from the main thread: servers end when the thread that started them ends.

    Args:
        seed: Of the clients' chance.
        plan: The faults, one after the other.
        cap: How many coupons there are.
        eligible: How many have registered through the campaign.
        source: The folder of another build's package; None: ours.
        statements: What is changed in the database before anything is started, to remove a guard that is there.
    """
    recorder = Recorder()
    with own_folder() as folder, Primaries(folder).opened() as primaries:
        database = make_migrated_database(primaries.leader)
        open_ledger(primaries.leader.dsn(database))
        usernames = asyncio.run(_fill(primaries.leader.dsn(database), cap, eligible))
        for statement in statements:
            rows(primaries.leader.dsn(database), statement)
        known = [DISTURBANCES.get(each.name) for each in plan]
        if any(each is not None and each.needs_replicas for each in known):
            primaries.add_replicas(REPLICAS)
        with Starting(folder, primaries, database, source=source, HASH_PROFILE=CHEAP_PROFILE.name) as parts:
            ports = parts.ports
            crowd = FirstLogins(recorder, ports, random.Random(f"line {seed}").sample(usernames, len(usernames)), seed)
            with crowd.coming():
                strangers = list(_disturb(parts, recorder, crowd, plan, seed, cap=cap))
            healed_s = time.monotonic()
            persons = [*strangers, *probe(recorder, ports, seed)]
            read_back(parts, recorder, persons, ports)
            is_served = _await_served(parts)
            unresting = drain(parts) or ("" if is_served else unrest(parts))
            return History(
                seed=seed,
                calls=recorder.calls,
                faults=recorder.faults,
                jobs=read_ledger(parts.dsn),
                nodes=tuple(ports),
                healed_s=healed_s,
                campaign=asyncio.run(_read_campaign(parts.dsn, _complaint(parts))),
                unrest=unresting,
            )


async def _fill(dsn: str, cap: int, eligible: int) -> list[str]:
    """Make a campaign and all who have registered through it, with one hash: it is their logins that are to be many."""
    connection = await asyncpg.connect(dsn)
    campaign = await make_campaign(connection, cap=cap)
    made = await connection.fetch(
        "WITH added AS (INSERT INTO users (userid, username, password)"
        " SELECT gen_random_uuid(), 'eligible-' || number, $1 FROM generate_series(1, $2::int) AS number"
        " RETURNING userid, username"
        "), entered AS (INSERT INTO entrants (user_id, campaign_id) SELECT userid, $3 FROM added)"
        " SELECT username FROM added",
        hash_argon2id(PASSWORD.encode(), CHEAP_PROFILE),
        eligible,
        campaign,
    )
    await connection.execute("VACUUM ANALYZE users, entrants")
    await connection.close()
    return [row["username"] for row in made]


def _disturb(
    parts: Parts, recorder: Recorder, crowd: FirstLogins, plan: Sequence[Planned], seed: int, *, cap: int
) -> Iterator[Person]:
    """Let all of *plan* happen; whom the faults have registered themselves."""
    disturbances: Mapping[str, Disturbance] = DISTURBANCES | of_campaigns(crowd)
    persons: list[Person] = []
    for number, planned in enumerate(plan):
        if number == len(plan) - 1:
            crowd.flood()
        else:
            crowd.let_in(round(cap * _LET_IN_SHARE / max(1, len(plan) - 1)), planned.hold_s)
        disturbance = disturbances[planned.name]
        chance = random.Random(f"fault {number} {seed}")
        hold = partial(time.sleep, planned.hold_s)
        stage = Stage(parts, parts.node(planned.node), chance, hold, recorder, persons)
        with recorder.fault(planned.name, disturbance.targets(stage)):
            disturbance.act(stage)
        _start_again(parts)
        if number < len(plan) - 1:
            crowd.await_none_under_way(_ANSWERED_WITHIN_S)
    began_s = time.monotonic()
    while time.monotonic() < began_s + _FLOOD_S or (
        crowd.acknowledged < _FLOOD_LOGINS_MIN * cap and time.monotonic() < began_s + _FLOOD_S_MAX
    ):
        time.sleep(0.1)
    yield from persons


def _start_again(parts: Parts) -> None:
    """As whoever runs a service does for a worker that found no primary when it was started, and ended."""
    for worker in parts.workers:
        if worker.process.poll() is not None:
            worker.start()


def _await_served(parts: Parts) -> bool:
    """Wait until the coupons have gone, and tell whether they have; what has not after a generous time is a finding."""
    give_up_at = time.monotonic() + _SERVED_WITHIN_S
    while time.monotonic() < give_up_at:
        _start_again(parts)
        if not rows(parts.dsn, "SELECT FROM campaigns WHERE state = 'active' AND issued < cap"):
            return True
        time.sleep(0.2)
    return False


def _complaint(parts: Parts) -> str:
    """What the service's own recount says that is not well."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "campaigns", "verify", CODE],
        env=dict(parts.operator) | {"TIDEGATE_HASH_PROFILE": DEFAULT_PROFILE.name},
        cwd=parts.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return "" if done.returncode == 0 else f"{done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


async def _read_campaign(dsn: str, complaint: str) -> Campaign:
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow("SELECT cap, issued, held, state FROM campaigns")
    assert row is not None
    eligible = await connection.fetch("SELECT user_id::text FROM entrants")
    grants = await connection.fetch("SELECT user_id::text, rank, state, couponid::text FROM grants ORDER BY rank")
    coupons = await connection.fetch("SELECT couponid::text, code FROM coupons")
    mirrored = await connection.fetch("SELECT userid::text, discount::text[] FROM users WHERE cardinality(discount) > 0")
    await connection.close()
    return Campaign(
        **dict(row),
        complaint=complaint,
        eligible=frozenset(each["user_id"] for each in eligible),
        grants=tuple(Grant(user=each[0], rank=each[1], state=each[2], coupon=each[3]) for each in grants),
        coupons={each["couponid"]: each["code"] for each in coupons},
        mirrored={each["userid"]: tuple(each["discount"]) for each in mirrored},
    )
