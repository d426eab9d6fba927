"""better-auth on Node: sessions in PostgreSQL, Argon2 in Rust; the fastest of the peers at logging in."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import EMAIL, NEW_EMAIL, PASSWORD, UNKNOWN_EMAIL, Dialect, posted_json, with_token
from bench.ground import CannotMeasureError, Ground, Service, free_port, running
from bench.processes import Tree

NAME: Final = "better-auth"
PROGRAM: Final = "better-auth/node_modules"
_DATABASE: Final = "peers_better"

_SIGN_IN: Final = "/api/auth/sign-in/email"
_DIALECT: Final = Dialect(
    login=posted_json(_SIGN_IN, {"email": EMAIL, "password": PASSWORD}),
    unknown=posted_json(_SIGN_IN, {"email": UNKNOWN_EMAIL, "password": PASSWORD}, good=401),
    register=posted_json("/api/auth/sign-up/email", {"name": "Load", "email": NEW_EMAIL, "password": PASSWORD}),
    me=with_token("/api/auth/get-session"),
    refresh=None,
    access_at="header:Set-Auth-Token",
)


@contextmanager
def started(folder: Path, ground: Ground) -> Iterator[Service]:
    """One worker a core, as its run.sh has it."""
    port = free_port()
    asyncio.run(ground.make_database(_DATABASE))
    environment = dict(os.environ) | {
        "DATABASE_URL": ground.dsn_of(_DATABASE),
        "PORT": str(port),
        "BASE_URL": f"http://127.0.0.1:{port}",
    }
    program, log = folder / "better-auth/run.sh", ground.folder / f"{NAME}.log"
    migrated = subprocess.run(
        [program, "migrate"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if migrated.returncode:
        raise CannotMeasureError(f"{NAME} does not migrate: {migrated.stderr.strip()[-200:]}")
    asyncio.run(ground.run_script(_DATABASE, (folder / "better-auth/seed.sql").read_text()))
    url = f"http://127.0.0.1:{port}/healthz"
    with running([program], ready_url=url, log=log, environment=environment) as process:
        yield Service(name=NAME, port=port, tree=Tree(process.pid), dialect=_DIALECT)
