"""What `tidegate up` and `tidegate cluster` share: how what runs on this machine is made ready, started, and told of."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tidegate.cli.api import listen
from tidegate.cli.exits import UNAVAILABLE, WRONG_SETTINGS, CommandFailed
from tidegate.cli.folder import DataFolder
from tidegate.cli.supervision import Child, Signals
from tidegate.config import PREFIX
from tidegate.embedded.children import StopStep, spawn
from tidegate.embedded.server import EmbeddedServer, EmbeddedServerError
from tidegate.settings_sources import Given

NEVER_USED_DSN: Final = "postgresql:///"
"""Lets the settings be checked before there is a database."""

_READY_WITHIN_S: Final = 60.0
_READY_POLL_S: Final = 0.05
_READY_TIMEOUT_S: Final = 5.0

_PORT_PATIENCE_S: Final = 15.0
"""After a kill -9 our former API lets its last requests end before it leaves the port."""

STOP_PATIENCE_S: Final = 15.0
"""Besides its notice, longer than `tidegate api` gives its processes."""

_EXAMPLE_PASSWORD: Final = "correct-horse-battery-staple"  # noqa: S105 - for everybody to read
_TAKE_TOKEN: Final = r's/.*"access_token":"\([^"]*\).*/\1/'  # noqa: S105 - no password either
"""For sed: nothing but curl and a shell is needed to try."""


def child_of(server: EmbeddedServer, signals: Signals) -> Child:
    """What looks after *server*, until *signals* say that we are to stop."""
    server.is_unwanted = lambda: signals.is_stopping

    def start() -> "subprocess.Popen[bytes]":
        server.start()
        return server.process

    # The sessions of one that was killed may keep its successor from starting until they have noticed.
    return Child(server.title, start, server.stopping, passing=(EmbeddedServerError,), is_stuck=server.is_stuck)


def refuse_foreign_database(said: Given, command: str) -> None:
    """Make sure that *said* names no database: `tidegate COMMAND` starts its own.

    Raises:
        CommandFailed: It does.
    """
    for name in ("TIDEGATE_PRIMARY_DSN", "TIDEGATE_PRIMARY_DSN_FILE"):
        if said.texts.get(name):
            raise CommandFailed(
                WRONG_SETTINGS,
                f"{name} in {said.sources[name]} names a database, but `tidegate {command}` starts its own; take it out, "
                "or use `tidegate api` and `tidegate worker`",
            )


def with_secrets(texts: Mapping[str, str], folder: DataFolder) -> dict[str, str]:
    """*texts*, and the secrets of *folder* unless others were given."""
    complete = dict(texts)
    if not complete.get("TIDEGATE_SIGNING_KEYS_FILE"):
        complete["TIDEGATE_SIGNING_KEYS_FILE"] = str(folder.signing_keys())
    if not complete.get("TIDEGATE_REFRESH_MAC_KEY") and not complete.get("TIDEGATE_REFRESH_MAC_KEY_FILE"):
        complete["TIDEGATE_REFRESH_MAC_KEY_FILE"] = str(folder.refresh_mac_key())
    return complete


def await_ports(wanted: Sequence[tuple[str, int, str]], folder: DataFolder, signals: Signals) -> None:
    """Make sure that all ports can be had, before anything is made; wait a moment for what a killed one leaves behind.

    Args:
        wanted: Host, port, and by what the port can be changed.
        folder: Knows whether there was a killed one.
        signals: End the wait.

    Raises:
        CommandFailed: One is taken.
    """
    give_up_at = time.monotonic() + (_PORT_PATIENCE_S if folder.was_killed else 0.0)
    while not signals.is_stopping:
        try:
            for host, port, changed_by in wanted:
                listen(host, port, changed_by).close()
        except CommandFailed:
            if time.monotonic() > give_up_at:
                raise
            signals.wait(_READY_POLL_S)
        else:
            return


def program(
    command: str,
    name: str,
    texts: Mapping[str, str],
    folder: DataFolder,
    *,
    patience_s: float,
    log: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Child:
    """`tidegate COMMAND` with the settings *texts* and no others.

    Args:
        command: Such as "api".
        name: What people are told it is called.
        texts: By variable.
        folder: Where its log goes.
        patience_s: How long it may take to stop.
        log: What the log is called; None: as the command.
        tell: As `Child`; None: standard error.
    """
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    log_path = folder.log(log or command)

    def start() -> "subprocess.Popen[bytes]":
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        with open(descriptor, "ab", buffering=0) as file:
            return spawn(
                [sys.executable, "-P", "-m", "tidegate", command],
                death_signal=signal.SIGTERM,
                output=file,
                environment=others | dict(texts),
            )

    def last_words() -> tuple[str, ...]:
        said = [line for line in log_path.read_text(errors="replace").splitlines() if line.startswith("tidegate: ")]
        last = said[-1].removeprefix("tidegate: ") if said else "it said nothing"
        return (f"{name} did not start: {last} (its log is {log_path})",)

    child = Child(name, start, (StopStep(signal.SIGTERM, patience_s),), last_words=last_words)
    if tell is not None:
        child.tell = tell
    return child


def await_ready(tend: Callable[[], object], host: str, port: int, what: str, signals: Signals) -> bool:
    """Whether what listens on *host* and *port* became ready; False when we are to stop.

    Args:
        tend: Called again and again meanwhile.
        host: Where it listens.
        port: Where it listens.
        what: What to call it.
        signals: End the wait.

    Raises:
        CommandFailed: It did not.
    """
    give_up_at = time.monotonic() + _READY_WITHIN_S
    while not signals.is_stopping:
        tend()
        if _is_ready(host, port):
            return True
        if time.monotonic() > give_up_at:
            raise CommandFailed(
                UNAVAILABLE, f"{what} was not ready within {_READY_WITHIN_S:.0f} s; start again, or read its log"
            )
        signals.wait(_READY_POLL_S)
    return False


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=_READY_TIMEOUT_S)
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


def url_of(host: str, port: int) -> str:
    """Where people on this machine reach what listens on *host* and *port*."""
    reached = _reachable(host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def lines_to_try(url: str) -> str:
    """Lines for a shell: register, log in, read one's profile."""
    log_in = f"curl {url}/login -d username=alice -d password={_EXAMPLE_PASSWORD}"
    return f"""\
Try it:
  curl {url}/register -H 'Content-Type: application/json' -d '{{"username":"alice","password":"{_EXAMPLE_PASSWORD}"}}'
  {log_in}
  curl {url}/me -H "Authorization: Bearer $({log_in} -s | sed '{_TAKE_TOKEN}')\""""
