"""`tidegate campaigns verify` and `export`: what reads all that there is of a campaign."""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, Final, cast

from tidegate.cli.campaigns_shown import moment
from tidegate.cli.exits import CANNOT_CREATE, DONE, UNTRUE, CommandFailed
from tidegate.cli.progress import LateProgress
from tidegate.config import Settings
from tidegate.domain.campaign_checks import CLAIMS
from tidegate.domain.campaigns import read_campaign_code
from tidegate.wiring.administration import ExportedGrant, Verdict, open_campaign_reports, open_campaigns

_COLUMNS: Final = tuple(field.name for field in fields(ExportedGrant))
_VALUES: Final = attrgetter(*_COLUMNS)

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula (ASVS v5.0.0-1.2.10; the last four are the wide forms)."""


async def verify(settings: Settings, code: str, *, is_json: bool) -> int:
    """Verify the campaign of *code*; the exit code.

    Raises:
        InvalidRequest: No campaign can have this code.
        UnknownCampaign: None has it.
    """
    code = read_campaign_code(code, field="code")
    async with open_campaign_reports(settings) as reports, LateProgress(f"verifying {code}").going_on() as progress:
        verdicts = await reports.verify(code, on_checked=lambda done, of: progress.show(done / of))
    broken = [verdict for verdict in verdicts if not verdict.holds]
    if is_json:
        print(json.dumps({"campaign": code, "holds": not broken, "checks": [_as_json(verdict) for verdict in verdicts]}))
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
        print(f"{code}: {len(broken)} of {len(verdicts)} do not hold" if broken else f"{code}: all {len(verdicts)} hold")
    return UNTRUE if broken else DONE


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "check": str(verdict.check),
        "claim": CLAIMS[verdict.check],
        "holds": verdict.holds,
        "offences": list(verdict.offences),
        "are_more": verdict.are_more,
    }


def _print_verdict(verdict: Verdict) -> None:
    print(f"{'ok    ' if verdict.holds else 'BROKEN'}  {verdict.check}: {CLAIMS[verdict.check]}")
    for offence in verdict.offences:
        print("          " + " ".join(f"{name}={value}" for name, value in offence.items() if value is not None))
    if verdict.are_more:
        print("          and more")


async def export(settings: Settings, code: str, *, form: str, file: str | None) -> None:
    """Write every seat of the campaign of *code*.

    Args:
        settings: Where the primary is.
        code: As typed.
        form: ``csv`` or ``jsonl``.
        file: None: standard output.

    Raises:
        InvalidRequest: No campaign can have this code.
        UnknownCampaign: None has it.
        CommandFailed: The file cannot be written.
    """
    async with open_campaigns(settings) as desk:
        campaign, _ = await desk.campaigns.show(code)
    line = _csv_lines if form == "csv" else _json_lines
    async with open_campaign_reports(settings) as reports:
        count = await reports.export.count(campaign.campaign_id)
        with _opened(file) as output:
            if form == "csv":
                output.write(_csv([_COLUMNS]))
            progress = LateProgress(f"exporting {campaign.terms.code}")
            async with progress.going_on():
                await _write(reports.export.pages(campaign.campaign_id), output, line, progress, count=count)


async def _write(
    pages: AsyncIterator[Sequence[ExportedGrant]],
    output: BinaryIO,
    lines: Callable[[Sequence[ExportedGrant]], bytes],
    progress: LateProgress,
    *,
    count: int,
) -> None:
    written = 0
    async for page in pages:
        output.write(lines(page))
        written += len(page)
        progress.show(written / max(count, written))


@contextmanager
def _opened(file: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name once it is whole, and never in the place of another."""
    if file is None:
        # The octets themselves: a terminal's encoding must not decide what a name is.
        output = cast("BinaryIO", sys.stdout.buffer)
        yield output
        output.flush()
        return
    path = Path(file)
    try:
        if path.exists():
            raise FileExistsError
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as made:
            yield cast("BinaryIO", made.file)
            made.flush()
            os.fsync(made.fileno())
            os.link(made.name, path)
    except FileExistsError:
        raise CommandFailed(CANNOT_CREATE, f"{file} is there already; name another file, or remove it") from None
    except OSError as error:
        raise CommandFailed(CANNOT_CREATE, f"{file} cannot be written: {error.strerror}; name another place") from None


def _json_lines(page: Sequence[ExportedGrant]) -> bytes:
    rows = (dict(zip(_COLUMNS, map(_text, _VALUES(grant)), strict=True)) for grant in page)
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def _csv_lines(page: Sequence[ExportedGrant]) -> bytes:
    return _csv([[_harmless(value) for value in _VALUES(grant)] for grant in page])


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    """RFC 4180, UTF-8."""
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode()


def _harmless(value: object) -> object:
    """*value* as a cell that no spreadsheet takes for a formula."""
    text = _text(value)
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULAS) else text


def _text(value: object) -> str | int | None:
    match value:
        case None | int() | str():
            return value
        case datetime():
            return moment(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)
