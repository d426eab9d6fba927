"""Reckons what a storm of logins needs: cores, nodes, memory, connections, and who is refused where there are fewer.

Pure arithmetic over what a calibration measured. Whatever else it takes for granted is an `Assumption` with its source, and
is told with the answer.
"""

import math
from dataclasses import dataclass

from msgspec import Struct

from tidegate.calibration.assumptions import (
    BUSY_MAX,
    CONNECTIONS_BESIDE,
    LOAD_MAX,
    PRIMARY_CPU_MS,
    PROCESS_BYTES,
    SHARE_OF_HASHING,
    Assumption,
    assumptions,
)
from tidegate.calibration.figures import Hashing


class Undersized(Struct, frozen=True, kw_only=True):
    """What becomes of the storm with so many nodes.

    Attributes:
        nodes: Of the same cores each.
        logins_per_s: That they serve at most.
        refused_share: Of the attempts, while the storm lasts: 503 and Retry-After.
        all_in_after_s: When everybody is logged in, if whoever is refused comes back when told to.
    """

    nodes: int
    logins_per_s: float
    refused_share: float
    all_in_after_s: float


class Plan(Struct, frozen=True, kw_only=True):
    """What a storm needs.

    Attributes:
        users: Who come.
        within_s: In how many seconds.
        profile: Of the hashes.
        logins_per_s: That come.
        hashes_per_s_per_core: As measured.
        cores: That hash.
        cores_per_node: Given.
        nodes: So many have the cores.
        nodes_with_spare: One of them may fail, or be restarted, in the storm.
        processes_per_node: `TIDEGATE_API_PROCESSES`.
        hash_memory_bytes_per_node: That the hash threads hold.
        memory_bytes_per_node: The processes too.
        memory_bytes: Of all nodes.
        connections_per_node: To the primary.
        max_connections: Of the primary: for all nodes, the spare one, workers and people.
        primary_cores: Of the machine that PostgreSQL runs on.
        undersized: What becomes of the storm with fewer nodes.
        assumptions: What all this rests on.
    """

    users: int
    within_s: float
    profile: str
    logins_per_s: float
    hashes_per_s_per_core: float
    cores: int
    cores_per_node: int
    nodes: int
    nodes_with_spare: int
    processes_per_node: int
    hash_memory_bytes_per_node: int
    memory_bytes_per_node: int
    memory_bytes: int
    connections_per_node: int
    max_connections: int
    primary_cores: int
    undersized: tuple[Undersized, ...]
    assumptions: tuple[Assumption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Who come.

    Attributes:
        users: How many.
        within_s: All of them within so many seconds.
    """

    users: int
    within_s: float

    @property
    def logins_per_s(self) -> float:
        """That come."""
        return self.users / self.within_s


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """What each node is.

    Attributes:
        cores: That hash on it.
        hashing: As measured on a machine whose cores are as fast.
        processes: That serve on it.
        connections_per_process: To the primary.
    """

    cores: int
    hashing: Hashing
    processes: int
    connections_per_process: int

    @property
    def logins_per_s(self) -> float:
        """That it serves at most."""
        return self.cores * self.hashing.hashes_per_s_per_core * SHARE_OF_HASHING

    @property
    def hash_memory_bytes(self) -> int:
        """That its hash threads hold."""
        return self.cores * self.hashing.memory_bytes_per_thread

    @property
    def memory_bytes(self) -> int:
        """That Tidegate takes on it."""
        return self.hash_memory_bytes + self.processes * PROCESS_BYTES

    @property
    def connections(self) -> int:
        """To the primary."""
        return self.processes * self.connections_per_process


def plan(storm: Storm, node: NodeKind, *, profile: str, is_from_file: bool) -> Plan:
    """What *storm* needs of nodes like *node*.

    Args:
        storm: Who come.
        node: What each node is.
        profile: Name of the hash profile that *node* was measured with.
        is_from_file: Whether the figures come from a file, of whatever machine, and were not measured now.
    """
    per_core = node.hashing.hashes_per_s_per_core
    cores = math.ceil(storm.logins_per_s / (per_core * SHARE_OF_HASHING * LOAD_MAX))
    nodes = math.ceil(cores / node.cores)
    return Plan(
        users=storm.users,
        within_s=storm.within_s,
        profile=profile,
        logins_per_s=storm.logins_per_s,
        hashes_per_s_per_core=per_core,
        cores=cores,
        cores_per_node=node.cores,
        nodes=nodes,
        nodes_with_spare=nodes + 1,
        processes_per_node=node.processes,
        hash_memory_bytes_per_node=node.hash_memory_bytes,
        memory_bytes_per_node=node.memory_bytes,
        memory_bytes=node.memory_bytes * nodes,
        connections_per_node=node.connections,
        max_connections=node.connections * (nodes + 1) + CONNECTIONS_BESIDE,
        primary_cores=math.ceil(storm.logins_per_s * PRIMARY_CPU_MS / 1_000 / BUSY_MAX),
        undersized=tuple(with_nodes(storm, node, each) for each in _fewer(nodes)),
        assumptions=assumptions(
            node.hashing,
            within_s=storm.within_s,
            connections_per_process=node.connections_per_process,
            is_from_file=is_from_file,
        ),
    )


def with_nodes(storm: Storm, node: NodeKind, nodes: int) -> Undersized:
    """What becomes of *storm* with so many *nodes*.

    Whoever comes while the cores hash as fast as they can is refused, but for the few that the queue holds; it drains at
    the same pace, so those are not counted as served.
    """
    served_per_s = nodes * node.logins_per_s
    return Undersized(
        nodes=nodes,
        logins_per_s=served_per_s,
        refused_share=max(0.0, 1 - served_per_s / storm.logins_per_s),
        all_in_after_s=max(storm.within_s, storm.users / served_per_s),
    )


def _fewer(nodes: int) -> list[int]:
    """One node, a quarter, half, one too few, and all that are needed; each once."""
    return sorted({1, math.ceil(nodes / 4), math.ceil(nodes / 2), max(1, nodes - 1), nodes})
