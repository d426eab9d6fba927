"""Services of others that do the same job, started from a folder that is named: nothing of them is in this repository."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from bench.ground import Ground, Service
from bench.peers import better_auth, django_simplejwt, fastapi_users, go_seed

Run = Callable[[Path, Ground], AbstractContextManager[Service]]

PEERS: Final[Mapping[str, Run]] = {
    go_seed.NAME: go_seed.started,
    go_seed.NAME_ROTATING: go_seed.started_rotating,
    better_auth.NAME: better_auth.started,
    fastapi_users.NAME: fastapi_users.started,
    django_simplejwt.NAME: django_simplejwt.started,
}
"""How each is started, by name. A folder need not hold all: see `is_there`."""

_PROGRAMS: Final[Mapping[str, str]] = {
    go_seed.NAME: go_seed.PROGRAM,
    go_seed.NAME_ROTATING: go_seed.PROGRAM,
    better_auth.NAME: better_auth.PROGRAM,
    fastapi_users.NAME: fastapi_users.PROGRAM,
    django_simplejwt.NAME: django_simplejwt.PROGRAM,
}


def is_there(name: str, folder: Path) -> bool:
    """Whether peer *name* is built in *folder*."""
    return (folder / _PROGRAMS[name]).exists()
