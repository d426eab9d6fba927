"""Two nodes and one Valkey: who fails too often waits on both, and nobody can be locked out by others."""

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import PASSWORD, Client, Person, Reply, basic, fresh_name
from tests.support.databases import drop_database, make_migrated_database
from tests.support.measures import measure
from tests.support.nodes import Node, running_node
from tests.support.valkeys import flush, frozen, kill, own_valkey, say
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.valkey import EmbeddedValkey

PAIR, USER, DEVICE, ADDRESS = 4, 12, 3, 40
"""Failures until the next has to wait: settings of the nodes."""

THROTTLED = b'{"code":"429","message":"too many attempts"}'
WRONG = b'{"code":"403","message":"invalid password"}'
UNKNOWN = b'{"code":"404","message":"user not found"}'

_hosts = count(1)


def new_address() -> str:
    """An address that nobody has used in this run; the nodes believe what X-Forwarded-For says."""
    number = next(_hosts)
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True)
class Cluster:
    """Nodes of one process each that share a database and a Valkey."""

    nodes: Sequence[Node]
    valkey: EmbeddedValkey


@contextmanager
def running_cluster(postgres: EmbeddedPostgres, **settings: str) -> Iterator[Cluster]:
    """Start two nodes and a Valkey."""
    name = make_migrated_database(postgres)
    folders = [Path(tempfile.mkdtemp(prefix="tidegate-node-")) for _ in range(2)]
    try:
        with ExitStack() as running:
            valkey = running.enter_context(own_valkey())
            shared = {
                "API_PROCESSES": "1",
                "CACHE_URL": valkey.url,
                "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
                "SIGNING_KEYS_FILE": str(folders[0] / "signing_keys.json"),
                "TRUSTED_HOPS": "1",
                "ISSUER": "https://login.example",
                "THROTTLE_PAIR_FAILURES": str(PAIR),
                "THROTTLE_USER_FAILURES": str(USER),
                "THROTTLE_DEVICE_FAILURES": str(DEVICE),
                "THROTTLE_ADDRESS_FAILURES": str(ADDRESS),
                "INTROSPECTION_CLIENT_ID": INTROSPECTION[0],
                "INTROSPECTION_CLIENT_SECRET": INTROSPECTION[1],
            }
            nodes = [
                running.enter_context(running_node(postgres.dsn(name), folder, **shared | settings)) for folder in folders
            ]
            yield Cluster(nodes, valkey)
    finally:
        drop_database(postgres, name)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(postgres: EmbeddedPostgres) -> Iterator[Cluster]:
    with running_cluster(postgres) as cluster:
        yield cluster


@contextmanager
def clients_of(cluster: Cluster) -> Iterator[list[Client]]:
    """One connection to each node."""
    with ExitStack() as closing:
        yield [closing.enter_context(node.client()) for node in cluster.nodes]


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[list[Client]]:
    with clients_of(cluster) as clients:
        yield clients


def log_in(
    client: Client, name: str, password: str = "wrong password", *, kind: str = "username", at: str, device: str = ""
) -> Reply:
    """One login from address *at*, with the device token *device*."""
    headers = {"X-Forwarded-For": at} | ({"Cookie": f"a=b; tidegate_device={device}"} if device else {})
    return client.form("/login", {kind: name, "password": password}, **headers)


def device_token(reply: Reply) -> str:
    """What a login gave the device to keep."""
    found = re.match(r"tidegate_device=([A-Za-z0-9_-]+);", reply.headers["set-cookie"])
    assert found
    return found[1]


def fail(clients: Sequence[Client], times: int, name: str, *, at: str | None = None, device: str = "") -> None:
    """Fail so often, on each node in turn, all from one address or each from one of its own."""
    for number in range(times):
        reply = log_in(clients[number % len(clients)], name, at=at or new_address(), device=device)
        assert (reply.status, reply.body) == (403, WRONG)


def is_refused_unknown(client: Client, address: str) -> bool:
    return is_throttled(log_in(client, fresh_name("nobody"), at=address))


def is_throttled(reply: Reply) -> bool:
    if reply.status != 429:
        return False
    assert reply.body == THROTTLED
    assert int(reply.headers["retry-after"]) >= 1
    return True


