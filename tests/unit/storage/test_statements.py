"""SQL is read as it was written, by its name."""

import re
from importlib.resources import files

from tidegate.storage.revocations import CHANNEL, PROFILE_CHANNEL
from tidegate.storage.statements import split, statements


def test_a_statement_goes_from_its_name_to_the_next_without_comments() -> None:
    text = "-- About all.\n\n-- name: one\n-- Why.\nSELECT 1\n    -- and why not\nFROM a;\n\n-- name: two\nSELECT 2;\n"
    assert split(text) == [("one", "SELECT 1\nFROM a;"), ("two", "SELECT 2;")]


def test_a_file_without_a_name_holds_no_statement() -> None:
    assert split("-- Nothing yet.\n") == []


def test_every_statement_says_where_it_goes_and_by_which_index() -> None:
    for file in files("tidegate.storage").joinpath("sql").iterdir():
        _, *pieces = re.split(r"^-- name: (\w+)\n", file.read_text("utf-8"), flags=re.MULTILINE)
        for name, body in zip(pieces[::2], pieces[1::2], strict=True):
            assert body.startswith("-- "), name
            assert statements()[name].endswith(";"), name


def test_what_is_notified_is_what_is_listened_to() -> None:
    notified = set(re.findall(r"pg_notify\('(\w+)'", files("tidegate.storage").joinpath("schema.sql").read_text("utf-8")))
    asked_for = set(re.findall(r"'(\w+)' IN \(SELECT pg_listening", statements()["feed_heartbeat"]))
    assert notified == asked_for == {CHANNEL, PROFILE_CHANNEL}
