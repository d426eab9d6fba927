"""`tidegate up`: everything on this machine, with nothing installed by hand, until it is told to stop."""

import argparse
import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tidegate.cli.api import listen
from tidegate.cli.exits import CANNOT_CREATE, DONE, UNAVAILABLE, WRONG_SETTINGS, CommandFailed
from tidegate.cli.folder import DataFolder, open_data_folder
from tidegate.cli.options import data_folder
from tidegate.cli.supervision import Child, Signals, say, tend_all
from tidegate.config import PREFIX, Settings
from tidegate.embedded.children import StopStep, spawn
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.server import EmbeddedServer, EmbeddedServerError
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.migrations.runner import Runner
from tidegate.settings_building import build_settings
from tidegate.settings_sources import Given, gather, write_settings

EXAMPLES = """\
  tidegate up                          on 127.0.0.1:8080, data in /var/lib/tidegate or ~/.local/share/tidegate
  tidegate up --port 8081 --data-dir D another beside it
"""

_READY_WITHIN_S: Final = 60.0
_READY_POLL_S: Final = 0.05
_READY_TIMEOUT_S: Final = 5.0

_PORT_PATIENCE_S: Final = 15.0
"""After a kill -9 our former API lets its last requests end before it leaves the port."""

_STOP_PATIENCE_S: Final = 15.0
"""Besides its notice, longer than `tidegate api` gives its processes."""

_CONNECTIONS_MAX_MIN: Final = 200
_CONNECTIONS_BESIDE: Final = 50
"""For the worker, other commands, and people with psql."""

_NEVER_USED_DSN: Final = "postgresql:///"

