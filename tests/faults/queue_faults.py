"""The faults of the queue: whatever it loses, doubles, mixes up or makes up costs time, and no effect (DESIGN 5.6)."""

import socket
from urllib.parse import urlsplit

from tests.faults.feed_faults import ending_sessions
from tests.faults.nats_taps import tapped
from tests.faults.parts import Parts
from tests.faults.proxy import Weather
from tests.faults.stages import Stage
from tests.support import nats_servers

_SUBJECT = "tidegate.jobs.records"
_NO_JOBS = (b"", b"0", b"-1", b"\xff\x00", b"nothing", b"9" * 25, b"1 2", b"9223372036854775808")
"""What no worker has put: not a number, a number that no row has, a number that no row can have."""


def queue_killed(stage: Stage) -> None:
    """kill -9 of NATS; it comes back with what it had stored."""
    nats_servers.kill(stage.parts.nats)
    stage.hold()
    stage.parts.nats.start()


def queue_frozen(stage: Stage) -> None:
    """SIGSTOP of NATS: connections stand, nothing is answered."""
    with nats_servers.frozen(stage.parts.nats):
        stage.hold()


def queue_wiped(stage: Stage) -> None:
    """NATS begins anew with an empty disk: what was published and not done is gone."""
    stage.hold()
    nats_servers.wipe(stage.parts.nats)


def queue_cut_off(stage: Stage) -> None:
    """The worker cannot reach NATS, and what stood is reset."""
    with stage.parts.queue.weather(Weather(refuses=True)):
        stage.hold()


def queue_deaf(stage: Stage) -> None:
    """What the worker publishes and acknowledges does not arrive."""
    with stage.parts.queue.weather(Weather(drops_requests=True)):
        stage.hold()


def queue_poisoned(stage: Stage) -> None:
    """Somebody publishes what is no job, and jobs that are long done, and jobs that wait, in any order and often."""
    ids = [b"%d" % stage.chance.randrange(1, 2_000) for _ in range(300)]
    messages = [*_NO_JOBS, *ids, *reversed(ids), *_NO_JOBS]
    stage.chance.shuffle(messages)
    _publish(stage.parts, messages)
    stage.hold()


def queue_replayed(stage: Stage) -> None:
    """All jobs and all changes that are published are published again, twice and the latest first, soon and in the end."""
    with ending_sessions(stage) as ending, tapped(stage.parts.nats.url):
        ending()


def _publish(parts: Parts, messages: list[bytes]) -> None:
    """In the protocol of NATS, without a client: none would send some of these."""
    server = urlsplit(parts.nats.url)
    with socket.create_connection((server.hostname or "", server.port or 0), timeout=10) as line:
        opening = f'CONNECT {{"verbose":false,"pedantic":false,"user":"{server.username}","pass":"{server.password}"}}\r\n'
        line.sendall(opening.encode())
        for message in messages:
            line.sendall(b"PUB %s %d\r\n%s\r\n" % (_SUBJECT.encode(), len(message), message))
        line.sendall(b"PING\r\n")
        heard = b""
        while b"PONG" not in heard:
            octets = line.recv(4096)
            assert octets, heard
            heard += octets
