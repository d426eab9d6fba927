"""`tidegate api`: holds the port and the metrics, and keeps the processes running that serve."""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tidegate.cli.exits import DONE, PORT_TAKEN, WRONG_SETTINGS, CommandFailed
from tidegate.cli.options import add_data_dir, read_given
from tidegate.cli.supervision import Child, Signals, say, tend_all
from tidegate.config import PREFIX, Settings
from tidegate.embedded.children import StopStep, spawn
from tidegate.migrations.runner import Runner
from tidegate.profiles.stamps import make_stamp_memory
from tidegate.settings_building import build_settings, connections_of, replica_connections_of
from tidegate.wiring.administration import connections_offered
from tidegate.wiring.existence import make_memory
from tidegate.wiring.replicas import replica_connections_offered

EXAMPLES = """\
  tidegate api                         serve on TIDEGATE_HOST:TIDEGATE_PORT
  TIDEGATE_API_PROCESSES=4 tidegate api
                                       with four processes that share the port, whatever the number of cores
"""

BACKLOG: Final = 4_096
"""Connections that the kernel holds while all processes are busy, or while one that died is started again."""

_METRICS_PREFIX: Final = "tidegate-metrics-"
"""Of a folder that holds the counts of one `tidegate api`; its process number follows."""

_STOP_PATIENCE_S: Final = 13.0
"""A process lets requests under way end within 10 s, after its notice; beyond that it is stuck."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no words but where the settings are."""
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    given = read_given(arguments, falls_back=False)
    settings = build_settings(given.texts)
    signals = Signals()
    with signals.caught(), contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(listener)
            for listener in listen_shared(settings.host, settings.port, "TIDEGATE_PORT", settings.api_processes)
        ]
        asyncio.run(_check_database(settings))
        with _metrics_folder(settings) as folder:
            environment = _environment(given.texts)
            # Nobody closes these two: whoever is started again inherits them too.
            stamps = make_stamp_memory()
            existence = make_memory(settings, tell=lambda reason: say(f"tidegate: {reason}"))
            shared = [stamps] if existence is None else [stamps, existence]
            children = [
                _child(number, [listener.fileno(), *shared], environment, folder, stopping=_stopping(settings))
                for number, listener in enumerate(listeners, start=1)
            ]
            if existence is not None:
                children.append(_keeper(existence, environment, stopping=_stopping(settings)))
            try:
                while not signals.is_stopping:
                    tend_all(children, signals)
            finally:
                opened.close()  # nobody else is to be let in
                for child in children:
                    child.ask_to_stop()
                for child in children:
                    child.stop()
    return DONE


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A socket that listens on *host* and *port*.

    Raises:
        CommandFailed: The port is taken, or not ours to take; *variable* is named as the one to change.
    """
    return _listen(host, port, variable, is_shared=False)


def listen_shared(host: str, port: int, variable: str, processes: int) -> list[socket.socket]:
    """As many sockets as there are *processes*, which all listen on *host* and *port*; the kernel spreads clients evenly.

    All stay open here, so a client that was given to a process that has just died waits for the one that is started again.
    With a single socket the process that happened to be awake took most of the clients, and its cores were the limit.

    Raises:
        CommandFailed: As `listen`.
    """
    # A shared port would be shared with whoever else shares it, without a word: so make sure first that nobody has it.
    listen(host, port, variable).close()
    return [_listen(host, port, variable, is_shared=True) for _ in range(processes)]


def _listen(host: str, port: int, variable: str, *, is_shared: bool) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=is_shared)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if isinstance(error.errno, int) and error.errno > 0 else str(error)
        raise CommandFailed(
            PORT_TAKEN, f"cannot listen on {host} port {port} ({reason}); stop what does, or set another {variable}"
        ) from None


async def _check_database(settings: Settings) -> None:
    """Make sure that the schema is ours, and that our processes can have their connections."""
    await Runner(settings.primary_dsn).check()
    wanted = connections_of(settings)
    there = await connections_offered(settings)
    if wanted > there:
        raise CommandFailed(
            WRONG_SETTINGS,
            f"{settings.api_processes} API processes hold {wanted} connections, but the database lets {there} in "
            "(max_connections less the reserved ones); lower TIDEGATE_DATABASE_CONNECTIONS or TIDEGATE_API_PROCESSES, or "
            "raise max_connections",
        )
    wanted = replica_connections_of(settings)
    for number, there in (await replica_connections_offered(settings)).items():
        if wanted > there:
            raise CommandFailed(
                WRONG_SETTINGS,
                f"{settings.api_processes} API processes hold {wanted} connections to each replica, but replica {number} "
                f"lets {there} in; lower TIDEGATE_REPLICA_CONNECTIONS or TIDEGATE_API_PROCESSES, or raise max_connections",
            )


@contextlib.contextmanager
def _metrics_folder(settings: Settings) -> Iterator[Path]:
    """Serve what the processes count into the folder, as one."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_METRICS_PREFIX}{os.getpid()}-"))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    listen(
        settings.metrics_host, settings.metrics_port, "TIDEGATE_METRICS_PORT"
    ).close()  # says it better than the next line
    server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove the folders of those of us who were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_METRICS_PREFIX}*"):
        pid = folder.name.removeprefix(_METRICS_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder)


def _environment(texts: Mapping[str, str]) -> dict[str, str]:
    """What we were told, from wherever it came: a process started again tomorrow must not read a .env of tomorrow."""
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return others | dict(texts)


def _stopping(settings: Settings) -> tuple[StopStep, ...]:
    return (StopStep(signal.SIGTERM, settings.stop_notice_ms / 1000 + _STOP_PATIENCE_S),)


def _child(
    number: int,
    inherited: Sequence[int],
    environment: Mapping[str, str],
    metrics_folder: Path,
    *,
    stopping: tuple[StopStep, ...],
) -> Child:
    def start() -> subprocess.Popen[bytes]:
        words = ("api-process", str(number), *map(str, inherited))
        return _start(words, inherited, {**environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder)})

    def forget(pid: int) -> None:
        mark_process_dead(pid, path=str(metrics_folder))

    return Child(f"API process {number}", start, stopping, on_death=forget)


def _keeper(existence: int, environment: Mapping[str, str], *, stopping: tuple[StopStep, ...]) -> Child:
    words = ("existence-process", str(existence))
    return Child("the keeper of the existence filter", lambda: _start(words, [existence], environment), stopping)


def _start(words: Sequence[str], inherited: Sequence[int], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return spawn(
        [sys.executable, "-P", "-m", "tidegate", *words],
        death_signal=signal.SIGTERM,
        output=None,
        environment=environment,
        pass_fds=inherited,
    )
