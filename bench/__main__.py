"""`./run bench`: measures, prints what came of it and writes it down."""

import signal
import sys
from types import FrameType
from typing import Final, NoReturn

from bench.command import BENCH, arguments, is_full, measure, results_page, write_down
from bench.ground import CannotMeasureError
from bench.plots import draw
from bench.results import page

PAGE: Final = BENCH / "RESULTS.md"


def main() -> None:
    """Measure as the command line says."""
    given = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, _leave)  # or what was started would outlive us
    try:
        results, asked = measure(given)
    except CannotMeasureError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    told = page(results, asked)
    print(told)
    numbers = write_down(results, given)
    plots = draw(results, numbers.with_suffix(""))
    written = [numbers, *plots]
    if is_full(given):
        PAGE.write_text(results_page(told, numbers, plots))
        written.append(PAGE)
    for path in written:
        print(f"bench: wrote {path}", file=sys.stderr)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
