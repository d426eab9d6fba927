"""The commands as people run them: what they say, and the exit code of everything that is expected to go wrong."""

import asyncio
import base64
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.client import Client, fresh_name
from tests.support.commands import ROOT, tidegate
from tests.support.nodes import Node, free_ports
from tidegate.embedded.children import SystemUser
from tidegate.tokens.keys import create_key_file

PASSWORD = "a password of some length"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not under pytest's own folder, which other users cannot enter."""
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def settings(folder: Path, dsn: str) -> dict[str, str]:
    """All that `tidegate api` must be told."""
    create_key_file(folder / "keys.json")
    port, metrics_port = free_ports(2)
    return {
        "PRIMARY_DSN": dsn,
        "SIGNING_KEYS_FILE": str(folder / "keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
    }


def execute(dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def assert_ends(ended: subprocess.CompletedProcess[str], code: int, sentence: str) -> None:
    """One sentence on standard error, that code, and no traceback."""
    assert sentence in ended.stderr
    assert ended.returncode == code
    assert ended.stderr.startswith("tidegate: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


class TestWhatIsExpectedToGoWrong:
    def test_a_port_that_is_taken(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            ended = tidegate("api", settings=settings(folder, database) | {"PORT": port})
            assert_ends(ended, 71, f"cannot listen on 127.0.0.1 port {port} (address already in use)")
            ended = tidegate("api", settings=settings(folder, database) | {"METRICS_PORT": port})
            assert_ends(ended, 71, "set another TIDEGATE_METRICS_PORT")
            ended = tidegate(
                "up", "--port", port, "--data-dir", folder / "data", settings={"METRICS_PORT": str(free_ports(1)[0])}
            )
            assert_ends(ended, 71, "set another port with --port or TIDEGATE_PORT")

    def test_a_port_that_somebody_would_share(self, folder: Path, database: str) -> None:
        """Without a word: each of the two would get some of the clients."""
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
            port = str(other.getsockname()[1])
            ended = tidegate("api", settings=settings(folder, database) | {"PORT": port})
            assert_ends(ended, 71, f"cannot listen on 127.0.0.1 port {port} (address already in use)")

    def test_more_connections_than_the_database_lets_in(self, folder: Path, database: str) -> None:
        given = {"API_PROCESSES": "10", "DATABASE_CONNECTIONS": "200", "DATABASE_CONNECTIONS_BUDGET": "9999"}
        ended = tidegate("api", settings=settings(folder, database) | given)
        assert_ends(ended, 78, "10 API processes hold 2010 connections, but the database lets ")

    @pytest.mark.parametrize(
        "words", [("api",), ("worker",), ("migrate", "up"), ("users", "show", "alice"), ("campaigns", "list")]
    )
    def test_a_database_that_cannot_be_reached(self, folder: Path, words: tuple[str, ...]) -> None:
        ended = tidegate(*words, settings=settings(folder, f"postgresql://tidegate@/tidegate?host={folder}"))
        assert_ends(ended, 69, "the database cannot be reached; start it, or correct TIDEGATE_PRIMARY_DSN")

    @pytest.mark.parametrize("command", ["api", "worker"])
    def test_a_schema_that_is_newer_than_the_program(self, folder: Path, database: str, command: str) -> None:
        execute(database, "INSERT INTO schema_migrations VALUES ('9999', 'post_of_tomorrow', repeat('a', 64))")
        ended = tidegate(command, settings=settings(folder, database))
        assert_ends(ended, 76, "has migrations that this program does not know (9999); start a newer program")

    @pytest.mark.parametrize("command", ["api", "worker"])
    def test_a_schema_that_is_older_than_the_program(self, folder: Path, empty_database: str, command: str) -> None:
        ended = tidegate(command, settings=settings(folder, empty_database))
        assert_ends(ended, 76, "the database lacks the migrations 0001")

    def test_an_unknown_setting(self) -> None:
        ended = tidegate("api", settings={"PROT": "1"})
        assert_ends(ended, 78, "TIDEGATE_PROT in the environment is no setting; did you mean TIDEGATE_PORT?")

    def test_a_wrong_setting_says_what_is_right(self, folder: Path, database: str) -> None:
        ended = tidegate("api", settings=settings(folder, database) | {"PORT": "ninety"})
        assert_ends(ended, 78, "TIDEGATE_PORT is 'ninety'; set it to a whole number from 1 to 65535")

    def test_a_dotenv_that_cannot_be_read(self, folder: Path) -> None:
        (folder / ".env").write_bytes(b"TIDEGATE_AUDIENCE=\xff\n")
        assert_ends(tidegate("config", "check", cwd=folder), 66, f"{folder}/.env cannot be read (it is not UTF-8)")

    def test_keys_that_are_missing(self, folder: Path, database: str) -> None:
        given = settings(folder, database)
        (folder / "keys.json").unlink()
        assert_ends(tidegate("keys", "list", settings=given), 78, "`tidegate keys rotate` makes it")

    def test_a_data_folder_of_another_user(self, folder: Path) -> None:
        foreign = Path("/")
        if os.geteuid() == 0:
            foreign = folder / "data"
            foreign.mkdir()
            os.chown(foreign, SystemUser.named("nobody").uid, -1)
        ended = tidegate("up", "--data-dir", foreign)
        assert_ends(ended, 77, f"the data folder {foreign} belongs to ")

    def test_a_data_folder_that_cannot_be_made(self, folder: Path) -> None:
        (folder / "file").touch()
        assert_ends(tidegate("up", "--data-dir", folder / "file" / "data"), 73, "cannot be made (Not a directory)")

    def test_a_database_of_ones_own_beside_the_embedded_one(self, folder: Path) -> None:
        ended = tidegate("up", "--data-dir", folder / "data", settings={"PRIMARY_DSN": "postgresql://db.example/tidegate"})
        assert_ends(ended, 78, "TIDEGATE_PRIMARY_DSN in the environment names a database, but `tidegate up` starts its own")

    def test_wrong_words(self) -> None:
        assert_ends(tidegate("serve"), 64, "invalid choice: 'serve'")

    def test_a_reader_that_has_seen_enough(self) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "tidegate", "config", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as ended:
            assert ended.stdout is not None
            assert ended.stderr is not None
            ended.stdout.close()
            assert ended.stderr.read() == b""
        assert ended.returncode == 128 + signal.SIGPIPE

    @pytest.mark.parametrize("script", ["run", "test"])
    def test_a_python_that_is_too_old(self, folder: Path, script: str) -> None:
        clone, programs = folder / "clone", folder / "programs"
        clone.mkdir()
        for part in ("run", "test", "scripts", "pyproject.toml", "constraints.txt"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, clone / part)
        programs.mkdir()
        for program in ("sh", "dirname", "cat", "cksum", "cmp", "sed", "flock", "rm", "mkdir", "head", "grep", "id"):
            found = shutil.which(program)
            if found is not None:
                (programs / program).symlink_to(found)
        old = programs / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")  # as Python 3.10 answers whether it is at least 3.11
        old.chmod(0o755)
        ended = subprocess.run(
            [clone / script], env={"PATH": str(programs)}, capture_output=True, text=True, timeout=60, check=False
        )
        assert_ends(ended, 72, "Python 3.11 or newer is needed and none was found; install it, or set PYTHON to its path")


class TestMigrate:
    def test_up_status_and_down(self, empty_database: str) -> None:
        def migrate(*words: str) -> list[str]:
            ended = tidegate("migrate", *words, settings={"PRIMARY_DSN": empty_database})
            assert ended.returncode == 0, ended.stderr
            return ended.stdout.splitlines()

        assert all(line.endswith("missing") for line in migrate("status"))
        applied = migrate("up")
        assert applied[0].startswith("applied 0001 ")
        assert migrate("up") == ["The database lacks no migration."]
        assert all(" applied 20" in line and line.endswith(" UTC") for line in migrate("status"))
        assert migrate("down") == [applied[-1].replace("applied", "took back")]
        assert len(migrate("down", "all")) == len(applied) - 1
        assert all(line.endswith("missing") for line in migrate("status"))

    def test_it_needs_no_secrets(self, database: str) -> None:
        """A migration job gets the database and nothing else."""
        assert tidegate("migrate", "status", settings={"PRIMARY_DSN": database}).returncode == 0

    def test_a_version_that_does_not_exist(self, database: str) -> None:
        assert_ends(
            tidegate("migrate", "up", "--to", "0000", settings={"PRIMARY_DSN": database}), 64, "there is no migration 0000"
        )

    def test_a_new_one_must_have_a_name_that_says_when(self) -> None:
        assert_ends(tidegate("migrate", "new", "add_x"), 65, "a name begins with pre_ or post_")


class TestConfig:
    def test_check_tells_what_is_set_and_where_but_no_secret(self, folder: Path) -> None:
        given = settings(folder, "postgresql://tidegate:hunter2@db.example/tidegate")
        (folder / ".env").write_text("TIDEGATE_AUDIENCE=shop\n")
        ended = tidegate("config", "check", cwd=folder, settings=given)
        assert ended.returncode == 0
        assert f"TIDEGATE_AUDIENCE=shop    from {folder}/.env\n" in ended.stdout
        assert f"TIDEGATE_PORT={given['PORT']}    from the environment\n" in ended.stdout
        assert "TIDEGATE_PRIMARY_DSN=(secret)    from the environment\n" in ended.stdout
        assert "hunter2" not in ended.stdout
        assert given["REFRESH_MAC_KEY"] not in ended.stdout

    def test_list_is_the_page_of_settings(self) -> None:
        assert tidegate("config", "list", "--markdown").stdout == (ROOT / "docs" / "SETTINGS.md").read_text()
        assert tidegate("config", "list", "--example").stdout == (ROOT / ".env.example").read_text()


class TestKeys:
    def test_the_first_rotation_makes_the_file_and_the_next_publishes_before_it_signs(self, folder: Path) -> None:
        given = settings(folder, "postgresql:///")
        (folder / "keys.json").unlink()
        first = tidegate("keys", "rotate", settings=given)
        assert " signing since " in first.stdout
        second = tidegate("keys", "rotate", settings=given)
        assert [line.split()[1] for line in second.stdout.splitlines()] == ["waiting", "signing"]
        assert tidegate("keys", "list", settings=given).stdout == second.stdout
        assert_ends(tidegate("keys", "rotate", settings=given), 75, "A rotation is under way")

    def test_a_stolen_key_goes_at_once(self, folder: Path) -> None:
        given = settings(folder, "postgresql:///")
        before = tidegate("keys", "list", settings=given).stdout.split()[0]
        after = tidegate("keys", "rotate", "--at-once", settings=given).stdout
        assert before not in after
        assert after.split()[1] == "signing"


class TestUsers:
    def add(self, node: Node, name: str, *words: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        return node.command("users", "add", "--username", name, "--password-stdin", *words, text=password + "\n")

    def test_who_is_added_here_can_log_in(self, shared_node: Node, client: Client) -> None:
        name = fresh_name()
        added = self.add(shared_node, name, "--email", f"{name}@example.com", "--birthdate", "2000-02-29")
        assert added.returncode == 0, added.stderr
        assert client.log_in(name, PASSWORD)
        shown = shared_node.command("users", "show", f"{name}@example.com").stdout
        assert (
            f"user_id: {added.stdout.strip()}\nusername: {name}\nemail: {name}@example.com\nbirth_date: 2000-02-29\n"
            in shown
        )
        assert shown.endswith("status: enabled\n")
        assert shared_node.command("users", "show", added.stdout.strip()).stdout.splitlines()[0] == shown.splitlines()[0]

    def test_the_rules_are_those_of_everybody(self, shared_node: Node) -> None:
        refused = self.add(shared_node, fresh_name(), "--birthdate", "2000-02-30", password="password1")
        assert refused.returncode == 65
        assert set(refused.stderr.splitlines()) == {
            "tidegate: password is refused: too_common",
            "tidegate: birthdate is refused: not_a_date",
        }
        name = fresh_name()
        assert self.add(shared_node, name).returncode == 0
        assert_ends(self.add(shared_node, name), 65, "username is refused: taken")

    def test_the_password_is_never_a_word(self, shared_node: Node) -> None:
        ended = shared_node.command("users", "add", "--username", fresh_name())
        assert_ends(ended, 64, "there is no terminal to ask for the password; use --password-stdin")

    def test_disable_ends_every_session_and_enable_lets_in_again(self, shared_node: Node, client: Client) -> None:
        name = client.register()
        pair = client.log_in(name)
        assert shared_node.command("users", "disable", name).stdout == "disabled; every session has ended\n"
        assert shared_node.command("users", "disable", name).stdout == "was disabled already\n"
        assert client.form("/refresh", {"refresh_token": pair["refresh_token"]}).status == 401
        assert shared_node.command("users", "show", name).stdout.endswith("status: disabled\n")
        assert shared_node.command("users", "enable", name).stdout == "enabled\n"
        assert shared_node.command("users", "enable", name).stdout == "was not disabled\n"
        assert client.log_in(name)

    def test_delete_asks_first_and_then_nobody_is_there(self, shared_node: Node, client: Client) -> None:
        name = client.register()
        assert_ends(shared_node.command("users", "delete", name), 64, "there is no terminal to ask whether you are sure")
        assert shared_node.command("users", "delete", name, "--yes").stdout == "deleted\n"
        assert_ends(shared_node.command("users", "show", name), 67, f"there is no user {name}")
        assert client.form("/login", {"username": name, "password": PASSWORD}).status == 404

    def test_a_terminal_that_lacks_a_letter_shows_its_number(self, shared_node: Node, client: Client) -> None:
        name = client.register(fresh_name("漢"))
        latin = dataclasses.replace(shared_node, environment={**shared_node.environment, "PYTHONIOENCODING": "latin-1"})
        assert f"username: {name}\n".replace("漢", "\\u6f22") in latin.command("users", "show", name).stdout

    def test_nobody_of_a_name_that_nobody_can_have(self, shared_node: Node) -> None:
        ended = shared_node.command("users", "show", "a b")
        assert_ends(ended, 65, "username is refused: invalid")
