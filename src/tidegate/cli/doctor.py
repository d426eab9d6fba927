"""`tidegate doctor`: what is wrong or slow here, and what to do about it?"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Final

from tidegate.cli.api import BACKLOG
from tidegate.cli.exits import DONE, UNAVAILABLE, WRONG_SCHEMA, WRONG_SETTINGS
from tidegate.cli.options import add_data_dir, read_given
from tidegate.config import Settings, SettingsError, declared
from tidegate.diagnosis.database import examine_database
from tidegate.diagnosis.findings import (
    Finding,
    Matter,
    Verdict,
    as_json,
    as_text,
    diagnosis,
    ok,
    warning,
    wrong,
)
from tidegate.diagnosis.machine import Node, examine_machine
from tidegate.diagnosis.replicas import examine_replicas
from tidegate.settings_building import build_settings, connections_of, hash_threads_of_node, replica_connections_of
from tidegate.settings_node import usable_cores, usable_memory_bytes
from tidegate.settings_sources import Given
from tidegate.tokens.keys import KeyFileError, list_keys

EXAMPLES = """\
  tidegate doctor                      of what `tidegate up` runs, or of the settings in the environment and .env
  tidegate doctor --data-dir D         of what `tidegate up --data-dir D` runs
  tidegate doctor --json               the same for programs

Each line is ok, warning (slow, or wrong one day) or wrong; the line below says what to do. Exit code: 0 if nothing is
wrong, else that of the first line that is: 78 the settings or the machine, 69 the database, 76 its schema.
"""

_CODES: Final = {
    Matter.DATABASE: UNAVAILABLE,
    Matter.CONNECTIONS: UNAVAILABLE,
    Matter.DURABILITY: UNAVAILABLE,
    Matter.REPLICAS: UNAVAILABLE,
    Matter.MIGRATIONS: WRONG_SCHEMA,
}
"""How the command ends if this is wrong; for all others it is the settings."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the form, and where the settings are."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell."""
    settings, told = _settings(arguments)
    findings = [*examine_machine(_node(settings)), *told]
    if settings is not None:
        findings += [_signing_keys(settings), *asyncio.run(_database(settings))]
    found = diagnosis(findings)
    print(as_json(found) if arguments.json else as_text(found), end="")
    return _code(found.findings)


def _code(findings: Sequence[Finding]) -> int:
    first = next((each.matter for each in findings if each.verdict is Verdict.WRONG), None)
    return DONE if first is None else _CODES.get(first, WRONG_SETTINGS)


def _settings(arguments: argparse.Namespace) -> tuple[Settings | None, list[Finding]]:
    """The settings, if they are right, and what there is to say of them."""
    try:
        given = read_given(arguments, falls_back=True)
        if not any(each.is_required and _is_given(each.variable, given) for each in declared()):
            return None, [
                warning(
                    Matter.SETTINGS,
                    "nothing says which database to use, so only the machine was looked at",
                    "`tidegate up` brings its own; for production see `tidegate config list --example`",
                )
            ]
        settings = build_settings(given.texts)
    except SettingsError as error:
        return None, [wrong(Matter.SETTINGS, *_parted(fault)) for fault in error.faults]
    return settings, [ok(Matter.SETTINGS, f"{len(given.texts)} given, which fit each other and the machine")]


def _is_given(variable: str, given: Given) -> bool:
    return bool(given.texts.get(variable) or given.texts.get(f"{variable}_FILE"))


def _parted(fault: str) -> tuple[str, str]:
    """What is wrong, and what to do: each sentence about settings says both, parted by its last semicolon."""
    says, _, advice = fault.rpartition("; ")
    return (says, advice) if says else (fault, "`tidegate config list` tells what each setting means")


def _node(settings: Settings | None) -> Node:
    """What Tidegate makes of this machine; by the defaults where the settings are not known."""
    cores, memory_bytes = usable_cores(), usable_memory_bytes()
    if settings is None:
        default = next(each.default for each in declared() if each.name == "hash_profile")
        return Node(
            cores=cores,
            memory_bytes=memory_bytes,
            processes=cores,
            hash_threads=cores,
            hash_profile=default,
            backlog=BACKLOG,
        )
    return Node(
        cores=cores,
        memory_bytes=memory_bytes,
        processes=settings.api_processes,
        hash_threads=hash_threads_of_node(settings),
        hash_profile=settings.hash_profile,
        backlog=BACKLOG,
    )


def _signing_keys(settings: Settings) -> Finding:
    try:
        keys = list_keys(settings.signing_keys_file)
    except KeyFileError as error:
        return wrong(Matter.SIGNING_KEYS, str(error), "`tidegate keys rotate` makes the file where there is none")
    return ok(Matter.SIGNING_KEYS, f"{len(keys)} in {settings.signing_keys_file}")


async def _database(settings: Settings) -> list[Finding]:
    timeout_s = settings.database_connect_timeout_ms / 1_000
    found = await examine_database(
        settings.primary_dsn,
        connections=connections_of(settings),
        connections_budget=settings.database_connections_budget,
        connect_timeout_s=timeout_s,
    )
    return found + await examine_replicas(
        settings.replica_dsns,
        primary_dsn=settings.primary_dsn,
        connections=replica_connections_of(settings),
        connect_timeout_s=timeout_s,
    )
