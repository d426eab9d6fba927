"""What a load balancer before the nodes has to be told, whichever program it is."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

BODY_BYTES_MAX: Final = 8 * 1024
"""What a node reads of a body (`api/http.py:BODY_BYTES_MAX`, which a test compares)."""

HEAD_BYTES_MAX: Final = 6 * 1024
"""Of a request's headers: with the largest body they fit into one buffer of 16 KiB, of which 1 KiB is kept free. A node
would read 16 KiB; clients send some hundred bytes."""

CACHED_PATHS: Final = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/openapi.json", "/docs")
"""What is the same for everybody, and says `public, max-age` itself."""

NODE_CONNECTIONS: Final = 8_000
"""More than the hashes that may wait in a node of some cores (TIDEGATE_HASH_QUEUE_MAX a process), with room for others."""

TLS_12_CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
TLS_13_CIPHERS: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""Of Mozilla's intermediate configuration, version 5.7, those that every TLS library has."""

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_SIX: Final = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\]", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._/@+-]{1,250}", re.ASCII)
"""No blank, quote, dollar or hash, which mean something in both languages."""


class Address(NamedTuple):
    """Host and port, such as ``10.0.0.1:8080`` or ``[::1]:8080``.

    Attributes:
        host: A name, an IPv4 address, or an IPv6 address in brackets.
        port: From 1 to 65,535.
    """

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> Self:
        """*text* as an address.

        Raises:
            ValueError: It is none.
        """
        host, _, port = text.rpartition(":")
        is_host = _HOST.fullmatch(host) or _SIX.fullmatch(host)
        if not is_host or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65_535:
            raise ValueError(f"{text!r} is no address; write HOST:PORT")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def plain_path(text: str) -> str:
    """*text* as an absolute path that stands for itself in a configuration.

    Raises:
        ValueError: It is none.
    """
    if not _PLAIN_PATH.fullmatch(text):
        raise ValueError(f"{text!r} is no absolute path of letters, digits and . _ / @ + -")
    return text


def plain_name(text: str) -> str:
    """*text* as the name of a user of the system.

    Raises:
        ValueError: It is none.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text, re.ASCII):
        raise ValueError(f"{text!r} is no name of a user")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerPlan:
    """One load balancer.

    Attributes:
        nodes: Where `tidegate api` listens on each node.
        listen: Where clients come.
        certificate: File of the certificates and their key as PEM; empty: it speaks HTTP, behind something that speaks TLS.
        key: File of the key; empty: it is in *certificate*. HAProxy wants them in one.
        redirect_from: Where clients come who forgot TLS; None: nowhere.
        metrics: Where it tells Prometheus of itself; None: nowhere.
        runtime_socket: A socket for its owner, to look at it and to take nodes out by hand; empty: none.
        runs_as: User and group that it changes to once it listens; empty: it stays who started it.
        cache_folder: Where nginx keeps what it caches; the folder above must be there. HAProxy keeps it in memory.
        failures_log: Where nginx tells of requests that failed; HAProxy tells it on its standard output.
        node_connections: Requests that one node may have under way at a time.
        request_deadline_s: By when a node answers every request (TIDEGATE_REQUEST_DEADLINE_MS).
        receive_deadline_s: By when a request must have arrived whole (TIDEGATE_RECEIVE_DEADLINE_MS).
    """

    nodes: tuple[Address, ...]
    listen: Address
    certificate: str = ""
    key: str = ""
    redirect_from: Address | None = None
    metrics: Address | None = None
    runtime_socket: str = ""
    runs_as: str = ""
    cache_folder: str = "/var/cache/tidegate-nginx"
    failures_log: str = "/var/log/nginx/tidegate.log"
    node_connections: int = NODE_CONNECTIONS
    request_deadline_s: float = 15.0
    receive_deadline_s: float = 10.0
