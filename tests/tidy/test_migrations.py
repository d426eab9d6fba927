"""The head of a migration tells whoever runs it what it locks and what has to be stopped first."""

import re
from typing import Final

import pytest

from tests.tidy.repository import PACKAGE
from tidegate.migrations.folder import TEMPLATE

MIGRATIONS: Final = sorted(PACKAGE.joinpath("migrations", "versions").iterdir())
HEAD: Final = re.compile(
    r"-- (?P<purpose>\S.*\.)\n"
    r"(?:--.*\n)*?-- Locks: (?P<locks>\S.*)\n"
    r"(?:--.*\n)*?-- (?P<kind>pre|post): (?P<survival>\S.*)\n"
)


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.name)
def test_a_migration_says_what_for_which_locks_and_what_survives_it(file):
    head = HEAD.match(file.read_text("utf-8"))
    assert head is not None
    assert head["kind"] == file.name.split("_")[1]
    template = HEAD.match(TEMPLATE.format(survival="pre: ."))
    assert template is not None
    assert head["purpose"] != template["purpose"], "the template's words are still there"
    assert head["locks"] != template["locks"], "the template's words are still there"


def test_there_are_migrations_and_nothing_else():
    assert MIGRATIONS
    assert {file.suffix for file in MIGRATIONS} == {".sql"}
