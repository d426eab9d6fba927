"""What every run ends with: each node is asked until it serves everything, and what is in the primary is read back."""

import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.faults.calling import Caller, Calls, Person, new_person
from tests.faults.history import Kind, Recorder
from tests.faults.ledger import read_ledger, rows_of
from tests.faults.parts import Parts
from tests.support.tables import rows

_PROBED_FOR_S: Final = 45.0
_DRAINED_WITHIN_S: Final = 60.0
"""A job that the queue has lost is published again when its claim ends, after 20 s."""

_READ_BACK_LOGINS: Final = 40

_SAID_CHARACTERS_MAX: Final = 4_000

_SEEN: Final = {
    "jobs": "SELECT kind, tries, error, count(*), min(job_id), max(job_id), min(due_at)::text AS due_at, now()::text"
    " FROM jobs GROUP BY kind, tries, error ORDER BY min(job_id)",
    "noted": "SELECT count(*) AS batches, sum(cardinality(jobs)) AS jobs FROM job_batches",
    "session": "SELECT pid, application_name, state, wait_event_type, wait_event, (now() - xact_start)::text AS began_ago,"
    " pg_blocking_pids(pid) AS waits_for, left(query, 100) AS query FROM pg_stat_activity"
    " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start",
    "locks": "SELECT pid, granted, mode, array_agg(DISTINCT coalesce(relation::regclass::text, locktype)) AS held"
    " FROM pg_locks WHERE mode <> 'AccessShareLock' AND locktype <> 'virtualxid' AND pid <> pg_backend_pid()"
    " GROUP BY pid, granted, mode",
}


def probe(recorder: Recorder, ports: Mapping[str, int], seed: int) -> list[Person]:
    """Ask each of *ports* for everything until it serves, or for longer than it may take; who was registered for that."""
    chance = random.Random(f"probe {seed}")
    give_up_at = time.monotonic() + _PROBED_FOR_S
    waiting = list(ports)
    persons: list[Person] = []
    while waiting and time.monotonic() < give_up_at:
        for node in list(waiting):
            persons.append(new_person("probe", len(persons), chance))
            if _serves_all(Calls("probe", recorder, Caller(ports)), node, persons[-1]):
                waiting.remove(node)
        time.sleep(0.1)
    return persons


def _serves_all(calls: Calls, node: str, person: Person) -> bool:
    with calls.recorder.call(Kind.PROBE, client="probe", node=node) as under_way:
        statuses = [calls.register(person, node)]
        status, session = calls.log_in(person, node, 0, "username")
        statuses.append(status)
        if session is not None:
            statuses.append(calls.me(person, node, session))
            statuses.append(calls.refresh(person, node, session, session.refresh_token)[0])
        calls.caller.close()
        under_way.status = 200 if statuses == [200] * 4 else None
    return under_way.status == 200


def drain(parts: Parts) -> str:
    """Wait until no job waits; what still does after a generous time is a finding, and what `unrest` tells comes back."""
    give_up_at = time.monotonic() + _DRAINED_WITHIN_S
    while read_ledger(parts.dsn).waiting:
        if time.monotonic() >= give_up_at:
            return unrest(parts)
        time.sleep(0.2)
    return ""


def unrest(parts: Parts) -> str:
    """What can be seen only now of a run that does not come to rest: jobs, sessions, locks, workers and what they said."""
    lines = [f"{title}: {dict(row)}" for title, statement in _SEEN.items() for row in rows(parts.dsn, statement)]
    for worker in parts.workers:
        said = (worker.folder / f"{worker.command[0]}.out").read_text(errors="replace")[-_SAID_CHARACTERS_MAX:]
        lines.append(f"{worker.folder.name}: {state_of(worker.process)}\n{said}")
    return "\n".join(lines)


def state_of(process: subprocess.Popen[bytes]) -> str:
    """Its exit code, or how it lives: S asleep, R running, T stopped."""
    ended = process.poll()
    if ended is not None:
        return f"ended with {ended}"
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def read_back(parts: Parts, recorder: Recorder, persons: Sequence[Person], ports: Mapping[str, int]) -> None:
    """Look everybody up in the primary, under each name; log some in, by their latest passwords."""
    users = rows_of(parts.dsn)
    for person in persons:
        row = users.get(person.username, {})
        for kind, name in person.names.items():
            with recorder.call(
                Kind.LOOK_UP, client="read-back", node="primary", user=person.username, named_by=kind
            ) as under_way:
                under_way.status = 200 if row.get(kind) == name else 404
                under_way.note(wish=row.get("full_name"))
    calls = Calls("read-back", recorder, Caller(ports))
    for person in persons[:: max(1, len(persons) // _READ_BACK_LOGINS)]:
        node = sorted(ports)[len(person.username) % len(ports)]
        for label in range(max(0, person.labels - 3), person.labels):
            calls.log_in(person, node, label, "username")
    calls.caller.close()
