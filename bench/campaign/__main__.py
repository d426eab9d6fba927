"""`python -m bench.campaign`: measures, prints what came of it and writes it down."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from bench.campaign.command import arguments, campaign_page, measure, write_down
from bench.ground import CannotMeasureError


def main() -> None:
    """Measure as the command line says."""
    given = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, _leave)  # or what was started would outlive us
    try:
        results = measure(given)
    except CannotMeasureError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    print(campaign_page(results))
    for path in write_down(results, given):
        print(f"bench: wrote {path}", file=sys.stderr)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
