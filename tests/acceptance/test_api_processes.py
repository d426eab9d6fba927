"""Several API processes behind one port: each gets its share of the clients, and one that dies costs nobody who comes."""

import http.client
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.support.lines import api_processes, listening_sockets, open_line
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

CLIENTS = 40

CROWD = 200
"""That one of two processes gets a quarter of them or less by chance happens once in 10**12 times."""


def status_for_a_new_client(node: Node) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    finally:
        connection.close()


def test_clients_are_spread_over_the_processes(postgres: EmbeddedPostgres) -> None:
    """A crowd that one process takes alone is served by one core."""
    with own_node(postgres, API_PROCESSES="2") as node, ExitStack() as closing:
        pids = api_processes(node)
        served_by: Counter[int] = Counter()
        for _ in range(CROWD):
            line = open_line(node, pids)
            closing.callback(line.hang_up)
            served_by[line.pid] += 1
        assert min(served_by[pid] for pid in pids) > CROWD // 4


def test_each_process_has_a_queue_of_its_own(postgres: EmbeddedPostgres) -> None:
    """From a queue that all share, whoever is awake takes a whole burst."""
    with own_node(postgres, API_PROCESSES="2") as node:
        assert len(listening_sockets(node.port)) == 2


def test_who_comes_while_a_process_is_dead_waits_for_its_successor(postgres: EmbeddedPostgres) -> None:
    with own_node(postgres, API_PROCESSES="2") as node, ThreadPoolExecutor(CLIENTS) as clients:
        victim, survivor = api_processes(node)
        os.kill(victim, signal.SIGKILL)
        answers = list(clients.map(lambda _: status_for_a_new_client(node), range(CLIENTS)))
        assert answers == [200] * CLIENTS
        until(lambda: len(api_processes(node)) == 2, "the dead process was not started again")
        assert survivor in api_processes(node)
        assert victim not in api_processes(node)


def test_processes_follow_the_cores(postgres: EmbeddedPostgres) -> None:
    with own_node(postgres) as node:
        assert len(api_processes(node)) == len(os.sched_getaffinity(0))
