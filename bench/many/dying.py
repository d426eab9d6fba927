"""How long the death of each part is felt."""

import asyncio
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
from bench import node
from bench.figures import Figure, spread
from bench.ground import CannotMeasureError, running
from bench.many.callers import Callers, aftermath
from bench.many.question import Asked
from bench.turns import Kill, Round
from dotenv import dotenv_values

from tidegate.cluster.control import NoClusterError, Request, ask
from tidegate.cluster.processes import kill

PARTS: Final = ("api-1", "haproxy", "replica-1", "valkey", "nats", "worker-1", "postgres")

_PORTS: Final = range(14_000, 31_000)
"""Below those of outgoing connections; a cluster takes some in a row, and some a thousand higher."""

_ROW: Final = 3

_START_S_MAX: Final = 180.0
_STOP_S_MAX: Final = 60.0
_AGAIN_S_MAX: Final = 90.0
_POLL_S: Final = 0.05
_ANSWER_S_MAX: Final = 90.0
"""A cluster that starts a part answers when it runs."""

_AFTER_S: Final = 2.0
"""Watched on, once the part is there again: somebody may still be refused."""

_STEADY_S: Final = 65.0
"""Who has lived for a minute is started again at once; who dies more often, later each time."""

_FIRST_S: Final = 12.0
"""Who dies within its first ten seconds is taken for broken."""

_IS_JOB_DONE: Final = "SELECT EXISTS (SELECT FROM audit WHERE at > $1)"


class Dying:
    """A `tidegate cluster` of two nodes, whose parts are killed one after the other while people log in."""

    name = "kills"
    title = "From a kill to the first good answer"

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
        port, data = _port(), folder / "data"
        words = [sys.executable, "-P", "-m", "tidegate", "cluster", "--port", str(port), "--data-dir", str(data)]
        with ExitStack() as stack:
            stack.enter_context(
                running(
                    words,
                    ready_url=f"http://127.0.0.1:{port}/health/ready",
                    log=folder / "tidegate cluster.log",
                    environment=node.environment(),
                    start_s_max=_START_S_MAX,
                    stop_s_max=_STOP_S_MAX,
                )
            )
            _until(lambda: _are_all_up(data), "The cluster does not come up")
            callers = Callers(port)
            stack.enter_context(callers.calling())
            steady_at = dict.fromkeys(PARTS, time.monotonic() + _FIRST_S)

            def take(_number: int) -> Round:
                turns: Round = []
                for part in PARTS:
                    time.sleep(max(0.0, steady_at[part] - time.monotonic()))
                    steady_at[part] = time.monotonic() + _STEADY_S
                    turns.append(_kill(part, data, callers))
                    asked.tell(_told(turns[-1]))
                return turns

            yield take

    def told(self, _turns: Round) -> Round:
        """See `Told`: the figures tell all."""
        return []

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        kills = [turn for turns in rounds for turn in turns if isinstance(turn, Kill)]
        return [
            Figure(
                text=f"{part} killed: {text}",
                unit=unit,
                spread=spread([float(getattr(each, field)) for each in kills if each.part == part]),
                digits=2 if unit == "s" else 0,
            )
            for part in dict.fromkeys(each.part for each in kills)
            for field, text, unit in _FIGURES
        ]


_FIGURES: Final = (
    ("first_good_s", "first good login", "s"),
    ("bad", "failed logins", ""),
    ("last_bad_s", "last failed login", "s"),
    ("longest_s", "longest that a login took", "s"),
    ("job_s", "first job that was put later is done", "s"),
    ("up_s", "it is there again", "s"),
)


def _kill(part: str, data: Path, callers: Callers) -> Kill:
    pid = _parts(data)[part]["pid"]
    dsn = dotenv_values(data / "tidegate.env").get("TIDEGATE_PRIMARY_DSN") or ""
    kill(pid)
    killed_s, killed_at = time.monotonic(), datetime.now(UTC)
    with ThreadPoolExecutor() as waiting:
        up = waiting.submit(_until, lambda: _is_up_again(data, part, pid), f"{part} does not come back")
        job = waiting.submit(_until, lambda: _is_job_done(dsn, killed_at), f"Without {part} no job is done any more")
    _until(lambda: _are_all_up(data), f"After the death of {part} not all come back")
    time.sleep(_AFTER_S)
    return Kill(
        part=part,
        up_s=up.result() - killed_s,
        job_s=job.result() - killed_s,
        **aftermath(callers.calls(), killed_s)._asdict(),
    )


def _until(is_so: Callable[[], bool], otherwise: str) -> float:
    """Wait until *is_so*, and return when it was, by the monotonic clock."""
    ends_at = time.monotonic() + _AGAIN_S_MAX
    while not is_so():
        if time.monotonic() > ends_at:
            raise CannotMeasureError(f"{otherwise} within {_AGAIN_S_MAX:.0f} s.")
        time.sleep(_POLL_S)
    return time.monotonic()


def _parts(data: Path) -> Mapping[str, Mapping[str, Any]]:
    with suppress(NoClusterError):
        found = ask(data, Request("status"), timeout_s=_ANSWER_S_MAX).status
        return {part["name"]: part for part in found["parts"]}
    return {}


def _are_all_up(data: Path) -> bool:
    parts = _parts(data)
    return parts.keys() >= set(PARTS) and all(part["state"] == "up" for part in parts.values())


def _is_up_again(data: Path, part: str, killed: int) -> bool:
    found = _parts(data).get(part, {})
    return found.get("state") == "up" and found["pid"] != killed


def _is_job_done(dsn: str, killed_at: datetime) -> bool:
    async def look() -> bool:
        connection = await asyncpg.connect(dsn, timeout=_POLL_S * 20)
        try:
            return bool(await connection.fetchval(_IS_JOB_DONE, killed_at))
        finally:
            connection.terminate()

    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return asyncio.run(look())
    return False


def _port() -> int:
    """One with room above it."""
    while True:
        port = random.choice(_PORTS)
        with suppress(OSError), ExitStack() as held:
            for each in (port + number + above for number in range(_ROW) for above in (0, 1_000)):
                held.enter_context(socket.create_server(("127.0.0.1", each)))
            return port


def _told(turn: object) -> str:
    assert isinstance(turn, Kill)
    return (
        f"{turn.part} killed: first good login after {turn.first_good_s:.2f} s, {turn.bad} of {turn.logins} failed, "
        f"the longest took {turn.longest_s:.2f} s; a job done after {turn.job_s:.2f} s, up after {turn.up_s:.2f} s"
    )
