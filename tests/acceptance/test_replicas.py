"""Logins look users up on replicas, and no replica, however late or sick, makes an answer wrong (P2, P3, P9, P12)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.databases import make_migrated_database
from tests.support.measures import measure
from tests.support.nodes import Node, free_ports, running_node
from tests.support.own_replicas import held_up_unnoticed, own_replicas
from tests.support.servers import frozen, kill
from tests.support.tables import rows, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica

NEW_PASSWORD = "battery staple horse"
PROCESSES = 2


class Cluster(NamedTuple):
    """A node and what it reads from."""

    node: Node
    primary: EmbeddedPostgres
    replicas: list[EmbeddedReplica]
    name: str

    def dsn_of(self, number: int) -> str:
        """The node's database on a replica, counted from 0."""
        return self.replicas[number].dsn(self.name)

    def well(self) -> float:
        """How many processes read from how many replicas."""
        return measure(self.node, "tidegate_replica_up")

    def read(self, outcome: str) -> float:
        """How many look-ups ended so."""
        return measure(self.node, "tidegate_user_lookups_total", outcome=outcome)

    def until_all_well(self) -> None:
        until(lambda: self.well() == PROCESSES * len(self.replicas), "a replica is not read from")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with own_replicas(2) as servers:
        name = make_migrated_database(servers.primary)
        with running_node(
            servers.primary.dsn(name),
            tmp_path_factory.mktemp("node"),
            API_PROCESSES=str(PROCESSES),
            REPLICA_DSNS=" ".join(replica.dsn(name) for replica in servers.replicas),
            # So long that one that is held up is read from meanwhile.
            REPLICA_LAG_MS_MAX="10000",
            DATABASE_ACQUIRE_TIMEOUT_MS="1000",
        ) as node:
            yield Cluster(node, servers.primary, servers.replicas, name)


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.node.client() as client:
        yield client


def status(client: Client, name: str, password: str) -> int:
    return client.form("/login", {"username": name, "password": password}).status


def test_logins_look_users_up_on_replicas_and_these_are_spread(cluster: Cluster, client: Client) -> None:
    cluster.until_all_well()
    name = client.register()
    until(
        lambda: all(
            value(cluster.dsn_of(number), "SELECT count(*) FROM users WHERE username = $1", name) for number in range(2)
        ),
        "the user has not arrived",
    )
    before = cluster.read("replica")
    for _ in range(6):
        assert status(client, name, PASSWORD) == 200
    assert status(client, name, "another password") == 403
    until(lambda: cluster.read("replica") == before + 7, "the replicas were not read from")


def test_while_a_replica_lags_unnoticed_nobody_is_told_what_was(cluster: Cluster, client: Client) -> None:
    """Who registers is found at once (P2), an old password never works again, the new one at once (P3, P9)."""
    cluster.until_all_well()
    early = [client.somebody() for _ in range(4)]
    until(
        lambda: value(cluster.dsn_of(0), "SELECT count(*) FROM users WHERE username = $1", early[-1].username),
        "the user has not arrived",
    )
    nobody = cluster.read("nobody")
    with held_up_unnoticed(cluster.replicas[0]):
        for somebody in early:
            for password, expected in ((PASSWORD, 200), ("another password", 403)):
                assert status(client, somebody.username, password) == expected
            changed = client.form(
                "/me/password",
                {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
                token=somebody.access_token,
            )
            assert changed.status == 200, changed.body
            for password, expected in ((PASSWORD, 403), (NEW_PASSWORD, 200)):  # of two replicas each is asked once
                assert [status(client, somebody.username, password) for _ in range(2)] == [expected, expected]
            name = client.register()
            assert [status(client, name, PASSWORD) for _ in range(2)] == [200, 200]
    until(lambda: cluster.read("nobody") > nobody, "the late replica was not asked")


def test_who_is_disabled_or_deleted_is_so_at_once(cluster: Cluster, client: Client) -> None:
    cluster.until_all_well()
    somebody, other = client.somebody(), client.somebody()
    until(
        lambda: value(cluster.dsn_of(0), "SELECT count(*) FROM users WHERE username = $1", other.username),
        "the user has not arrived",
    )
    with held_up_unnoticed(cluster.replicas[0]):
        assert cluster.node.command("users", "disable", somebody.username).returncode == 0
        assert [status(client, somebody.username, PASSWORD) for _ in range(2)] == [403, 403]
        assert cluster.node.command("users", "enable", somebody.username).returncode == 0
        assert [status(client, somebody.username, PASSWORD) for _ in range(2)] == [200, 200]
        rows(cluster.node.dsn, "DELETE FROM users WHERE username = $1", other.username)
        assert [status(client, other.username, PASSWORD) for _ in range(2)] == [404, 404]


def test_logins_go_on_while_replicas_hang_and_die(cluster: Cluster, client: Client) -> None:
    cluster.until_all_well()
    name = client.register()
    with frozen(cluster.replicas[0]):
        assert [status(client, name, PASSWORD) for _ in range(8)] == [200] * 8
        until(lambda: cluster.well() == PROCESSES, "the replica that hangs is still read from")
        with frozen(cluster.replicas[1]):
            assert [status(client, name, PASSWORD) for _ in range(8)] == [200] * 8
            until(lambda: cluster.well() == 0, "the replica that hangs is still read from")
            assert status(client, name, "another password") == 403
            assert status(client, "nobody-has-this-name", PASSWORD) == 404
    cluster.until_all_well()
    for replica in cluster.replicas:
        kill(replica)
        assert [status(client, name, PASSWORD) for _ in range(4)] == [200] * 4
    until(lambda: cluster.well() == 0, "the replica that died is still read from")
    for replica in cluster.replicas:
        replica.start()
    cluster.until_all_well()


def test_without_the_primary_replicas_let_nobody_in_and_refuse_nobody(cluster: Cluster, client: Client) -> None:
    """Promise P9: the password may have changed, the user may have registered."""
    cluster.until_all_well()
    name = client.register()
    with frozen(cluster.primary):
        for username, password in ((name, PASSWORD), (name, "another password"), ("nobody-has-this-name", PASSWORD)):
            reply = client.form("/login", {"username": username, "password": password})
            assert reply.status == 503
            assert "retry-after" in reply.headers
    until(lambda: status(client, name, PASSWORD) == 200, "logins do not come back")
    cluster.until_all_well()


def test_the_doctor_tells_of_each_replica(cluster: Cluster) -> None:
    cluster.until_all_well()
    told = cluster.node.command("doctor").stdout
    for number in (1, 2):
        assert f"replica {number} follows on timeline 1" in told
    with frozen(cluster.replicas[1]):
        told = cluster.node.command("doctor").stdout
        assert "replica 1 follows on timeline 1" in told
        assert "replica 2 cannot be asked" in told


def test_a_node_whose_replicas_cannot_hold_its_connections_does_not_start(cluster: Cluster) -> None:
    port, metrics_port = free_ports(2)
    wanted = {
        "TIDEGATE_REPLICA_CONNECTIONS": "150",
        "TIDEGATE_REPLICA_CONNECTIONS_BUDGET": "1000",
        "TIDEGATE_PORT": str(port),
        "TIDEGATE_METRICS_PORT": str(metrics_port),
    }
    done = replace(cluster.node, environment={**cluster.node.environment, **wanted}).command("api")
    assert done.returncode == 78
    assert "replica 1 lets " in done.stderr