def test_failures_on_one_node_count_on_the_other_and_a_right_password_is_never_called_wrong(clients: list[Client]) -> None:
    name, address = clients[0].register(), new_address()
    fail(clients, PAIR, name, at=address)
    for client in clients:
        reply = log_in(client, name, PASSWORD, at=address)
        assert is_throttled(reply)
        assert int(reply.headers["retry-after"]) <= 2 * 900 + 1
    assert log_in(clients[0], name, PASSWORD, at=new_address()).status == 200
    assert log_in(clients[0], clients[0].register(), PASSWORD, at=address).status == 200


def test_all_names_of_a_user_and_every_way_to_write_them_share_one_budget(clients: list[Client]) -> None:
    person, address = clients[0].person(), new_address()
    attempts = [
        ("username", person.username),
        ("username", person.username.upper()),
        ("email", person.email.upper()),
        ("phone_number", person.phone_number),
    ]
    assert len(attempts) == PAIR
    for (kind, name), client in zip(attempts, clients * 2, strict=True):
        assert log_in(client, name, kind=kind, at=address).status == 403
    for (kind, name), client in zip(attempts, clients * 2, strict=True):
        assert is_throttled(log_in(client, name, PASSWORD, kind=kind, at=address))


def test_guesses_from_many_addresses_add_up(clients: list[Client]) -> None:
    name = clients[0].register()
    fail(clients, USER, name)
    assert is_throttled(log_in(clients[0], name, PASSWORD, at=new_address()))


def test_nobody_can_lock_a_user_out_of_a_device_that_they_have_logged_in_from(clients: list[Client]) -> None:
    name, home = clients[0].register(), new_address()
    first = log_in(clients[0], name, PASSWORD, at=home)
    attributes = set(first.headers["set-cookie"].split("; ")[1:])
    assert attributes == {"Path=/login", "HttpOnly", "SameSite=Lax", "Secure", f"Max-Age={180 * 86_400}"}
    token = device_token(first)
    fail(clients, USER, name)
    for client in clients:
        again = log_in(client, name, PASSWORD, at=home, device=token)
        assert again.status == 200
        assert set(again.json) == {"access_token", "refresh_token"}
        assert "set-cookie" not in again.headers
    fail(clients, DEVICE, name, at=home, device=token)
    assert is_throttled(log_in(clients[1], name, PASSWORD, at=home, device=token))


def test_the_device_token_of_another_user_buys_no_guess(clients: list[Client]) -> None:
    mallory, name, address = clients[0].register(), clients[0].register(), new_address()
    token = device_token(log_in(clients[0], mallory, PASSWORD, at=address))
    fail(clients, PAIR, name, at=address, device=token)
    assert is_throttled(log_in(clients[0], name, PASSWORD, at=address, device=token))


def at_once(cluster: Cluster, callers: int, name: str, password: str, *, at: str) -> list[Reply]:
    """So many logins at the same moment, on both nodes."""

    def one(number: int) -> Reply:
        with cluster.nodes[number % 2].client() as client:
            return log_in(client, name, password, at=at)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def test_twenty_right_logins_at_once_all_pass(cluster: Cluster, clients: list[Client]) -> None:
    name = clients[0].register()
    assert {reply.status for reply in at_once(cluster, 20, name, PASSWORD, at=new_address())} == {200}


def test_a_burst_of_guesses_is_bounded(cluster: Cluster, clients: list[Client]) -> None:
    """What is under way is counted by each node for itself, so by at most one budget a node."""
    name = clients[0].register()
    replies = at_once(cluster, 60, name, "wrong password", at=new_address())
    assert {reply.status for reply in replies} == {403, 429}, [n.log_file.read_text() for n in cluster.nodes]
    assert PAIR <= sum(reply.status == 403 for reply in replies) <= 2 * PAIR


def test_after_a_success_the_failures_before_it_are_forgiven_on_both_nodes(clients: list[Client]) -> None:
    name, address = clients[0].register(), new_address()
    for _ in range(2):
        fail(clients, PAIR - 1, name, at=address)
        assert log_in(clients[1], name, PASSWORD, at=address).status == 200


def test_unknown_users_count_for_their_address_alone_on_both_nodes(clients: list[Client]) -> None:
    address = new_address()
    for number in range(ADDRESS):
        reply = log_in(clients[number % 2], fresh_name("nobody"), at=address)
        assert (reply.status, reply.body) == (404, UNKNOWN)
    for client in clients:
        until(partial(is_refused_unknown, client, address), "the node has heard of the failures")
        assert log_in(client, fresh_name("nobody"), at=new_address()).status == 404
    name = clients[0].register()
    assert is_throttled(log_in(clients[0], name, PASSWORD, at=address))


