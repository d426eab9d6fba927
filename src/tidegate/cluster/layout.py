"""Which parts a cluster has, on which ports, and what each is told of the others: the settings it would get anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NODES_MAX: Final = 16
WORKERS_MAX: Final = 16
REPLICAS_MAX: Final = 8
"""On one machine more tell nothing new."""

PORTS_ABOVE_MAX: Final = 1_000 + NODES_MAX
"""How far above the cluster's port its highest port may lie."""

NODE_HOST: Final = "127.0.0.1"
"""Nobody but the balancer is to ask a node."""

_METRICS_ABOVE: Final = 1_000
"""As without a cluster: TIDEGATE_METRICS_PORT is TIDEGATE_PORT + 1000."""


class Kind(StrEnum):
    """What a part is."""

    POSTGRES = "postgres"
    REPLICA = "replica"
    VALKEY = "valkey"
    NATS = "nats"
    WORKER = "worker"
    API = "api"
    HAPROXY = "haproxy"
    NGINX = "nginx"


ALIASES: Final[Mapping[str, tuple[Kind, ...]]] = {
    "primary": (Kind.POSTGRES,),
    "database": (Kind.POSTGRES,),
    "cache": (Kind.VALKEY,),
    "queue": (Kind.NATS,),
    "balancer": (Kind.HAPROXY, Kind.NGINX),
}
"""What people also say of the part that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where everybody finds the servers.

    Attributes:
        primary_dsn: PostgreSQL.
        replica_dsns: Its replicas.
        cache_url: Valkey.
        queue_url: NATS.
    """

    primary_dsn: str
    replica_dsns: tuple[str, ...]
    cache_url: str
    queue_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A cluster on paper.

    Attributes:
        nodes: How many serve the API.
        workers: How many do jobs.
        replicas: How many copies of the database follow the primary.
        host: Where the balancer listens.
        port: Of the balancer; those of the nodes follow it.
        cores: Of this machine, which all nodes share.
    """

    nodes: int
    workers: int
    replicas: int
    host: str
    port: int
    cores: int

    def __str__(self) -> str:
        """For people."""
        counts = ((self.nodes, "node"), (self.workers, "worker"), (self.replicas, "replica"))
        told = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)
        return f"{told}, and the servers that they need"

    def node_names(self) -> tuple[str, ...]:
        """Of the nodes."""
        return _numbered(Kind.API, self.nodes)

    def worker_names(self) -> tuple[str, ...]:
        """Of the workers."""
        return _numbered(Kind.WORKER, self.workers)

    def replica_names(self) -> tuple[str, ...]:
        """Of the replicas."""
        return _numbered(Kind.REPLICA, self.replicas)

    def port_of(self, node: str) -> int:
        """Where *node* listens."""
        return self.port + number_of(node)

    def metrics_port_of(self, node: str) -> int:
        """Where *node* answers /metrics."""
        return self.port_of(node) + _METRICS_ABOVE

    @property
    def balancer_metrics_port(self) -> int:
        """Where the balancer answers /metrics."""
        return self.port + _METRICS_ABOVE

    def common(self, said: Mapping[str, str], servers: Servers) -> dict[str, str]:
        """What every part is told alike: what the operator said, and where the servers are."""
        ours = {
            "TIDEGATE_PRIMARY_DSN": servers.primary_dsn,
            "TIDEGATE_REPLICA_DSNS": " ".join(servers.replica_dsns),
            "TIDEGATE_CACHE_URL": servers.cache_url,
            "TIDEGATE_QUEUE_URL": servers.queue_url,
        }
        # Else each node would name itself, and refuse the tokens of the others.
        host = f"[{self.host}]" if ":" in self.host else self.host
        issuer = {"TIDEGATE_ISSUER": said.get("TIDEGATE_ISSUER") or f"http://{host}:{self.port}"}
        existence = {"TIDEGATE_EXISTENCE_FILTER": said.get("TIDEGATE_EXISTENCE_FILTER") or "confirm"}
        return {**said, **ours, **issuer, **existence, "TIDEGATE_HOST": self.host, "TIDEGATE_PORT": str(self.port)}

    def of_node(self, node: str, common: Mapping[str, str]) -> dict[str, str]:
        """The settings of *node*."""
        threads = max(1, self.cores // self.nodes + (number_of(node) <= self.cores % self.nodes))
        processes = int(common.get("TIDEGATE_API_PROCESSES") or 0) or threads
        return {
            **common,
            "TIDEGATE_HOST": NODE_HOST,
            "TIDEGATE_PORT": str(self.port_of(node)),
            "TIDEGATE_METRICS_HOST": NODE_HOST,
            "TIDEGATE_METRICS_PORT": str(self.metrics_port_of(node)),
            "TIDEGATE_TRUSTED_HOPS": "1",  # the balancer
            "TIDEGATE_API_PROCESSES": str(processes),
            # All nodes together hash on each core once.
            "TIDEGATE_HASH_THREADS": common.get("TIDEGATE_HASH_THREADS") or str(max(1, threads // processes)),
        }

    def of_worker(self, worker: str, common: Mapping[str, str]) -> dict[str, str]:
        """The settings of *worker*. Where the first answers /metrics is said; the others follow it."""
        first = int(common.get("TIDEGATE_WORKER_METRICS_PORT") or 0)
        metrics_port = first + number_of(worker) - 1 if first else 0
        return {**common, "TIDEGATE_WORKER_METRICS_PORT": str(metrics_port)}


def number_of(name: str) -> int:
    """2 of "api-2"."""
    return int(name.rpartition("-")[2])


def _numbered(kind: Kind, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}-{number}" for number in range(1, count + 1))
