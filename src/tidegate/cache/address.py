"""Where the cache is, read from its URL once, so that a typing error is told at the start."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 6379
_SCHEMES = ("valkey", "redis")
_SCHEMES_OF_TLS = ("valkeys", "rediss")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAddress:
    """How to reach one Valkey server.

    Attributes:
        socket: Path of its Unix socket; empty: `host` and `port` are meant.
        uses_tls: Whether to speak TLS; never over a socket.
        username: Empty: the default user.
        password: Empty: it asks for none.
        database: The number of its database.
    """

    socket: str = ""
    host: str = ""
    port: int = DEFAULT_PORT
    uses_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0


def read_address(url: str) -> CacheAddress:
    """Read ``unix:///path``, ``valkey://[user:password@]host[:port][/database]`` or, over TLS, ``valkeys://``.

    Raises:
        ValueError: It is none of these; the text says what is wrong and does not quote it, for a password may be in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.query or parts.fragment:
        raise ValueError("it has a query or a fragment, and none is known")
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("after unix: it needs the path of a socket, as in unix:///run/valkey.sock")
        return CacheAddress(socket=unquote(parts.path))
    if parts.scheme not in _SCHEMES + _SCHEMES_OF_TLS or not parts.hostname:
        raise ValueError("it needs the form valkey://host, valkeys://host or unix:///path")
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise ValueError("what follows the host must be the number of a database")
    return CacheAddress(
        host=parts.hostname,
        port=port or DEFAULT_PORT,
        uses_tls=parts.scheme in _SCHEMES_OF_TLS,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database or 0),
    )
