"""Django REST framework with simplejwt under gunicorn: threads, psycopg, argon2-cffi, JWT; refreshing writes nothing."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import NEW, NEW_EMAIL, PASSWORD, UNKNOWN, USERNAME, Dialect, posted_json, with_token
from bench.ground import CannotMeasureError, Ground, Service, free_port, running
from bench.processes import Tree

NAME: Final = "django-simplejwt"
PROGRAM: Final = "django-simplejwt/.venv/bin/python"
_DATABASE: Final = "peers_django"

_DIALECT: Final = Dialect(
    login=posted_json("/api/token/", {"username": USERNAME, "password": PASSWORD}),
    unknown=posted_json("/api/token/", {"username": UNKNOWN, "password": PASSWORD}, good=401),
    register=posted_json("/api/register/", {"username": NEW, "email": NEW_EMAIL, "password": PASSWORD}, good=201),
    me=with_token("/api/me/"),
    refresh=posted_json("/api/token/refresh/", {"refresh": "{refresh}"}),
    access_at="json:access",
    refresh_at="json:refresh",
)


@contextmanager
def started(folder: Path, ground: Ground) -> Iterator[Service]:
    """One worker a core and threads in each, as its run.sh has it; the hash is of its own making, with its own salt."""
    port = free_port()
    asyncio.run(ground.make_database(_DATABASE))
    environment = dict(os.environ) | {
        # It reads no socket's folder from the URL, but libpq does from here.
        "DATABASE_URL": f"postgres://{ground.role}@/{_DATABASE}",
        "PGHOST": ground.socket_folder,
        "PGPORT": ground.port,
        "PORT": str(port),
        "PASSWORD": PASSWORD,
    }
    program = folder / "django-simplejwt/run.sh"

    def output_of(word: str) -> str:
        done = subprocess.run([program, word], env=environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise CannotMeasureError(f"{NAME} does not {word}: {done.stderr.strip()[-200:]}")
        return done.stdout.strip()

    output_of("migrate")
    script = (folder / "django-simplejwt/seed.sql").read_text()
    asyncio.run(ground.run_script(_DATABASE, script, stored=output_of("hash")))
    url = f"http://127.0.0.1:{port}/healthz"
    log = ground.folder / f"{NAME}.log"
    with running([program], ready_url=url, log=log, environment=environment) as process:
        yield Service(name=NAME, port=port, tree=Tree(process.pid), dialect=_DIALECT)
