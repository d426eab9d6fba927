"""Runs `tidegate cluster` as people do, and asks it what they would ask it."""

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.client import Client
from tests.support.commands import environment_with, started, tidegate
from tidegate.cluster.control import Request, ask

READY_WITHIN_S = 120.0
_PORTS = range(14_000, 31_000)
"""Below those of outgoing connections; a cluster takes some in a row, and some a thousand higher."""


@dataclass
class RunningCluster:
    """A running `tidegate cluster`."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"
    output: Path

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `tidegate cluster WORDS` against it."""
        return tidegate("cluster", *words, "--data-dir", self.folder)

    def status(self) -> dict[str, Any]:
        """As `tidegate cluster status --json` tells it, without a process for each question."""
        return dict(ask(self.folder, Request("status"), timeout_s=60).status)

    def part(self, name: str) -> dict[str, Any]:
        """How one part is."""
        return next(part for part in self.status()["parts"] if part["name"] == name)

    def node(self, number: int) -> Client:
        """A connection to one node, past the balancer."""
        return Client(self.port + number, timeout_s=30)

    def front(self) -> Client:
        """A connection to where people ask."""
        return Client(int(self.status()["url"].rpartition(":")[2]), timeout_s=30)

    def said(self) -> str:
        return self.output.read_text()


def free_port_of_a_cluster(nodes: int = 3) -> int:
    """One with room above it."""
    while True:
        port = random.choice(_PORTS)
        try:
            with contextlib.ExitStack() as held:
                for number in range(nodes + 1):
                    for each in (port + number, port + 1_000 + number):
                        held.enter_context(socket.create_server(("127.0.0.1", each)))
        except OSError:
            continue
        return port


@contextlib.contextmanager
def running_cluster(folder: Path, *words: str, wait: bool = True, port: int | None = None) -> Iterator[RunningCluster]:
    """Start a cluster with data in *folder*; at the end nothing of it is left."""
    port = port or free_port_of_a_cluster()
    told = ["cluster", *words, "--port", str(port), "--data-dir", str(folder)]
    with started(told, folder, environment_with({})) as (process, output):
        cluster = RunningCluster(folder, port, process, output)
        if wait:
            await_ready(cluster)
        yield cluster


def await_ready(cluster: RunningCluster) -> None:
    """Wait until it says that it serves; fails with what it said when it ends instead."""
    give_up_at = time.monotonic() + READY_WITHIN_S
    while "Ctrl-C stops it" not in cluster.said():
        assert cluster.process.poll() is None, cluster.said()
        assert time.monotonic() < give_up_at, cluster.said()
        time.sleep(0.05)
