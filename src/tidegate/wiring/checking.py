"""One process that checks lines of an import: it needs the rules, and neither database nor settings."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import BinaryIO

from tidegate.bulk.checkers import answer_all
from tidegate.bulk.records import FileFormat, csv_records, json_records
from tidegate.domain.errors import InvalidRequest
from tidegate.domain.user_imports import RefusedLine
from tidegate.identifiers.normalise import normalise
from tidegate.passwords.keycloak import from_keycloak
from tidegate.passwords.notations import STORED_LENGTH_MAX, why_refused
from tidegate.storage.copied_rows import copy_row
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.check_user import CheckUser


def answer_checks(source: BinaryIO, sink: BinaryIO) -> None:
    """Check for the process that says in the first line of *source* what is to be checked how, until it says no more."""
    greeting = source.readline()
    if not greeting:
        return
    told = json.loads(greeting)
    check = CheckUser(
        normalise=partial(normalise, phone_region=told["phone_region"] or None),
        why_refused=why_refused,
        respell=from_keycloak,
        stored_length_max=STORED_LENGTH_MAX,
        ids=RandomIds(),
        now=datetime.fromisoformat(told["now"]),
    )
    ignored = frozenset(told["ignored"])

    def check_lines(text: str, first_line: int) -> tuple[int, Sequence[RefusedLine], str]:
        found = (
            csv_records(text, first_line=first_line, columns=told["columns"])
            if told["format"] == FileFormat.CSV
            else json_records(text, first_line=first_line, ignored=ignored)
        )
        rows: list[str] = []
        refused: list[RefusedLine] = []
        for line, fields in found:
            try:
                if isinstance(fields, InvalidRequest):
                    raise fields
                rows.append(copy_row(line, check(fields)))
            except InvalidRequest as invalid:
                refused.append(RefusedLine(line, invalid.faults))
        return len(rows) + len(refused), refused, "".join(f"{row}\n" for row in rows)

    answer_all(source, sink, check_lines)
