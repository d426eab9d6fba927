"""Each part is told what it would be told anywhere, and no two of them are told the same port."""

import pytest

from tidegate.cluster.layout import Layout, Servers
from tidegate.settings_building import build_settings
from tidegate.settings_node import usable_cores

SERVERS = Servers(
    primary_dsn="postgresql://tidegate@/tidegate?host=/run/a",
    replica_dsns=("postgresql://tidegate@/tidegate?host=/run/c", "postgresql://tidegate@/tidegate?host=/run/d"),
    cache_url="unix:///run/b",
    queue_url="nats://tidegate:a-password@127.0.0.1:14222",
)
SAID = {
    "TIDEGATE_SIGNING_KEYS_FILE": "/keys.json",
    "TIDEGATE_REFRESH_MAC_KEY": "0123456789abcdefghijABCDEFGHIJ-_0123456789A",
}


def layout(*, nodes: int = 2, cores: int = 2) -> Layout:
    return Layout(nodes=nodes, workers=1, replicas=2, host="127.0.0.1", port=8080, cores=cores)


def told(node: str, *, nodes: int = 2, cores: int = 2, **said: str) -> dict[str, str]:
    made = layout(nodes=nodes, cores=cores)
    given = SAID | {f"TIDEGATE_{name}": text for name, text in said.items()}
    return made.of_node(node, made.common(given, SERVERS))


def test_what_a_node_is_told_are_settings_that_it_would_start_with() -> None:
    settings = build_settings(told("api-2"))
    assert settings.primary_dsn == SERVERS.primary_dsn
    assert settings.cache_url == SERVERS.cache_url
    assert settings.queue_url == SERVERS.queue_url
    assert settings.replica_dsns == SERVERS.replica_dsns
    assert settings.trusted_hops == 1
    assert settings.existence_filter == "confirm"
    assert (settings.port, settings.metrics_port) == (8082, 9082)


def test_it_says_what_it_is_made_of() -> None:
    assert str(layout()) == "2 nodes, 1 worker, 2 replicas, and the servers that they need"


def test_no_two_ports_are_the_same() -> None:
    made = layout(nodes=5)
    ports = [
        made.port,
        made.balancer_metrics_port,
        *map(made.port_of, made.node_names()),
        *map(made.metrics_port_of, made.node_names()),
    ]
    assert len(set(ports)) == len(ports)


def test_all_nodes_sign_in_the_same_name() -> None:
    """Else each would refuse the tokens of the others."""
    assert told("api-1")["TIDEGATE_ISSUER"] == told("api-2")["TIDEGATE_ISSUER"] == "http://127.0.0.1:8080"
    assert told("api-2", ISSUER="https://login.example")["TIDEGATE_ISSUER"] == "https://login.example"


def test_an_ipv6_address_is_a_name_that_a_url_may_have() -> None:
    made = Layout(nodes=1, workers=1, replicas=0, host="::1", port=8080, cores=1)
    assert made.common(SAID, SERVERS)["TIDEGATE_ISSUER"] == "http://[::1]:8080"


def test_no_two_workers_answer_metrics_on_the_same_port() -> None:
    """The second would end, and be started again, for ever."""
    made = layout()
    said = made.common(SAID | {"TIDEGATE_WORKER_METRICS_PORT": "9500"}, SERVERS)
    ports = [build_settings(made.of_worker(name, said)).worker_metrics_port for name in ("worker-1", "worker-2")]
    assert ports == [9500, 9501]
    assert build_settings(made.of_worker("worker-2", made.common(SAID, SERVERS))).worker_metrics_port == 0


@pytest.mark.parametrize(
    ("nodes", "cores", "threads"),
    [(2, 2, [1, 1]), (2, 8, [4, 4]), (3, 8, [3, 3, 2]), (3, 2, [1, 1, 1])],
)
def test_all_nodes_together_hash_on_each_core_once(nodes: int, cores: int, threads: list[int]) -> None:
    """A node that has no core to itself has one thread all the same: else it could let nobody in."""
    settings = [told(f"api-{number + 1}", nodes=nodes, cores=cores) for number in range(nodes)]
    assert [int(each["TIDEGATE_API_PROCESSES"]) * int(each["TIDEGATE_HASH_THREADS"]) for each in settings] == threads


def test_fewer_processes_have_more_threads_each() -> None:
    settings = told("api-1", cores=8, API_PROCESSES="2")
    assert (settings["TIDEGATE_API_PROCESSES"], settings["TIDEGATE_HASH_THREADS"]) == ("2", "2")


def test_what_the_operator_says_of_threads_and_of_the_filter_stands() -> None:
    settings = told("api-1", HASH_THREADS="1", EXISTENCE_FILTER="off", METRICS_PORT="5")
    assert settings["TIDEGATE_HASH_THREADS"] == "1"
    assert settings["TIDEGATE_EXISTENCE_FILTER"] == "off"
    assert settings["TIDEGATE_METRICS_PORT"] == "9081", "two nodes cannot share one"


def test_a_worker_is_told_where_the_servers_are() -> None:
    made = layout(cores=usable_cores())
    settings = build_settings(made.of_worker("worker-1", made.common(SAID, SERVERS)))
    assert settings.primary_dsn == SERVERS.primary_dsn
