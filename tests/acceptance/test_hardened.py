"""The hardened profile: nobody learns from an answer who is registered, and asking about nobody costs no core."""

from collections.abc import Iterator

import pytest

from tests.support.client import PASSWORD, PROBLEM, Client, Person, Reply, fresh_name
from tests.support.contract import INVALID_PASSWORD, INVALID_REQUEST, NOT_FOUND, SUCCESS, TOKENS, not_allowed
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.untouched import Watch
from tidegate.embedded.postgres import EmbeddedPostgres

CHANGING = {"date", "x-request-id"}
"""Headers that no two answers share."""


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(postgres, PROFILE="hardened") as node:
        yield node


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


@pytest.fixture(scope="module")
def registered(node: Node) -> Person:
    with node.client() as client:
        return client.person()


@pytest.fixture(scope="module")
def disabled(node: Node) -> Person:
    with node.client() as client:
        person = client.person()
    assert node.command("users", "disable", person.username).returncode == 0
    return person


@pytest.fixture(scope="module")
def hardened_watch(node: Node) -> Iterator[Watch]:
    with Watch(node) as watch:
        yield watch


def all_of(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    """What two answers must share, the order of their headers included."""
    headers = [(name, value) for name, value in reply.headers.items() if name not in CHANGING]
    assert set(reply.headers) >= CHANGING
    return reply.status, headers, reply.body


@pytest.mark.parametrize("accept", ["*/*", PROBLEM], ids=["in the contract's form", "as a problem"])
@pytest.mark.parametrize("kind", ["username", "email", "phone_number"])
def test_unknown_wrong_and_disabled_are_answered_alike(
    kind: str, accept: str, client: Client, registered: Person, disabled: Person
) -> None:
    """ASVS v5.0.0-6.3.8; equal to the last header but for the time and the id of the request."""
    nobody = {"username": fresh_name(), "email": f"{fresh_name()}@example.com", "phone_number": "+4930123456"}[kind]
    unknown, wrong, wrong_disabled, right_disabled = (
        client.form("/login", {kind: name, "password": password}, accept=accept)
        for name, password in (
            (nobody, PASSWORD),
            (vars(registered)[kind], "not the password"),
            (vars(disabled)[kind], "not the password"),
            (vars(disabled)[kind], PASSWORD),
        )
    )
    if accept != PROBLEM:
        INVALID_PASSWORD.check(unknown)
    assert all_of(unknown) == all_of(wrong) == all_of(wrong_disabled) == all_of(right_disabled)


def test_nobody_is_told_that_nobody_has_a_name(client: Client) -> None:
    INVALID_PASSWORD.check(client.form("/login", {"username": fresh_name(), "password": PASSWORD}))


def test_asking_about_nobody_hashes_nothing(client: Client, registered: Person, hardened_watch: Watch) -> None:
    """The wait is imitated, so that guessing names cannot burn our cores (DESIGN 2)."""
    with hardened_watch.nothing_hashed_nor_stored():
        for _ in range(20):
            INVALID_PASSWORD.check(client.form("/login", {"username": fresh_name(), "password": PASSWORD}))
    before = hardened_watch.hashes()
    INVALID_PASSWORD.check(client.form("/login", {"username": registered.username, "password": "not the password"}))
    assert hardened_watch.hashes() == before + 1, "a wrong password is compared"


@pytest.mark.parametrize(
    "query", ["username=ada", "username=", "", "username=a%20b", "username=a&username=b", "username=%zz"], ids=repr
)
def test_availability_is_not_offered_whatever_is_asked(query: str, client: Client, registered: Person) -> None:
    NOT_FOUND.check(client.get(f"/availability?{query}"))
    NOT_FOUND.check(client.get(f"/availability?username={registered.username}"))
    assert client.send("HEAD", f"/availability?{query}").status == 404


def test_everything_else_is_as_in_the_contract(client: Client) -> None:
    person = client.person()
    TOKENS.check(client.form("/login", {"email": person.email, "password": PASSWORD}))
    TOKENS.check(client.form("/refresh", {"refresh_token": person.refresh_token}))
    assert client.get("/me", token=person.access_token).json["username"] == person.username
    both = {"username": person.username, "email": person.email, "password": PASSWORD}
    INVALID_REQUEST.check(client.form("/login", both), reason="identifier=more_than_one")
    INVALID_REQUEST.check(client.form("/login", {"username": person.username}), reason="password=missing")
    fields = {"current_password": "not the password", "new_password": "correct donkey battery"}
    INVALID_PASSWORD.check(client.form("/me/password", fields, token=person.access_token))
    SUCCESS.check(client.form("/logout", token=person.access_token))
    not_allowed("POST").check(client.get("/login"))
