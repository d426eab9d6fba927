"""`tidegate up`: everything on this machine, with nothing installed by hand, until it is told to stop."""

import argparse
import asyncio
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tidegate.cli.exits import CANNOT_CREATE, DONE, CommandFailed
from tidegate.cli.folder import DataFolder, open_data_folder
from tidegate.cli.options import data_folder
from tidegate.cli.starting import (
    NEVER_USED_DSN,
    STOP_PATIENCE_S,
    await_ports,
    await_ready,
    child_of,
    lines_to_try,
    program,
    refuse_foreign_database,
    url_of,
    with_secrets,
)
from tidegate.cli.supervision import Child, Signals, say, tend_all, tend_each
from tidegate.config import Settings
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.server import EmbeddedServerError
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.migrations.runner import Runner
from tidegate.settings_building import build_settings
from tidegate.settings_sources import gather, write_settings

EXAMPLES = """\
  tidegate up                          on 127.0.0.1:8080, data in /var/lib/tidegate or ~/.local/share/tidegate
  tidegate up --port 8081 --data-dir D another beside it
"""

_CONNECTIONS_MAX_MIN: Final = 200
_CONNECTIONS_BESIDE: Final = 50
"""For the worker, other commands, and people with psql."""


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
    refuse_foreign_database(said, "up")
    path = data_folder(arguments.data_dir, said)
    if path is None:
        raise CommandFailed(CANNOT_CREATE, "there is no home folder to keep data in; name a data folder with --data-dir")
    signals = Signals()
    with signals.caught(), open_data_folder(path) as folder:
        texts = _complete(said.texts, folder, arguments.port)
        settings = build_settings(texts | {"TIDEGATE_PRIMARY_DSN": NEVER_USED_DSN})
        wanted = (
            (settings.host, settings.port, "port with --port or TIDEGATE_PORT"),
            (settings.metrics_host, settings.metrics_port, "TIDEGATE_METRICS_PORT"),
            *([(settings.admin_host, settings.admin_port, "TIDEGATE_ADMIN_PORT")] if settings.admin_token else []),
        )
        await_ports(wanted, folder, signals)
        if not signals.is_stopping:
            _run(texts, settings, folder, signals)
    return DONE


def _complete(said: Mapping[str, str], folder: DataFolder, port: str | None) -> dict[str, str]:
    """What was said, and what is ours to decide: the secrets, unless they were given."""
    texts = dict(said) | {"TIDEGATE_DATA_DIR": str(folder.path)}
    if port is not None:
        texts["TIDEGATE_PORT"] = port
    if not texts.get("TIDEGATE_EXISTENCE_FILTER"):
        texts["TIDEGATE_EXISTENCE_FILTER"] = "alone"  # there is no other node
    return with_secrets(texts, folder)


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
        database = child_of(server, signals)
        database.tend()
        texts = dict(texts) | {"TIDEGATE_PRIMARY_DSN": server.dsn()}
        children = [database]
        if not settings.cache_url:
            valkey_server = EmbeddedValkey(folder.valkey, program=settings.valkey_program)
            running.callback(valkey_server.stop)
            cache = child_of(valkey_server, signals)
            if _is_started(cache, must=settings.valkey_program is not None, without="a cache"):
                children.append(cache)
                texts["TIDEGATE_CACHE_URL"] = valkey_server.url
        if not settings.queue_url:
            nats_server = EmbeddedNats(folder.nats, program=settings.nats_program)
            running.callback(nats_server.stop)
            queue = child_of(nats_server, signals)
            if _is_started(queue, must=settings.nats_program is not None, without="a queue"):
                children.append(queue)
                texts["TIDEGATE_QUEUE_URL"] = nats_server.url
        asyncio.run(Runner(server.dsn()).up())
        write_settings(folder.settings, texts)
        patience_s = settings.stop_notice_ms / 1000 + STOP_PATIENCE_S
        worker = program("worker", "the worker", texts, folder, patience_s=patience_s)
        running.callback(worker.stop)
        api = program("api", "the API", texts, folder, patience_s=patience_s)
        running.callback(api.stop)
        children.append(api)
        if await_ready(lambda: tend_each(children), settings.host, settings.port, "the API", signals):
            _welcome(settings, folder)
        children.append(worker)
        if settings.admin_token:
            admin = program("admin", "the admin API", texts, folder, patience_s=STOP_PATIENCE_S)
            running.callback(admin.stop)
            children.append(admin)
        while not signals.is_stopping:
            tend_all(children, signals)
        say("tidegate: stopping")


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


def _welcome(settings: Settings, folder: DataFolder) -> None:
    url = url_of(settings.host, settings.port)
    admin = f"\n  admin {url_of(settings.admin_host, settings.admin_port)}/admin/campaigns" if settings.admin_token else ""
    say(f"""\
Tidegate is ready at {url}
  docs {url}/docs{admin}
  data {folder.path}
  logs {folder.log("api")} {folder.log("worker")} {folder.postgres / "postgres.log"}
{lines_to_try(url)}
Ctrl-C stops it.""")
