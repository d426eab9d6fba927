"""Users who come from elsewhere log in at once, and nobody is lost or doubled, whatever stops the import."""

import base64
import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

import pytest

from tests.acceptance.test_existence import await_deciding, metric, statuses
from tests.support.client import Client, fresh_name, fresh_phone_number
from tests.support.commands import await_gone
from tests.support.databases import drop_database, make_migrated_database
from tests.support.imports import CHEAP_HASH, CHEAP_PASSWORD, csv_of, json_lines_of, refused_in
from tests.support.nodes import Node, running_node
from tests.support.tables import change, rows, value
from tests.support.waiting import until
from tidegate.cli.exits import CANNOT_CREATE, DONE, REFUSED, UNAVAILABLE, UNREADABLE_FILE, WRONG_WORDS
from tidegate.cli.main import main
from tidegate.embedded.postgres import EmbeddedPostgres

VECTORS: list[dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "data" / "passwords" / "vectors.json").read_text(encoding="utf-8")
)
OURS = "$argon2id$v=19$m=19456,t=2,p=1$"
SHORT = ("username", "password_hash")
COLUMNS = ("username", "email", "phone_number", "password_hash", "full_name", "birthdate", "last_login", "userid")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-import-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def empty_twin(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a second database."""
    name = make_migrated_database(postgres)
    yield postgres.dsn(name)
    drop_database(postgres, name)


def import_(node: Node, path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command here: only the process that checks lines is another one."""
    return run_here(node.environment, "users", "import", str(path), *words)


def run_here(environment: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        code = main(words)
    return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())


def written(folder: Path, text: str, name: str = "users.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_everybody_logs_in_with_the_password_they_had_and_gets_a_hash_of_ours(
    shared_node: Node, client: Client, folder: Path
) -> None:
    """Every notation, through the file and a login."""
    names = [fresh_name("brought") for _ in VECTORS]
    people = [{"username": name, "password_hash": each["stored"]} for name, each in zip(names, VECTORS, strict=True)]
    half = len(people) // 2
    one = written(folder, csv_of(people[:half], SHORT))
    two = written(folder, json_lines_of(people[half:]), "users.jsonl")
    for path in (one, two):
        done = import_(shared_node, path)
        assert (done.returncode, list(folder.glob("*.refused.jsonl"))) == (DONE, []), done.stderr
        assert "$" not in done.stdout + done.stderr
    for name, vector in zip(names, VECTORS, strict=True):
        login = {"username": name, "password": vector["password"]}
        assert client.form("/login", {**login, "password": "another"}).status == 403
        assert client.form("/login", login).status == 200
        assert value(shared_node.dsn, "SELECT password FROM users WHERE username = $1", name).startswith(OURS)
        assert client.form("/login", login).status == 200


def test_a_credential_of_keycloak_is_taken_as_its_table_holds_it(shared_node: Node, client: Client, folder: Path) -> None:
    vector = next(each for each in VECTORS if each["stored"].startswith("keycloak$pbkdf2-sha256"))
    _, algorithm, iterations, salt, digest = vector["stored"].split("$")
    name = fresh_name("brought")
    record = {
        "username": name,
        "credential_data": json.dumps({"hashIterations": int(iterations), "algorithm": algorithm}),
        "secret_data": json.dumps({"value": digest, "salt": salt}),
    }
    done = import_(shared_node, written(folder, csv_of([record], list(record))))
    assert done.returncode == DONE, done.stderr
    assert client.form("/login", {"username": name, "password": vector["password"]}).status == 200


def test_names_and_dates_are_stored_as_those_who_register_have_them(
    shared_node: Node, client: Client, folder: Path
) -> None:
    name, number = fresh_name("Ada"), fresh_phone_number()
    record = {
        "username": name.upper(),
        "email": f"{name}@EXAMPLE.com",
        "phone_number": f"{number[:3]} {number[3:]}",
        "password_hash": CHEAP_HASH,
        "full_name": 'Jose\u0301, "the \\ first"',
        "birthdate": "1952-05-04",
        "last_login": "2024-05-04T12:00:00+02:00",
        "userid": "0190A6B0-0000-4000-8000-00000000000f",
    }
    change(shared_node.dsn, "DELETE FROM users WHERE userid = $1::text::uuid", record["userid"])
    path = written(folder, "\ufeff" + csv_of([record], COLUMNS).replace("\n", "\r\n"))
    assert import_(shared_node, path).returncode == DONE
    (row,) = rows(shared_node.dsn, "SELECT * FROM users WHERE username = $1", name.lower())
    assert (str(row["userid"]), row["email"], row["phone_number"]) == (
        "0190a6b0-0000-4000-8000-00000000000f",
        f"{name.lower()}@example.com",
        number,
    )
    assert (row["full_name"], str(row["birth_date"]), str(row["last_login"])) == (
        'José, "the \\ first"',
        "1952-05-04",
        "2024-05-04 10:00:00",
    )
    for field, typed in (("username", name), ("email", record["email"]), ("phone_number", record["phone_number"])):
        assert client.form("/login", {field: typed, "password": CHEAP_PASSWORD}).status == 200


def test_a_disabled_user_comes_disabled(shared_node: Node, client: Client, folder: Path) -> None:
    name = fresh_name()
    record = {"username": name, "password_hash": "!" + CHEAP_HASH}
    assert import_(shared_node, written(folder, csv_of([record], list(record)))).returncode == DONE
    assert client.form("/login", {"username": name, "password": CHEAP_PASSWORD}).reason == "user=disabled"
    assert shared_node.command("users", "enable", name).returncode == 0
    assert client.form("/login", {"username": name, "password": CHEAP_PASSWORD}).status == 200


def test_what_cannot_be_added_is_refused_line_by_line_and_said_without_a_value(
    shared_node: Node, client: Client, folder: Path
) -> None:
    known, fresh = client.register(), fresh_name()
    salt = "c2VjcmV0c2FsdA"
    refused = {
        3: ({"username": known, "password_hash": CHEAP_HASH}, "username=taken"),
        4: ({"username": fresh, "password_hash": CHEAP_HASH}, "username=taken"),
        5: ({"username": fresh_name(), "password_hash": f"$2b$31${salt}"}, "password_hash=malformed"),
        6: ({"username": fresh_name(), "password_hash": "correct horse battery"}, "password_hash=unknown_notation"),
        7: ({"username": fresh_name(), "password_hash": f"pbkdf2_sha256$2000001${salt}$" + "A" * 43 + "="},
            "password_hash=unbearable_cost"),
        8: ({"username": fresh_name()}, "password_hash=missing"),
        9: ({"password_hash": CHEAP_HASH}, "username=missing"),
        10: ({"username": "a@b", "email": "no", "phone_number": "1", "password_hash": CHEAP_HASH},
             "username=invalid email=invalid phone_number=invalid"),
        11: ({"username": fresh_name(), "password_hash": CHEAP_HASH, "birthdate": "2001-02-30", "last_login": "yesterday",
              "userid": "1", "full_name": "a\nb"},
             "userid=not_a_uuid full_name=invalid_characters birthdate=not_a_date last_login=not_a_time"),
    }  # fmt: skip
    people = [{"username": fresh, "password_hash": CHEAP_HASH}, *(record for record, _ in refused.values())]
    last = csv_of([{"username": fresh_name(), "password_hash": CHEAP_HASH}], COLUMNS).partition("\n")[2]
    text = csv_of(people, COLUMNS) + "too,few\n\n" + last
    path = written(folder, text)
    done = import_(shared_node, path)
    assert done.returncode == REFUSED, done.stderr
    listed = path.with_name("users.csv.refused.jsonl")
    assert refused_in(listed) == [(line, why) for line, (_, why) in refused.items()] + [(13, "line=too_few_fields")]
    assert "added 2 users, refused 10 lines" in done.stdout
    assert listed.stat().st_mode & 0o777 == 0o600
    for told in (listed.read_text(), done.stdout, done.stderr):
        assert salt not in told
        assert CHEAP_HASH not in told
        assert "correct horse" not in told


UNFIT = {
    "empty": ("", "has no header; its first line has to name the columns"),
    "no header": (f"ada,{CHEAP_HASH}\n", "has no header; its first line has to name the columns"),
    "another separator": (f"username;password_hash\nada;{CHEAP_HASH}\n", "separated by commas"),
    "an unknown column": (f"username,password_hash,note\nada,{CHEAP_HASH},x\n", "not known: note (column 3)"),
    "a header that lacks a part": (f"username,password_hash,{CHEAP_HASH}\n", "not known: ? (column 3)"),
    "a column twice": ("username,password_hash,username\n", "names a column twice"),
    "nobody's names": ("full_name,password_hash\n", "has no column of username"),
    "no hashes": ("username\nada\n", "has no column password_hash"),
    "plain passwords": ("username,password\nada,correct horse\n", "plain passwords are not imported"),
    "an open quotation mark": (f'username,password_hash\n"ada,{CHEAP_HASH}\nbob,{CHEAP_HASH}\n', "line 2 is no CSV"),
    "a broken quotation mark": (f'username,password_hash\n"a"da,{CHEAP_HASH}\n', "line 2 is no CSV"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_is_not_fit_is_refused_as_a_whole_and_told_what_to_do(
    what: str, shared_node: Node, folder: Path
) -> None:
    text, told = UNFIT[what]
    done = import_(shared_node, written(folder, text))
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert told in done.stderr
    assert CHEAP_HASH not in done.stderr
    assert "correct horse" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["users.csv"]


def test_other_ways_not_to_begin_are_told_too(shared_node: Node, folder: Path) -> None:
    latin = folder / "latin.csv"
    latin.write_bytes(b"username,password_hash\nada,x\nz\xf6e,x\n")
    done = import_(shared_node, latin)
    assert (done.returncode, "line 3 is not UTF-8; convert it" in done.stderr) == (REFUSED, True)
    assert import_(shared_node, folder / "none.csv").returncode == UNREADABLE_FILE
    assert import_(shared_node, folder).returncode == WRONG_WORDS
    assert import_(shared_node, folder, "--format", "csv").returncode == UNREADABLE_FILE
    fit = written(folder, csv_of([{"username": fresh_name(), "password_hash": CHEAP_HASH}], SHORT))
    assert import_(shared_node, fit, "--refused", str(fit)).returncode == WRONG_WORDS
    other = written(folder, "mine, and nothing else", "mine.txt")
    done = import_(shared_node, fit, "--refused", str(other))
    assert (done.returncode, other.read_text()) == (CANNOT_CREATE, "mine, and nothing else"), done.stderr
    away = {**shared_node.environment, "TIDEGATE_PRIMARY_DSN": "postgresql://127.0.0.1:1/none"}
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "users", "import", str(fit)],
        env=away,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "the database cannot be reached" in done.stderr) == (UNAVAILABLE, True)


def test_columns_that_are_not_wanted_are_left_unread(shared_node: Node, folder: Path) -> None:
    name = fresh_name()
    text = csv_of([{"username": name, "password": "x", "note": "y", "password_hash": CHEAP_HASH}],
                  ["username", "password", "note", "password_hash"])  # fmt: skip
    assert import_(shared_node, written(folder, text), "--ignore", "note,password").returncode == DONE
    lines = json_lines_of([{"username": fresh_name(), "note": 5, "password_hash": CHEAP_HASH}, {"x": "y"}, [], 3])
    lines += '{"username": "a", "username": "b"}\nnot json\n'
    path = written(folder, lines, "users.jsonl")
    assert import_(shared_node, path, "--ignore", "note").returncode == REFUSED
    assert refused_in(folder / "users.jsonl.refused.jsonl") == [
        (2, "x=unknown username=missing password_hash=missing"),
        (3, "line=not_an_object"),
        (4, "line=not_an_object"),
        (5, "username=given_twice"),
        (6, "line=not_json"),
    ]


def test_a_rehearsal_tells_the_same_and_writes_nothing(shared_node: Node, client: Client, folder: Path) -> None:
    known, fresh, other = client.register(), fresh_name(), fresh_name()
    people = [{"username": name, "password_hash": CHEAP_HASH} for name in (fresh, known, fresh, other)]
    path = written(folder, csv_of(people, SHORT))
    before = rows(shared_node.dsn, "SELECT count(*) FROM users UNION ALL SELECT count(*) FROM imports")
    done = import_(shared_node, path, "--dry-run")
    assert done.returncode == REFUSED, done.stderr
    assert done.stdout.splitlines()[0].startswith("would have added 2 users, refused 2 lines")
    assert done.stdout.splitlines()[-2:] == ["  line 3: username=taken", "  line 4: username=taken"]
    assert rows(shared_node.dsn, "SELECT count(*) FROM users UNION ALL SELECT count(*) FROM imports") == before
    assert [each.name for each in folder.iterdir()] == ["users.csv"]
    assert import_(shared_node, path, "--dry-run", "--refused", str(folder / "bad")).returncode == REFUSED
    rehearsed = refused_in(folder / "bad")
    assert import_(shared_node, path).returncode == REFUSED
    assert refused_in(folder / "users.csv.refused.jsonl") == rehearsed


def test_a_file_that_was_imported_is_not_imported_again_unless_asked(shared_node: Node, folder: Path) -> None:
    name = fresh_name()
    path = written(folder, csv_of([{"username": name, "password_hash": CHEAP_HASH}], SHORT))
    assert import_(shared_node, path).returncode == DONE
    done = import_(shared_node, path)
    assert (done.returncode, "was imported before" in done.stdout, "added 1 users" in done.stdout) == (DONE, True, True)
    assert import_(shared_node, path, "--anew").returncode == REFUSED
    assert refused_in(folder / "users.csv.refused.jsonl") == [(2, "username=taken")]
    assert shared_node.command("users", "delete", name, "--yes").returncode == 0
    assert import_(shared_node, path, "--anew").returncode == DONE
    assert list(folder.glob("*refused*")) == []


def test_whoever_is_imported_beside_a_node_that_decides_alone_logs_in_at_once(database: str, folder: Path) -> None:
    """The node answers "no such user" from memory; while batches come it must not, and then it must know them."""
    people = [f"brought-{number}" for number in range(3_000)]
    path = written(folder, csv_of([{"username": n, "password_hash": CHEAP_HASH} for n in people], SHORT))
    with running_node(database, folder, API_PROCESSES="2", EXISTENCE_FILTER="alone") as node:
        await_deciding(node)
        for name in people[:: len(people) // 20]:
            assert statuses(node, name, connections=2) == {404}
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "users", "import", str(path), "--batch-kib", "16"],
            env=dict(node.environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seen: set[str] = set()
        while process.poll() is None or len(seen) < len(people):
            found = [row["username"] for row in rows(database, "SELECT username FROM users")]
            for name in random.sample(found, min(4, len(found))):
                assert statuses(node, name, connections=2) == {403}, name
            seen.update(found)
        assert process.returncode == DONE
        await_deciding(node)
        for name in people[:: len(people) // 20]:
            assert statuses(node, name, connections=2) == {403}
        assert statuses(node, people[-1], CHEAP_PASSWORD, connections=1) == {200}
        assert statuses(node, "nobody", connections=2) == {404}
        assert metric(node, "tidegate_existence_decides_alone") == 1.0


def settings_for(database: str) -> dict[str, str]:
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("TIDEGATE_")},
        "TIDEGATE_PRIMARY_DSN": database,
        "TIDEGATE_REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
        "TIDEGATE_SIGNING_KEYS_FILE": "/nowhere",
    }


def kill_while_importing(words: Sequence[str], database: str, *, once_added: int) -> int | None:
    """Start the import, and kill it once it has added so many; its exit code, or None if it was killed."""
    process = subprocess.Popen(words, env=settings_for(database), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if value(database, "SELECT coalesce(sum(added), 0)::int FROM imports") >= once_added:
                process.kill()
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        code = process.wait()
    return None if code == -signal.SIGKILL else code


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full), pytest.param(3, marks=pytest.mark.full)])
def test_an_import_that_is_killed_again_and_again_loses_and_doubles_nobody(database: str, folder: Path, seed: int) -> None:
    """kill -9 of the process, in whatever it does; those that check for it end by themselves."""
    lots = random.Random(seed)
    names = [
        f"user-{lots.randrange(number + 1)}"
        if lots.random() < 0.02
        else f"bad {number}"
        if lots.random() < 0.01
        else f"user-{number}"
        for number in range(2_500)
    ]
    expected, known = [], set()
    for line, name in enumerate(names, 2):
        if " " in name or name in known:
            expected.append((line, "username=invalid" if " " in name else "username=taken"))
        known.add(name)
    path = written(folder, csv_of([{"username": name, "password_hash": CHEAP_HASH} for name in names], SHORT))
    words = [sys.executable, "-m", "tidegate", "users", "import", str(path), "--batch-kib", "4", "--processes", "1"]
    code, kills = None, 0
    while code is None:
        so_far = value(database, "SELECT coalesce(sum(added), 0)::int FROM imports")
        code = kill_while_importing(words, database, once_added=so_far + lots.randrange(100, 1200))
        kills += code is None
        assert value(database, "SELECT count(*) = (SELECT coalesce(sum(added), 0) FROM imports) FROM users")
    assert (code, kills >= 2) == (REFUSED, True), (seed, kills)
    assert refused_in(folder / "users.csv.refused.jsonl") == expected, seed
    wanted = {name for name in names if " " not in name}
    assert {row["username"] for row in rows(database, "SELECT username FROM users")} == wanted, seed
    await_gone(folder)


