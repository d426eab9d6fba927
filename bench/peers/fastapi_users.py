"""fastapi-users under uvicorn: SQLAlchemy, asyncpg, argon2-cffi, JWT; it has no refresh tokens."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import EMAIL, NEW_EMAIL, PASSWORD, UNKNOWN_EMAIL, Call, Dialect, form, posted_json, with_token
from bench.ground import Ground, Service, free_port, running
from bench.processes import Tree

NAME: Final = "fastapi-users"
PROGRAM: Final = "fastapi-users/.venv/bin/python"
_DATABASE: Final = "peers_fastapi"


def _login(email: str, good: int) -> Call:
    return form("/auth/jwt/login", {"username": email, "password": PASSWORD}, good=good)


_DIALECT: Final = Dialect(
    login=_login(EMAIL, 200),
    unknown=_login(UNKNOWN_EMAIL, 400),
    register=posted_json("/auth/register", {"email": NEW_EMAIL, "password": PASSWORD}, good=201),
    me=with_token("/users/me"),
    refresh=None,
    access_at="json:access_token",
)


@contextmanager
def started(folder: Path, ground: Ground) -> Iterator[Service]:
    """One worker a core, as its run.sh has it."""
    port = free_port()
    asyncio.run(ground.make_database(_DATABASE))
    asyncio.run(ground.run_script(_DATABASE, (folder / "fastapi-users/seed.sql").read_text()))
    environment = dict(os.environ) | {
        "DATABASE_URL": ground.dsn_of(_DATABASE, scheme="postgresql+asyncpg"),
        "PORT": str(port),
    }
    with running(
        [folder / "fastapi-users/run.sh"],
        ready_url=f"http://127.0.0.1:{port}/healthz",
        log=ground.folder / f"{NAME}.log",
        environment=environment,
    ) as process:
        yield Service(name=NAME, port=port, tree=Tree(process.pid), dialect=_DIALECT)
