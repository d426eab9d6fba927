"""Pure arithmetic: how many of what a rate of logins needs, and which part is full first."""

import math
from typing import Final

import msgspec
from bench.scaling.costs import Costs

NODE_CORES: Final = 16
PRIMARY_CORES: Final = 64
"""Of one machine for PostgreSQL, as they can be rented."""

NODE_BUSY: Final = 0.80
"""Share of the time in which the cores of a node are busy: a node may fail, and its share goes to the others."""

PRIMARY_BUSY: Final = 0.50
LOOP_BUSY: Final = 0.50
"""Of the one thread in which an API process does everything but hash."""

PRIMARY_WAL_BYTES_PER_S: Final = 200e6
"""That one primary writes and sends to its replicas without falling behind: a tenth of a fast local disk."""

CACHE_COMMANDS_PER_S: Final = 100_000.0
"""Of one Valkey, whose one thread answered 145,000 unpipelined commands a second when the stack was chosen."""

QUEUE_MESSAGES_PER_S: Final = 20_000.0
"""Of one stream: 21,000 to 27,000 acknowledged a second were measured with one node when the stack was chosen."""

CONNECTIONS_PER_PROCESS: Final = 9
"""Eight of the pool (TIDEGATE_DATABASE_CONNECTIONS) and the one that hears of revocations."""

LOOKS_PER_LOGIN: Final = 10.0
REFRESHES_PER_LOGIN: Final = 2.0
"""While the crowd is there: what a client does after it has logged in."""

SESSIONS_PER_USER: Final = 2.0


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What a rate of logins needs.

    Attributes:
        logins_per_s: The rate; looks and refreshes come with it.
        cores: Of all nodes.
        nodes: Of `NODE_CORES` each, one to spare.
        processes: API processes of a node: what its event loops have to do, not its cores.
        connections: To the primary, of all nodes.
        primary_cores: Busy for `PRIMARY_BUSY` of the time.
        wal_mb_per_s: That the primary writes, and sends to each replica.
        commits_per_s: On the primary, where as many calls share one as in the measurement.
        cache_commands_per_s: Of Valkey.
        caches: Valkeys that bear it.
        jobs_per_s: One a login.
        streams: Of NATS that bear them.
        primaries: Machines that the writes must be spread over by user: 1 is the PostgreSQL that we ship for.
        limit: What is full first on a single primary.
    """

    logins_per_s: float
    cores: int
    nodes: int
    processes: int
    connections: int
    primary_cores: int
    wal_mb_per_s: float
    commits_per_s: float
    cache_commands_per_s: float
    caches: int
    jobs_per_s: float
    streams: int
    primaries: int
    limit: str


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """What one login costs with the looks and refreshes that come with it; see `costs.Cost`."""

    hash_ms: float
    node_ms: float
    primary_ms: float
    wal_bytes: float
    commits: float
    cache_commands: float


def together(costs: Costs) -> Together:
    """Add up what comes with one login."""
    times = (("login", 1.0), ("me", LOOKS_PER_LOGIN), ("refresh", REFRESHES_PER_LOGIN))

    def of(part: str) -> float:
        return sum(float(getattr(costs.calls[name], part)) * each for name, each in times)

    return Together(**{part: of(part) for part in Together.__struct_fields__})


def fleet(costs: Costs, logins_per_s: float) -> Fleet:
    """Reckon what *logins_per_s* need."""
    cost = together(costs)
    loop_cores = logins_per_s * cost.node_ms / 1_000
    cores = math.ceil((logins_per_s * cost.hash_ms / 1_000 + loop_cores) / NODE_BUSY)
    needed = math.ceil(cores / NODE_CORES)
    processes = max(2, math.ceil(loop_cores / needed / LOOP_BUSY))
    primary_cores = logins_per_s * cost.primary_ms / 1_000 / PRIMARY_BUSY
    wal_bytes_per_s = logins_per_s * cost.wal_bytes
    commands_per_s = logins_per_s * cost.cache_commands
    full = {"CPU": primary_cores / PRIMARY_CORES, "WAL": wal_bytes_per_s / PRIMARY_WAL_BYTES_PER_S}
    return Fleet(
        logins_per_s=logins_per_s,
        cores=cores,
        nodes=needed + 1,
        processes=processes,
        connections=(needed + 1) * processes * CONNECTIONS_PER_PROCESS,
        primary_cores=math.ceil(primary_cores),
        wal_mb_per_s=wal_bytes_per_s / 1e6,
        commits_per_s=logins_per_s * cost.commits,
        cache_commands_per_s=commands_per_s,
        caches=max(1, math.ceil(commands_per_s / CACHE_COMMANDS_PER_S)),
        jobs_per_s=logins_per_s,
        streams=max(1, math.ceil(logins_per_s / QUEUE_MESSAGES_PER_S)),
        primaries=max(1, math.ceil(max(full.values()))),
        limit=max(full, key=full.__getitem__),
    )


def most_on_one_primary(costs: Costs) -> float:
    """Logins a second, with what comes with them, that fill one primary."""
    cost = together(costs)
    by_cpu = PRIMARY_CORES * PRIMARY_BUSY * 1_000 / cost.primary_ms
    return min(by_cpu, PRIMARY_WAL_BYTES_PER_S / cost.wal_bytes)
