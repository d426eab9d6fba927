"""Users who were brought in with the hashes of another program log in with their old password, and are rehashed by it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import Client, Reply, fresh_name, unverified_claims
from tests.support.lines import ask_all, open_lines
from tests.support.measures import measure
from tests.support.nodes import Node
from tests.support.tables import change, value

VECTORS: list[dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "data" / "passwords" / "vectors.json").read_text(encoding="utf-8")
)
OURS = "$argon2id$v=19$m=19456,t=2,p=1$"
DJANGO = next(vector for vector in VECTORS if vector["notation"] == "django pbkdf2_sha256")

SALT, DIGEST, BCRYPT_TAIL = "MDEyMzQ1Njc4OWFiY2RlZg", "A" * 43, "abcdefghijklmnopqrstuu2c1e4vZoCxDVRU9N6VCSSmNg4cQa1Ve"


@dataclass(frozen=True)
class Brought:
    """A user whom somebody has put into the table."""

    node: Node
    client: Client
    username: str

    def stored(self) -> str:
        """The column as it stands."""
        return str(value(self.node.dsn, "SELECT password FROM users WHERE username = $1", self.username))

    def log_in(self, password: str) -> Reply:
        return self.client.form("/login", {"username": self.username, "password": password})


def bring(node: Node, client: Client, stored: str) -> Brought:
    """Put a user with the stored password *stored* into the table, as an import would."""
    username = fresh_name("brought")
    statement = "INSERT INTO users (userid, username, password) VALUES (gen_random_uuid(), $1, $2)"
    assert change(node.dsn, statement, username, stored) == 1
    return Brought(node, client, username)


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v['notation']} by {v['made_with']}" for v in VECTORS])
def test_the_old_password_logs_in_and_is_rehashed_to_the_current_profile(
    vector: dict[str, str], shared_node: Node, client: Client
) -> None:
    user = bring(shared_node, client, vector["stored"])
    assert user.log_in("not " + vector["password"]).status == 403
    assert user.stored() == vector["stored"], "a wrong password must change nothing"
    assert user.log_in(vector["password"]).status == 200
    rehashed = user.stored()
    assert rehashed.startswith(OURS)
    assert user.log_in(vector["password"]).status == 200
    assert user.log_in("not " + vector["password"]).status == 403
    assert user.stored() == rehashed, "what is current is not rehashed"


TOO_DEAR = {
    "argon2id of 256 MiB and one": f"$argon2id$v=19$m=262145,t=1,p=1${SALT}${DIGEST}",
    "argon2id of 4 TiB": f"$argon2id$v=19$m=4294967295,t=1,p=1${SALT}${DIGEST}",
    "argon2id of 2**32 passes": f"$argon2id$v=19$m=8,t=4294967295,p=1${SALT}${DIGEST}",
    "bcrypt of cost 15": f"$2b$15${BCRYPT_TAIL}",
    "bcrypt of cost 31": f"$2b$31${BCRYPT_TAIL}",
    "scrypt of 1 GiB": f"$scrypt$ln=20,r=8,p=1${SALT}${DIGEST}",
    "pbkdf2 of two million and one": f"pbkdf2_sha256$2000001$seasalt${DIGEST}=",
    "pbkdf2 of ten billion": f"$pbkdf2-sha512$9999999999${SALT}${DIGEST}",
}
UNKNOWN = {
    "nothing": "",
    "plain text": "correct horse battery",
    "md5 of Unix": "$1$abcdefgh$G//4keteveJp0qb8z2DxG/",
    "a hash cut short": OURS + SALT,
    "a hash with a letter too many": f"{OURS}{SALT}${DIGEST}AA",
    "dollars": "$" * 512,
    "another script": "ä$ö$ü",
    "Django's mark of no password": "!" * 41,
}


@pytest.mark.parametrize("stored", [*TOO_DEAR.values(), *UNKNOWN.values()], ids=[*TOO_DEAR, *UNKNOWN])
def test_what_is_too_dear_or_unknown_is_a_wrong_password_and_never_computed(
    stored: str, shared_node: Node, client: Client
) -> None:
    """Whoever can write a hash into the table must not thereby decide how long our cores work."""
    user = bring(shared_node, client, stored)
    hashed = measure(shared_node, "tidegate_hash_seconds_count")
    for password in ("correct horse battery", stored):
        reply = user.log_in(password or "x")
        assert (reply.status, reply.body) == (403, b'{"code":"403","message":"invalid password"}')
        assert reply.reason is None
    assert measure(shared_node, "tidegate_hash_seconds_count") == hashed
    assert user.stored() == stored


def test_a_disabled_user_is_told_so_after_the_right_password_only_and_is_not_rehashed(
    shared_node: Node, client: Client
) -> None:
    user = bring(shared_node, client, "!" + DJANGO["stored"])
    right, wrong = user.log_in(DJANGO["password"]), user.log_in("another")
    assert (right.status, right.body, right.reason) == (403, wrong.body, "user=disabled")
    assert (wrong.status, wrong.reason) == (403, None)
    assert user.stored() == "!" + DJANGO["stored"]
    assert shared_node.command("users", "enable", user.username).returncode == 0
    assert user.log_in(DJANGO["password"]).status == 200
    assert user.stored().startswith(OURS)


def test_devices_that_come_at_once_all_log_in_and_the_row_is_rehashed_once(shared_node: Node, client: Client) -> None:
    """Who loses the race to rehash has relied on a hash that no longer stands, and starts anew."""
    user = bring(shared_node, client, DJANGO["stored"])
    with open_lines(shared_node, per_process=8) as lines:
        replies = ask_all(lines, "POST", "/login", {"username": user.username, "password": DJANGO["password"]})
    assert {reply.status for reply in replies} == {200}
    assert len({unverified_claims(reply.json["access_token"])["sid"] for reply in replies}) == len(lines)
    assert user.stored().startswith(OURS)


def test_a_changed_password_leaves_the_old_notation_behind(shared_node: Node, client: Client) -> None:
    user = bring(shared_node, client, DJANGO["stored"])
    token = user.log_in(DJANGO["password"]).json["access_token"]
    fields = {"current_password": DJANGO["password"], "new_password": "battery staple horse"}
    assert client.form("/me/password", fields, token=token).status == 200
    assert (user.log_in(DJANGO["password"]).status, user.log_in("battery staple horse").status) == (403, 200)