@pytest.mark.parametrize(
    ("first", "second"), [("2001:db8:{:x}:7::1", "2001:db8:{:x}:7:a:b:c:d"), ("192.0.{}.7", "::ffff:192.0.{}.7")]
)
def test_addresses_of_one_caller_count_as_one(first: str, second: str, clients: list[Client]) -> None:
    number = next(_hosts) % 256
    name = clients[0].register()
    fail(clients, PAIR, name, at=first.format(number))
    assert is_throttled(log_in(clients[0], name, PASSWORD, at=second.format(number)))


def test_what_a_client_writes_into_x_forwarded_for_itself_moves_nothing(clients: list[Client]) -> None:
    """The proxy appends the true address; all before it came from the client."""
    name, address = clients[0].register(), new_address()
    for _ in range(PAIR):
        assert log_in(clients[0], name, at=f"{new_address()}, {address}").status == 403
    assert is_throttled(log_in(clients[0], name, PASSWORD, at=f"{new_address()}, {address}"))


def test_a_change_of_password_is_throttled_by_session(clients: list[Client]) -> None:
    """A stolen access token must not become the password; nor may its failures keep others from changing it."""
    client = clients[0]
    name = client.register()
    stolen, own = client.log_in(name)["access_token"], client.log_in(name)["access_token"]
    wish = {"new_password": "battery staple 2"}
    for each in (clients * DEVICE)[:DEVICE]:
        reply = each.form("/me/password", {"current_password": "wrong password", **wish}, token=stolen)
        assert reply.status == 403
    for each in clients:
        assert is_throttled(each.form("/me/password", {"current_password": PASSWORD, **wish}, token=stolen))
    assert client.form("/me/password", {"current_password": PASSWORD, **wish}, token=own).status == 200


def test_a_client_secret_is_throttled_by_address(clients: list[Client]) -> None:
    address = {"X-Forwarded-For": new_address()}
    for _ in range(ADDRESS):
        assert (
            clients[0].form("/introspect", {"token": "x"}, Authorization=basic("resource-server", "?"), **address).status
            == 401
        )
    assert is_throttled(clients[0].form("/introspect", {"token": "x"}, Authorization=basic(*INTROSPECTION), **address))
    elsewhere = {"X-Forwarded-For": new_address()}
    assert clients[0].form("/introspect", {"token": "x"}, Authorization=basic(*INTROSPECTION), **elsewhere).status == 200


def test_registrations_and_questions_are_limited_by_address_where_a_limit_is_set(postgres: EmbeddedPostgres) -> None:
    limits = {"THROTTLE_ADDRESS_REGISTRATIONS": "3", "THROTTLE_ADDRESS_QUESTIONS": "5"}
    with running_cluster(postgres, **limits) as cluster, cluster.nodes[0].client() as client:
        address = {"X-Forwarded-For": new_address()}

        def register() -> Reply:
            return client.send_json("/register", {"username": fresh_name(), "password": PASSWORD}, **address)

        assert client.send_json("/register", {"username": fresh_name(), "password": "short"}, **address).status == 400
        assert [register().status for _ in range(3)] == [200] * 3
        assert is_throttled(register())
        asked = [client.get(f"/availability?username={fresh_name()}", **address) for _ in range(6)]
        assert [reply.status for reply in asked] == [200] * 5 + [429]


def test_it_is_counted_by_kind_and_the_cache_too(cluster: Cluster, clients: list[Client]) -> None:
    node, address = cluster.nodes[0], new_address()
    before = measure(node, "tidegate_throttled_total", kind="pair")
    name = clients[0].register()
    fail(clients[:1], PAIR, name, at=address)
    assert is_throttled(log_in(clients[0], name, at=address))
    assert measure(node, "tidegate_throttled_total", kind="pair") == before + 1
    until(
        lambda: measure(node, "tidegate_refused_total", route="/login", reason="too_many_attempts") > 0,
        "the node has noticed",
    )
    until(lambda: measure(node, "tidegate_cache_up") == 1, "the node has noticed")