def test_who_is_interrupted_is_told_how_to_go_on(database: str, folder: Path) -> None:
    people = [{"username": f"user-{number}", "password_hash": CHEAP_HASH} for number in range(1_000)]
    path = written(folder, csv_of(people, SHORT))
    words = [sys.executable, "-m", "tidegate", "users", "import", str(path), "--batch-kib", "1", "--processes", "1"]
    process = subprocess.Popen(
        words, env=settings_for(database), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until(lambda: value(database, "SELECT count(*) > 0 FROM users"), "nobody is added")
    second = subprocess.run(words, env=settings_for(database), capture_output=True, text=True, check=False)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    if process.returncode == 128 + signal.SIGINT:
        assert "give the same command again, and it goes on where it was" in told
    assert second.returncode in {DONE, 75}
    subprocess.run(words, env=settings_for(database), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert value(database, "SELECT count(*) FROM users") == 1_000


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_was_exported_can_be_imported_again(database: str, empty_twin: str, folder: Path, suffix: str) -> None:
    people: list[dict[str, str]] = [
        {"username": "ada", "email": "ada@example.com", "phone_number": "+4915112345678", "password_hash": CHEAP_HASH,
         "full_name": 'a "b", \\N \\ , ü', "birthdate": "1952-05-04", "last_login": "2024-05-04T10:00:00.000123Z"},
        {"email": "bob@example.com", "password_hash": "!" + CHEAP_HASH},
        {"phone_number": "+15550000001", "password_hash": CHEAP_HASH, "full_name": "\u2028 = 1 + 1"},
        {"username": "null", "password_hash": CHEAP_HASH, "full_name": '"'},
        {"username": "back\\slash", "password_hash": "pbkdf2_sha256$1000$a\\b\tc,\"d$" + "A" * 43 + "="},
    ]  # fmt: skip
    first = written(folder, json_lines_of(people), "first.jsonl")
    done = run_here(settings_for(database), "users", "import", str(first))
    assert done.returncode == DONE, done.stdout
    out = folder / f"out.{suffix}"
    done = run_here(settings_for(database), "users", "export", str(out), "--with-password-hashes")
    assert done.returncode == DONE, done.stderr
    assert "exported 5 users" in done.stderr
    assert "password hashes are in it" in done.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    done = run_here(settings_for(empty_twin), "users", "import", str(out))
    assert done.returncode == DONE, done.stdout + done.stderr
    everything = "SELECT * FROM users ORDER BY userid"
    assert rows(empty_twin, everything) == rows(database, everything)
    assert len(rows(database, everything)) == 5
    assert sorted(each.name for each in folder.iterdir()) == ["first.jsonl", out.name]
    again = run_here(settings_for(database), "users", "export", str(out))
    assert (again.returncode, "is there already" in again.stderr) == (CANNOT_CREATE, True)


def test_without_being_asked_no_hash_is_exported(database: str, folder: Path) -> None:
    people = [{"username": "ada", "password_hash": CHEAP_HASH, "full_name": "A, B"}]
    path = written(folder, csv_of(people, list(people[0])))
    assert run_here(settings_for(database), "users", "import", str(path)).returncode == DONE
    for words in ((), ("--format", "jsonl")):
        program = [sys.executable, "-m", "tidegate", "users", "export", *words]
        done = subprocess.run(program, env=settings_for(database), capture_output=True, text=True, check=True)
        assert "argon2" not in done.stdout
        (only,) = [json.loads(done.stdout)] if words else csv.DictReader(io.StringIO(done.stdout))
        assert (only["username"], only["full_name"], "password_hash" in only) == ("ada", "A, B", False)