_EXAMPLE_PASSWORD: Final = "correct-horse-battery-staple"  # noqa: S105 - for everybody to read
_TAKE_TOKEN: Final = r's/.*"access_token":"\([^"]*\).*/\1/'  # noqa: S105 - no password either
"""For sed: nothing but curl and a shell is needed to try."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the port and the data folder."""
    parser.add_argument("--port", metavar="P", help="port of the API; default: TIDEGATE_PORT, else 8080")
    parser.add_argument(
        "--data-dir",
        metavar="D",
        type=Path,
        help="folder of the database, the secrets and the logs, made when it is missing; default: TIDEGATE_DATA_DIR, else "
        "/var/lib/tidegate for root and ~/.local/share/tidegate for others",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start, tell where, look after it, stop."""
    said = gather(environment=os.environ, working_folder=Path.cwd())
    _refuse_foreign_database(said)
    path = data_folder(arguments.data_dir, said)
    if path is None:
        raise CommandFailed(CANNOT_CREATE, "there is no home folder to keep data in; name a data folder with --data-dir")
    signals = Signals()
    with signals.caught(), open_data_folder(path) as folder:
        texts = _complete(said.texts, folder, arguments.port)
        settings = build_settings(texts | {"TIDEGATE_PRIMARY_DSN": _NEVER_USED_DSN})
        _await_ports(settings, folder, signals)
        if not signals.is_stopping:
            _run(texts, settings, folder, signals)
    return DONE


def _refuse_foreign_database(said: Given) -> None:
    for name in ("TIDEGATE_PRIMARY_DSN", "TIDEGATE_PRIMARY_DSN_FILE"):
        if said.texts.get(name):
            raise CommandFailed(
                WRONG_SETTINGS,
                f"{name} in {said.sources[name]} names a database, but `tidegate up` starts its own; take it out, or use "
                "`tidegate api` and `tidegate worker`",
            )


def _complete(said: Mapping[str, str], folder: DataFolder, port: str | None) -> dict[str, str]:
    """What was said, and what is ours to decide: the secrets, unless they were given."""
    texts = dict(said) | {"TIDEGATE_DATA_DIR": str(folder.path)}
    if port is not None:
        texts["TIDEGATE_PORT"] = port
    if not texts.get("TIDEGATE_EXISTENCE_FILTER"):
        texts["TIDEGATE_EXISTENCE_FILTER"] = "alone"  # there is no other node
    if not texts.get("TIDEGATE_SIGNING_KEYS_FILE"):
        texts["TIDEGATE_SIGNING_KEYS_FILE"] = str(folder.signing_keys())
    if not texts.get("TIDEGATE_REFRESH_MAC_KEY") and not texts.get("TIDEGATE_REFRESH_MAC_KEY_FILE"):
        texts["TIDEGATE_REFRESH_MAC_KEY_FILE"] = str(folder.refresh_mac_key())
    return texts


def _await_ports(settings: Settings, folder: DataFolder, signals: Signals) -> None:
    """Make sure that both ports can be had, before anything is made; wait a moment for what a killed one leaves behind."""
    give_up_at = time.monotonic() + (_PORT_PATIENCE_S if folder.was_killed else 0.0)
    while not signals.is_stopping:
        try:
            listen(settings.host, settings.port, "port with --port or TIDEGATE_PORT").close()
            listen(settings.metrics_host, settings.metrics_port, "TIDEGATE_METRICS_PORT").close()
        except CommandFailed:
            if time.monotonic() > give_up_at:
                raise
            signals.wait(_READY_POLL_S)
        else:
            return


def _run(texts: Mapping[str, str], settings: Settings, folder: DataFolder, signals: Signals) -> None:
    server = EmbeddedPostgres(
        folder.postgres,
        binaries=settings.postgres_bin,
        user=settings.embedded_user,
        connections_max=max(_CONNECTIONS_MAX_MIN, settings.database_connections_budget + _CONNECTIONS_BESIDE),
    )
    with ExitStack() as running:  # ends what was started, the latest first: API, worker, NATS, Valkey, PostgreSQL
        if not (folder.postgres / "cluster" / "PG_VERSION").exists():
            say(f"tidegate: making the database in {folder.path}")
        running.callback(server.stop)
        database = Child("PostgreSQL", lambda: _start_server(server), server.stopping)
        database.tend()
        texts = dict(texts) | {"TIDEGATE_PRIMARY_DSN": server.dsn()}
        children = [database]
        if not settings.cache_url:
            valkey_server = EmbeddedValkey(folder.valkey, program=settings.valkey_program)
            running.callback(valkey_server.stop)
            cache = Child("Valkey", lambda: _start_server(valkey_server), valkey_server.stopping)
            if _is_started(cache, must=settings.valkey_program is not None, without="a cache"):
                children.append(cache)
                texts["TIDEGATE_CACHE_URL"] = valkey_server.url
        if not settings.queue_url:
            nats_server = EmbeddedNats(folder.nats, program=settings.nats_program)
            running.callback(nats_server.stop)
            queue = Child("NATS", lambda: _start_server(nats_server), nats_server.stopping)
            if _is_started(queue, must=settings.nats_program is not None, without="a queue"):
                children.append(queue)
                texts["TIDEGATE_QUEUE_URL"] = nats_server.url
        asyncio.run(Runner(server.dsn()).up())
        write_settings(folder.settings, texts)
        patience_s = settings.stop_notice_ms / 1000 + _STOP_PATIENCE_S
        worker = _program("worker", "the worker", texts, folder, patience_s=patience_s)
        running.callback(worker.stop)
        api = _program("api", "the API", texts, folder, patience_s=patience_s)
        running.callback(api.stop)
        if _await_ready(api, settings, signals):
            _welcome(settings, folder)
        children += [api, worker]
        while not signals.is_stopping:
            tend_all(children, signals)
        say("tidegate: stopping")


def _start_server(server: EmbeddedServer) -> "subprocess.Popen[bytes]":
    server.start()
    return server.process


def _is_started(child: Child, *, must: bool, without: str) -> bool:
    """Whether *child* runs now; without it everything is right all the same, so only one that was named must run."""
    try:
        child.tend()
    except EmbeddedServerError as error:
        if must:
            raise
        say(f"tidegate: {error}; going on without {without}")
        return False
    return True


def _program(command: str, name: str, texts: Mapping[str, str], folder: DataFolder, *, patience_s: float) -> Child:
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    log_path = folder.log(command)

    def start() -> "subprocess.Popen[bytes]":
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        with open(descriptor, "ab", buffering=0) as log:
            return spawn(
                [sys.executable, "-P", "-m", "tidegate", command],
                death_signal=signal.SIGTERM,
                output=log,
                environment=others | dict(texts),
            )

    def last_words() -> tuple[str, ...]:
        said = [line for line in log_path.read_text(errors="replace").splitlines() if line.startswith("tidegate: ")]
        last = said[-1].removeprefix("tidegate: ") if said else "it said nothing"
        return (f"{name} did not start: {last} (its log is {log_path})",)

    return Child(name, start, (StopStep(signal.SIGTERM, patience_s),), last_words=last_words)


def _await_ready(api: Child, settings: Settings, signals: Signals) -> bool:
    """Whether the API became ready; False when we are to stop."""
    give_up_at = time.monotonic() + _READY_WITHIN_S
    while not signals.is_stopping:
        api.tend()
        if _is_ready(settings):
            return True
        if time.monotonic() > give_up_at:
            raise CommandFailed(
                UNAVAILABLE, f"the API was not ready within {_READY_WITHIN_S:.0f} s; start again, or read its log"
            )
        signals.wait(_READY_POLL_S)
    return False


def _is_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(_reachable(settings.host), settings.port, timeout=_READY_TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(host: str) -> str:
    """Where this machine reaches what listens on *host*."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened on


def _welcome(settings: Settings, folder: DataFolder) -> None:
    host = _reachable(settings.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    log_in = f"curl {url}/login -d username=alice -d password={_EXAMPLE_PASSWORD}"
    say(f"""\
Tidegate is ready at {url}
  docs {url}/docs
  data {folder.path}
  logs {folder.log("api")} {folder.log("worker")} {folder.postgres / "postgres.log"}
Try it:
  curl {url}/register -H 'Content-Type: application/json' -d '{{"username":"alice","password":"{_EXAMPLE_PASSWORD}"}}'
  {log_in}
  curl {url}/me -H "Authorization: Bearer $({log_in} -s | sed '{_TAKE_TOKEN}')"
Ctrl-C stops it.""")
