"""Ports for servers that cannot listen on a Unix socket."""

import errno
import random
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"

_PORTS: Final = range(14_000, 32_000)
"""Below those that Linux gives to outgoing connections (32768 to 60999), one of which could take the port of a server that
is away for a moment; above those of well-known servers."""

_TRIES_MAX: Final = 200


def free_port() -> int:
    """A port on which nobody listens now. Another may take it before its server does: then ask for one more.

    Raises:
        OSError: None was found.
    """
    for port in random.sample(_PORTS, _TRIES_MAX):
        if is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, "no free port was found")


def is_free(port: int) -> bool:
    """Whether nobody listens on *port* of the loopback interface now."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True
