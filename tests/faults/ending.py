"""What every run ends with: each node is asked until it serves everything, and what is in the primary is read back."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.faults.calling import Caller, Calls, Person, new_person
from tests.faults.history import Kind, Recorder
from tests.faults.ledger import read_ledger, rows_of
from tests.faults.parts import Parts

_PROBED_FOR_S: Final = 45.0
_DRAINED_WITHIN_S: Final = 60.0
"""A job that the queue has lost is published again when its claim ends, after 20 s."""

_READ_BACK_LOGINS: Final = 40


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


def drain(parts: Parts) -> None:
    """Wait until no job waits; what still does after a generous time is a finding."""
    give_up_at = time.monotonic() + _DRAINED_WITHIN_S
    while read_ledger(parts.dsn).waiting and time.monotonic() < give_up_at:
        time.sleep(0.2)


def read_back(parts: Parts, recorder: Recorder, persons: Sequence[Person], ports: Mapping[str, int]) -> None:
    """Look everybody up in the primary, under each name; log some in, by their latest passwords."""
    rows = rows_of(parts.dsn)
    for person in persons:
        row = rows.get(person.username, {})
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