def test_nothing_in_the_cache_names_anybody_or_holds_a_secret(cluster: Cluster, clients: list[Client]) -> None:
    person = clients[0].person()
    fail(clients, 2, person.username, at=new_address())
    log_in(clients[0], fresh_name("nobody"), at=new_address())
    keys = say(cluster.valkey, "KEYS *")
    assert keys.count(b"tg1:n:") > 3
    for told in (person.username, person.email, person.phone_number, "wrong password", "nobody"):
        assert told.encode() not in keys


@pytest.fixture(scope="module")
def hit(postgres: EmbeddedPostgres) -> Iterator[Cluster]:
    """A cluster whose Valkey may be harmed."""
    with running_cluster(postgres) as cluster:
        yield cluster


@pytest.fixture
def callers(hit: Cluster) -> Iterator[list[Client]]:
    with clients_of(hit) as clients:
        yield clients


class TestWithoutValkey:
    """Each node goes by what it counted itself, and every login is right."""

    def go_through(self, clients: list[Client]) -> None:
        """Right, wrong and unknown are told apart, on each node, and each bounds guesses by itself."""
        for client in clients:
            name, address = client.register(), new_address()
            assert client.get("/health/ready").status == 200
            assert log_in(client, name, PASSWORD, at=address).status == 200
            assert log_in(client, fresh_name("nobody"), at=address).status == 404
            fail([client], PAIR, name, at=address)
            assert is_throttled(log_in(client, name, PASSWORD, at=address))
            assert log_in(client, name, PASSWORD, at=new_address()).status == 200

    def test_while_it_is_frozen_each_node_counts_for_itself(self, hit: Cluster, callers: list[Client]) -> None:
        name, address = callers[0].register(), new_address()
        fail(callers[:1], PAIR - 1, name, at=address)
        with frozen(hit.valkey):
            self.go_through(callers)
            fail(callers[:1], 1, name, at=address)
            assert is_throttled(log_in(callers[0], name, PASSWORD, at=address))
        until(lambda: all(measure(node, "tidegate_cache_up") == 1 for node in hit.nodes), "the node has noticed")
        self.go_through(callers)

    def test_when_it_was_emptied_each_node_still_knows_what_it_counted(self, hit: Cluster, callers: list[Client]) -> None:
        name, address = callers[0].register(), new_address()
        fail(callers[:1], PAIR, name, at=address)
        flush(hit.valkey)
        assert is_throttled(log_in(callers[0], name, PASSWORD, at=address))
        self.go_through(callers)

    def test_when_it_was_killed_they_count_alone_and_together_again_later(
        self, hit: Cluster, callers: list[Client]
    ) -> None:
        name, address = callers[0].register(), new_address()
        fail(callers[:1], PAIR, name, at=address)
        kill(hit.valkey)
        assert is_throttled(log_in(callers[0], name, PASSWORD, at=address))
        until(lambda: all(measure(node, "tidegate_cache_up") == 0 for node in hit.nodes), "the node has noticed")
        self.go_through(callers)
        hit.valkey.start()
        until(lambda: all(measure(node, "tidegate_cache_up") == 1 for node in hit.nodes), "the node has noticed")
        shared, place = callers[0].register(), new_address()
        fail(callers, PAIR, shared, at=place)
        assert all(is_throttled(log_in(client, shared, PASSWORD, at=place)) for client in callers)


@pytest.fixture(scope="module")
def hardened(postgres: EmbeddedPostgres) -> Iterator[list[Client]]:
    with running_cluster(postgres, PROFILE="hardened") as cluster, clients_of(cluster) as clients:
        yield clients


class TestHardened:
    def test_a_name_that_nobody_has_is_throttled_as_one_that_somebody_has(self, hardened: list[Client]) -> None:
        """On both nodes, at the same attempt, with the same words; else the throttle would tell who is registered."""
        stories = []
        for name in (hardened[0].register(), fresh_name("nobody")):
            address = new_address()
            replies = [log_in(hardened[number % 2], name, at=address) for number in range(PAIR + 2)]
            stories.append([(reply.status, reply.body, "retry-after" in reply.headers) for reply in replies])
        assert stories[0] == stories[1] == [(403, WRONG, False)] * PAIR + [(429, THROTTLED, True)] * 2

    def test_one_name_s_failures_do_not_tell_that_another_is_the_same_user_s(self, hardened: list[Client]) -> None:
        person: Person = hardened[0].person()
        address = new_address()
        fail(hardened, PAIR, person.username, at=address)
        assert log_in(hardened[0], person.email, kind="email", at=address).status == 403
