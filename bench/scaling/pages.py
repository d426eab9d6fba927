"""docs/SCALING.md, written from the measured costs."""

from collections.abc import Sequence
from typing import Final

from bench.scaling import fleet as taken
from bench.scaling.costs import CONNECTIONS, Costs
from bench.scaling.fleet import Fleet, fleet, most_on_one_primary

RATES: Final = (1_000.0, 10_000.0, 100_000.0)
USERS: Final = (1e6, 10e6, 100e6)

_HEAD: Final = """\
# What a fleet looks like

Reckoned on paper from what one node was measured to cost; no such fleet has been run. `python -m bench.scaling` prints this
page, `--measure` measures first.
"""

_PARTS: Final = """\
## Which part grows how

- **API nodes** grow with the logins, and nothing else matters for them: a hash is nearly all of a login. They keep no
  state.
- **HAProxy** sees a login, {looks:.0f} looks and {refreshes:.0f} refreshes as {requests:.0f} requests. Two machines
  with one address between them (VRRP) are for being there always; from some 100,000 requests/s on, DNS or an anycast
  address spreads them over more.
- **The primary** takes what must be written: a session for each login, a generation for each refresh, the job's row.
  Many calls share one commit, so its disk sees fewer syncs the more is going on.
- **Replicas** take look-ups of users and cannot take writes: two for being there always, more only when look-ups fill
  them.
- **Valkey** counts failures and remembers profiles. It may be lost at any time. More than one: split by key (Valkey
  Cluster).
- **NATS** carries a message for each job. Three servers, so that one may be lost; more streams (by user) when one is
  full.

## When one primary is not enough

Here one primary of {cores} cores is full at about **{most:,.0f} logins/s** with what comes with them. Well before:
1. Partition `sessions` by hash of `session_id` and `jobs` by time. It makes vacuum and indexes small, on the same
   machine.
2. Shorten what a session writes: `TIDEGATE_SESSION_IDLE_TTL_S` decides how many rows lie about.

Beyond that the writes must be spread over several PostgreSQL. Sessions and jobs belong to one user, and every hot
statement names one: they spread by `user_id` (Citus: distribute `users`, `sessions` and `jobs` by it). What stands in
the way, said now so that nobody finds out late: a refresh token names the session and not the user, so its shard must
be put into the token; the three unique identifiers are unique over all shards only through a table of names of its
own; the existence filter's lease (`alone`) is for one database. None of this is built.
"""

_TAKEN: Final = """\
## What this takes for granted

| number | for |
| --- | --- |
| {NODE_CORES} cores, busy for {NODE_BUSY:.0%} | an API node; one more than needed |
| {LOOP_BUSY:.0%} | of the thread in which an API process does everything but hash |
| {PRIMARY_CORES} cores, busy for {PRIMARY_BUSY:.0%} | the largest primary |
| {wal:.0f} MB/s | of WAL that a primary writes and sends |
| {CACHE_COMMANDS_PER_S:,.0f} commands/s | of one Valkey: 145,000 were measured when the stack was chosen, unpipelined |
| {QUEUE_MESSAGES_PER_S:,.0f} messages/s | of one stream: 21,000 to 27,000 acknowledged were measured then |
| {LOOKS_PER_LOGIN:.0f} looks, {REFRESHES_PER_LOGIN:.0f} refreshes | that come with each login while the crowd is there |
| {SESSIONS_PER_USER:.0f} | live sessions of a user |
| {CONNECTIONS_PER_PROCESS} | connections to the primary of an API process |

The first four and the last three are choices, not measurements. Costs on other cores differ: `tidegate calibrate` there,
and `tidegate capacity` for a storm of your own.
"""


def page(costs: Costs) -> str:
    """All of it, in Markdown."""
    fleets = [fleet(costs, rate) for rate in RATES]
    numbers = {name: value for name, value in vars(taken).items() if name.isupper()}
    return "\n".join(
        [
            _HEAD,
            "## Measured",
            "",
            f"Commit {costs.commit}, {costs.machine['cores']} cores of {costs.machine['cpu']},",
            f"Python {costs.machine['python']}; node, PostgreSQL and driver on",
            f"them, {CONNECTIONS} connections. What the worker does later is in it.",
            "",
            *_table(
                ("one", "hash ms", "node ms", "primary ms", "WAL bytes", "commits", "Valkey commands"),
                [
                    (
                        name,
                        f"{cost.hash_ms:.2f}",
                        f"{cost.node_ms:.3f}",
                        f"{cost.primary_ms:.3f}",
                        f"{cost.wal_bytes:.0f}",
                        f"{cost.commits:.3f}",
                        f"{cost.cache_commands:.2f}",
                    )
                    for name, cost in costs.calls.items()
                ],
            ),
            "",
            f"A user's row takes {costs.user_bytes:.0f} bytes with its indexes, a session's {costs.session_bytes:.0f};",
            f"the node took {costs.node_mib:.0f} MiB.",
            "",
            "## Fleets",
            "",
            *_fleets(fleets),
            "",
            "## Disk of the primary, and of each replica",
            "",
            *_table(
                ("users", "users GB", f"sessions GB, {taken.SESSIONS_PER_USER:.0f} each"),
                [
                    (
                        f"{users / 1e6:,.0f} M",
                        f"{users * costs.user_bytes / 1e9:.1f}",
                        f"{users * taken.SESSIONS_PER_USER * costs.session_bytes / 1e9:.1f}",
                    )
                    for users in USERS
                ],
            ),
            "",
            _PARTS.format(
                looks=taken.LOOKS_PER_LOGIN,
                refreshes=taken.REFRESHES_PER_LOGIN,
                requests=1 + taken.LOOKS_PER_LOGIN + taken.REFRESHES_PER_LOGIN,
                cores=taken.PRIMARY_CORES,
                most=most_on_one_primary(costs),
            ),
            _TAKEN.format(**numbers, wal=taken.PRIMARY_WAL_BYTES_PER_S / 1e6).rstrip(),
            "",
        ]
    )


def _fleets(fleets: Sequence[Fleet]) -> list[str]:
    def row(name: str, form: str, values: Sequence[float | str]) -> tuple[str, ...]:
        return (name, *(format(value, form) for value in values))

    return _table(
        row("logins/s", ",.0f", [each.logins_per_s for each in fleets]),
        [
            row("cores of API nodes", ",", [each.cores for each in fleets]),
            row(f"nodes of {taken.NODE_CORES} cores, one to spare", ",", [each.nodes for each in fleets]),
            row("TIDEGATE_API_PROCESSES of a node", ",", [each.processes for each in fleets]),
            row("connections to the primary", ",", [each.connections for each in fleets]),
            row("cores of the primary", ",", [each.primary_cores for each in fleets]),
            row("WAL MB/s", ",.1f", [each.wal_mb_per_s for each in fleets]),
            row("commits/s", ",.0f", [each.commits_per_s for each in fleets]),
            row("Valkey commands/s", ",.0f", [each.cache_commands_per_s for each in fleets]),
            row("Valkeys", ",", [each.caches for each in fleets]),
            row("jobs/s", ",.0f", [each.jobs_per_s for each in fleets]),
            row("streams of NATS", ",", [each.streams for each in fleets]),
            row("primaries that the writes need", ",", [each.primaries for each in fleets]),
            row("what fills a primary first", "", [each.limit for each in fleets]),
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
