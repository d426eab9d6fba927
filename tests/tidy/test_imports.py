"""An import is an arrow between two parts, and every arrow that may be drawn is in `ARROWS`."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from importlib.metadata import packages_distributions
from typing import Final, NamedTuple

import pytest

from tests.tidy.repository import module_trees, text_of


class May(NamedTuple):
    """What the modules of one part may import besides each other and the standard library.

    Attributes:
        ours: Other parts of Tidegate.
        theirs: Packages of others.
    """

    ours: AbstractSet[str] = frozenset()
    theirs: AbstractSet[str] = frozenset()


# A module belongs to the longest name that it begins with. What is not here does not exist.
ARROWS: Final[dict[str, May]] = {
    # What is true, what we need, what we do: no package of others.
    "domain": May(),
    "ports": May({"domain"}),
    "usecases": May({"domain", "ports"}),
    # Requests and jobs in.
    "api": May({"domain", "ports", "usecases"}, {"httptools", "msgspec"}),
    "worker": May({"domain", "ports", "usecases"}),
    # What the ports are made of. None knows another: they meet in wiring.
    "storage": May({"domain", "ports"}, {"asyncpg"}),
    "passwords": May({"domain", "ports", "passwords.profiles"}, {"argon2", "bcrypt", "msgspec"}),
    "passwords.profiles": May(),
    "tokens": May({"domain", "ports"}, {"joserfc", "msgspec", "nacl"}),
    "existence": May({"domain", "ports"}),
    "identifiers": May({"domain", "ports"}, {"email_validator", "phonenumbers", "precis_i18n"}),
    "profiles": May({"domain", "ports"}),
    "bulk": May({"domain", "ports"}),
    "feed": May({"domain", "ports"}),
    "cache": May({"domain", "ports", "cache.address"}, {"libvalkey", "msgspec"}),
    "cache.address": May(),
    "queue": May({"domain", "ports", "queue.address"}, {"msgspec", "nats"}),
    "queue.address": May(),
    "notices": May({"domain", "ports"}),
    "throttle": May({"domain", "ports"}),
    "observability": May(theirs={"msgspec", "prometheus_client"}),
    # What surrounds a running process.
    "migrations": May({"domain"}, {"asyncpg"}),
    "embedded": May(),
    "balancer": May(),
    # What a cluster on one machine is made of, and how it is broken.
    "cluster": May(theirs={"asyncpg"}),
    # What an operator asks of a machine before a crowd does.
    "calibration": May({"passwords", "passwords.profiles"}, {"msgspec"}),
    "diagnosis": May({"domain", "migrations", "passwords", "passwords.profiles"}, {"asyncpg", "msgspec"}),
    "config": May({"passwords.profiles", "settings_meaning"}),
    "settings_meaning": May(),
    "settings_node": May(),
    "settings_sources": May({"config"}, {"dotenv"}),
    "settings_building": May({"config", "settings_node", "passwords.profiles", "cache.address", "queue.address"}),
    "settings_pages": May({"config", "settings_building"}),
    # Where everything is joined, and what people call.
    "wiring": May(
        {"", "api", "worker", "usecases", "ports", "domain", "config", "embedded", "migrations"}
        | {"storage", "cache", "cache.address", "passwords", "passwords.profiles", "tokens", "existence", "identifiers"}
        | {"bulk", "profiles", "throttle", "feed", "observability", "queue", "queue.address", "notices"},
        {"msgspec"},
    ),
    # The command line is an edge as the API is one: it hands what an operator typed to a use case. It also makes the
    # secrets (tokens) and the shared memory (profiles), starts the processes, and answers /metrics for all of them.
    "cli": May(
        {"", "wiring", "config", "settings_building", "settings_node", "settings_pages", "settings_sources", "embedded"}
        | {"migrations", "calibration", "cluster", "diagnosis", "domain", "usecases", "tokens", "profiles", "balancer"},
        {"prometheus_client", "uvloop"},
    ),
    "__main__": May({"cli"}),
    "": May(),
}

LOADS_BY_NAME: Final = {"cli.main"}
"""Modules that import what a variable names: the one command that was called, for the others take half a second."""

DOMAIN_MAY_IMPORT: Final = {
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "ipaddress",
    "re",
    "typing",
    "unicodedata",
    "uuid",
}
"""Of the standard library: nothing that waits, asks the time, draws lots or logs."""

CLOCKS_AND_LOTS: Final = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7"}
"""What would bring a clock or chance into the domain by way of the modules it may import."""


def part_of(module: str) -> str:
    """The part that *module*, named under `tidegate`, belongs to."""
    return max((part for part in ARROWS if f"{module}.".startswith(f"{part}.") or part in {"", module}), key=len)


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted name of each module that *tree* imports, as far as the text tells: `from a import b` gives a.b too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import is written in full"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = name.removeprefix("tidegate.") in module_trees()
                yield name if is_module else str(node.module)


def forbidden(module: str) -> Iterator[str]:
    """What *module* imports and may not."""
    part = part_of(module)
    for name in imported(module_trees()[module]):
        top = name.partition(".")[0]
        if top == "tidegate":
            target = part_of(name.removeprefix("tidegate").lstrip("."))
            if target not in {part, *ARROWS[part].ours}:
                yield f"{module or 'tidegate'} imports {name}: no arrow from {part or 'tidegate'} to {target or 'tidegate'}"
        elif top not in sys.stdlib_module_names and top not in ARROWS[part].theirs:
            yield f"{module} imports {name}: no arrow from {part} to {top}"


@pytest.mark.parametrize("module", sorted(module_trees()))
def test_a_module_imports_only_what_its_part_may(module):
    assert list(forbidden(module)) == []


def test_no_part_may_use_a_package_that_it_does_not():
    """A permission that nobody needs any more would let in what nobody has thought about."""
    used: dict[str, set[str]] = {part: set() for part in ARROWS}
    for module, tree in module_trees().items():
        used[part_of(module)] |= {name.partition(".")[0] for name in imported(tree)}
    assert {part: unused for part, may in ARROWS.items() if (unused := may.theirs - used[part])} == {}


def test_every_package_that_is_imported_is_a_dependency_of_ours():
    """Not merely of a dependency: that one may drop it."""
    declared = tomllib.loads(text_of("pyproject.toml"))["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in declared}
    provided_by = packages_distributions()
    for package in set().union(*(may.theirs for may in ARROWS.values())):
        assert names & {name.lower().replace("_", "-") for name in provided_by[package]}, package


@pytest.mark.parametrize("module", sorted(module_trees()))
def test_no_import_hides_in_a_function_or_from_the_interpreter(module):
    """A missing arrow is a question of design, and neither of the two is its answer (STYLE 2)."""
    for node in ast.walk(module_trees()[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            hidden = [inner.lineno for inner in ast.walk(node) if isinstance(inner, (ast.Import, ast.ImportFrom))]
            assert not hidden, f"line {hidden}"
        if isinstance(node, (ast.Name, ast.Attribute)):
            word = ast.unparse(node).rpartition(".")[2]
            assert word != "TYPE_CHECKING"
            assert word not in {"import_module", "__import__"} or module in LOADS_BY_NAME


@pytest.mark.parametrize("module", sorted(module for module in module_trees() if part_of(module) == "domain"))
def test_the_domain_neither_waits_nor_asks_the_time_nor_draws_lots(module):
    """So what is true can be tested by calling it, with no clock to hold and nothing to await."""
    tree = module_trees()[module]
    outside = {name for name in imported(tree) if not name.startswith("tidegate.")}
    assert outside <= DOMAIN_MAY_IMPORT
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await))
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func).rpartition(".")[2] not in CLOCKS_AND_LOTS
