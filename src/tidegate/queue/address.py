"""Where the servers of the queue are, read from their URLs once, so that a typing error is told at the start."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 4222


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """How to reach one NATS server.

    Attributes:
        uses_tls: Whether to speak TLS.
        username: Empty: none is asked for; without a password it is a token.
    """

    host: str
    port: int = DEFAULT_PORT
    uses_tls: bool = False
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Where it is, without who asks."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.uses_tls else 'nats'}://{host}:{self.port}"


def read_addresses(urls: str) -> tuple[QueueAddress, ...]:
    """Read ``nats://[user:password@]host[:port]``, over TLS ``tls://``; several of one cluster with commas between.

    Raises:
        ValueError: One is none of these; the text says what is wrong and does not quote it, for a password may be in it.
    """
    return tuple(_read_address(url.strip()) for url in urls.split(","))


def _read_address(url: str) -> QueueAddress:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise ValueError("it needs the form nats://host or tls://host, several with commas between")
    if parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError("something follows the host and port, and nothing is known there")
    return QueueAddress(
        host=parts.hostname,
        port=port or DEFAULT_PORT,
        uses_tls=parts.scheme == "tls",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
