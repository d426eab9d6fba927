"""`tidegate calibrate`: how fast does this machine hash, and which profile suits it?"""

import argparse
import math
from datetime import UTC, datetime
from typing import Final

from tidegate import __version__
from tidegate.calibration.calibrating import calibrate
from tidegate.calibration.figures import as_json
from tidegate.calibration.pages import calibration_page
from tidegate.calibration.recommending import WISHED_LATENCY_MS
from tidegate.cli.exits import DONE, UNAVAILABLE, CommandFailed
from tidegate.cli.progress import Progress
from tidegate.settings_node import usable_cores, usable_memory_bytes

EXAMPLES = """\
  tidegate calibrate                   hashes/s, latency and memory of each accepted profile, and which one to take
  tidegate calibrate --wished-latency-ms 20
                                       for a login that is to wait no longer than that for its hash
  tidegate calibrate --json >node.json for `tidegate capacity --measured node.json`

It keeps every core busy meanwhile; on a machine that serves, or has neighbours, it measures what they leave.
"""

_SECONDS: Final = 20.0
"""Five rounds of three or four ways of six profiles: a fifth of a second each, 10 hashes or more."""

_SECONDS_MAX: Final = 3_600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Take how long, for which latency, and in which form."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--wished-latency-ms",
        type=positive,
        default=WISHED_LATENCY_MS,
        metavar="N",
        help="how long one hash may take with every core busy, at the 95th percentile; default: %(default)g",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=_SECONDS,
        metavar="S",
        help="for how long to measure, about; default: %(default)g",
    )


def positive(text: str) -> float:
    """The number that *text* says, above 0 and finite."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _seconds(text: str) -> float:
    number = positive(text)
    if number > _SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {_SECONDS_MAX:g}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Measure, then tell."""
    cores = usable_cores()
    with Progress(f"measuring {cores} cores for about {arguments.seconds:g} s") as progress:
        try:
            calibration = calibrate(
                version=__version__,
                measured_at=datetime.now(UTC),
                cores=cores,
                memory_bytes=usable_memory_bytes(),
                seconds=arguments.seconds,
                wished_latency_ms=arguments.wished_latency_ms,
                on_progress=progress.show,
            )
        except MemoryError:
            raise CommandFailed(
                UNAVAILABLE, "there is not enough memory for hashing here; free some, or add some"
            ) from None
    print(as_json(calibration) if arguments.json else calibration_page(calibration), end="")
    return DONE
