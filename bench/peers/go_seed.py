"""The service in Go of the same contract: gin, pgx, golang-jwt, a bloom filter, Argon2 tuned as far as Go allows."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import NEW, NEW_EMAIL, PASSWORD, UNKNOWN, USERNAME, Dialect, form, posted_json, with_token
from bench.ground import Ground, Service, free_port, running
from bench.processes import Tree

NAME: Final = "go-seed"
NAME_ROTATING: Final = "go-seed-rotating"
PROGRAM: Final = "go-seed/build/go-seed"

_DIALECT: Final = Dialect(
    login=form("/login", {"username": USERNAME, "password": PASSWORD}),
    unknown=form("/login", {"username": UNKNOWN, "password": PASSWORD}, good=404),
    register=posted_json(
        "/register", {"username": NEW, "email": NEW_EMAIL, "password": PASSWORD, "birthdate": "1990-01-02"}
    ),
    me=with_token("/me"),
    refresh=posted_json("/refresh", {"refresh_token": "{refresh}"}),
    access_at="json:access_token",
    refresh_at="json:refresh_token",
)


@contextmanager
def started(folder: Path, ground: Ground) -> Iterator[Service]:
    """As it is by default: refreshing writes nothing."""
    with _running(NAME, folder, ground, {}) as service:
        yield service


@contextmanager
def started_rotating(folder: Path, ground: Ground) -> Iterator[Service]:
    """With a refresh token that can be used once."""
    with _running(NAME_ROTATING, folder, ground, {"REFRESH_MODE": "rotate"}) as service:
        yield service


@contextmanager
def _running(name: str, folder: Path, ground: Ground, others: dict[str, str]) -> Iterator[Service]:
    database = f"peers_{name.replace('-', '_')}"
    scripts = [*sorted((folder / "go-seed/migrations").glob("*.up.sql")), folder / "load/seed.sql"]
    asyncio.run(ground.make_database(database))
    for script in scripts:
        asyncio.run(ground.run_script(database, script.read_text()))
    port = free_port()
    environment = dict(os.environ) | {"DATABASE_URL": ground.dsn_of(database), "LISTEN": f"127.0.0.1:{port}"} | others
    with running(
        [folder / "go-seed/run.sh"],
        ready_url=f"http://127.0.0.1:{port}/healthz",
        log=ground.folder / f"{name}.log",
        environment=environment,
    ) as process:
        yield Service(name=name, port=port, tree=Tree(process.pid), dialect=_DIALECT)
