"""The HAProxy of a run in which clients do not know the nodes, and what may befall it.

Its configuration is what `tidegate balancer` prints. Between it and each node is the line that clients else go by. What it
answers itself, 502, 503 and 504, is as unknown as no answer: it cannot tell whether a node has done what it was asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.families import kill_family
from tests.support.nodes import free_ports
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.plan import Address, BalancerPlan
from tidegate.embedded.haproxy import EmbeddedHaproxy

NODE_SETTINGS: Final = {"TRUSTED_HOPS": "1"}
"""What nodes behind it need (docs/BALANCER.md)."""


@dataclass(frozen=True)
class Balancer:
    """Where clients come, and what takes them to the nodes.

    Attributes:
        port: Its own.
    """

    haproxy: EmbeddedHaproxy
    port: int

    @classmethod
    def before(
        cls, ports: Iterable[int], folder: Path, *, request_deadline_s: float, receive_deadline_s: float
    ) -> "Balancer":
        """One that is not started yet, before whatever listens on *ports*."""
        listen = Address("127.0.0.1", free_ports(1)[0])
        plan = BalancerPlan(
            nodes=tuple(Address("127.0.0.1", port) for port in ports),
            listen=listen,
            request_deadline_s=request_deadline_s,
            receive_deadline_s=receive_deadline_s,
        )
        return cls(EmbeddedHaproxy(folder, haproxy_cfg(plan)), listen.port)

    def kill(self) -> None:
        """kill -9 of master and worker at once."""
        kill_family(self.haproxy.process.pid)
        self.haproxy.process.wait()
