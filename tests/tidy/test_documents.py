"""What the documents say of files, functions, decisions, settings and dependencies is so."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import PurePosixPath
from typing import Final

import pytest

from tests.tidy.repository import ROOT, our_texts, repository_files, text_of
from tidegate.config import PREFIX, variables
from tidegate.settings_pages import as_example, as_markdown

DOCUMENTS: Final = [name for name, _ in our_texts(".md")]

MADE_AT_RUN_TIME: Final = {".env", "tidegate.env", "signing_keys.json"}
"""Files that documents speak of and no clone holds."""

_FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_QUOTED: Final = re.compile(r"`([^`\n]+)`")
_FILE: Final = re.compile(
    r"(?P<file>(?:[\w.*-]+/)*[\w.*-]*\.(?:py|sql|md|toml|txt|sh|css|json|env))(?::(?P<name>[\w.]+))?|(?P<folder>[\w./-]+/)"
)
_ADR: Final = re.compile(r"ADR (\d{4})")
_SETTING: Final = re.compile(rf"{PREFIX}[A-Z_]*[A-Z]")
_PAPER: Final = re.compile(r"\b(DESIGN|STACK|EMBEDDED|STYLE)(?:[.]md)?(?: section)? (\d+(?:\.\d+)?)")


def prose(document: str) -> str:
    """*document* without its fenced blocks, in which anything may stand."""
    return _FENCED.sub("", text_of(document))


def headings(document: str) -> set[str]:
    """The anchors of *document*, made as the usual viewers make them."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_link_leads_somewhere(document):
    for target in _LINK.findall(prose(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / document).parent.joinpath(path).resolve() if path else ROOT / document
        assert found.exists(), target
        assert not anchor or anchor in headings(found.relative_to(ROOT).as_posix()), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_file_or_a_function_that_is_named_is_there(document):
    """`usecases/log_in.py:LogIn.__call__` is a promise to whoever wants to look."""
    for quoted in _QUOTED.findall(prose(document)):
        named = _FILE.fullmatch(quoted)
        if named is None or quoted in MADE_AT_RUN_TIME or quoted.startswith("/"):
            continue
        if named["folder"]:
            assert any(f"/{name}".find(f"/{quoted}") >= 0 for name in repository_files()), quoted
            continue
        files = [name for name in repository_files() if PurePosixPath("/", name).match(named["file"])]
        assert files, quoted
        if named["name"]:
            assert any(named["name"] in names_in(name) for name in files), quoted


@cache
def names_in(file: str) -> frozenset[str]:
    """What can be pointed at in *file*: statements of SQL; classes, functions, methods and constants of Python."""
    text = text_of(file)
    if file.endswith(".sql"):
        return frozenset(re.findall(r"^(?:-- name: |CREATE TABLE )(\w+)", text, re.MULTILINE))
    return frozenset(_defined(ast.parse(text).body, "")) if file.endswith(".py") else frozenset()


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name
                yield from _defined(node.body, f"{prefix}{node.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


DECISIONS: Final = [name for name in DOCUMENTS if re.fullmatch(r"docs/adr/\d{4}-[a-z0-9-]+\.md", name)]


def test_every_decision_is_in_the_index_once_and_in_order():
    indexed = [target for target in _LINK.findall(prose("docs/adr/README.md")) if re.match(r"\d{4}-", target)]
    assert indexed == [PurePosixPath(name).name for name in DECISIONS]
    numbers = [int(name[:4]) for name in indexed]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("document", DECISIONS)
def test_a_decision_fits_on_a_screen_and_says_its_price_and_its_test(document):
    text = text_of(document)
    number = int(PurePosixPath(document).name[:4])
    assert text.startswith(f"# {number:04}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
        "Held by",
    ]
    assert text.count("\n") <= 60
    held_by = text.partition("## Held by")[2]
    assert any(quoted.startswith("tests/") or quoted == "test" for quoted in _QUOTED.findall(held_by))


def test_every_decision_that_is_cited_has_been_taken():
    taken = {PurePosixPath(name).name[:4] for name in DECISIONS}
    for name, text in our_texts():
        assert set(_ADR.findall(text)) <= taken | {"NNNN"}, name


def test_every_paper_that_a_comment_cites_is_told_where_to_find():
    """Comments cite the papers that the project began from; ARCHITECTURE.md says where each part of them lives on."""
    told = text_of("ARCHITECTURE.md")
    for name, text in our_texts(".py", ".sql", ".sh"):
        for paper, section in _PAPER.findall(text):
            assert re.search(rf"^\| {paper} {re.escape(section)} \|", told, re.MULTILINE), f"{name}: {paper} {section}"


def test_the_page_of_settings_and_the_example_are_what_the_program_makes():
    assert text_of("docs/SETTINGS.md") == as_markdown()
    assert text_of(".env.example") == as_example()


def test_every_setting_that_is_named_exists():
    """In tests some do not: that they are refused is what is tested there."""
    for name, text in our_texts(".md", ".py", ".sh", "run", "test"):
        if not name.startswith("tests/"):
            assert set(_SETTING.findall(text)) <= variables(), name


def pinned() -> dict[str, str]:
    """The versions of constraints.txt by name."""
    lines = text_of("constraints.txt").splitlines()
    return dict(line.partition(" ;")[0].strip().split("==") for line in lines)


def test_every_dependency_is_listed_with_its_version_and_licence():
    listed = re.findall(r"^\| ([a-z0-9-]+) ([\w.]+) \| ([^|]+?) \|", prose("docs/LICENSES.md"), re.MULTILINE)
    assert {name: version for name, version, _ in listed} == pinned()
    for name, _, licence in listed:
        try:
            stated = metadata(name).json.get("license_expression")
        except PackageNotFoundError:  # for another platform
            continue
        assert stated in {None, licence}, name


def test_every_text_of_others_is_listed_with_its_licence():
    listed = dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", prose("docs/LICENSES.md"), re.MULTILINE))
    carried = {name for name in repository_files() if name.startswith("tests/data/") and not name.endswith(".md")}
    assert carried | {"src/tidegate/passwords/common_passwords.txt", "ext/argon2/"} == set(listed)
