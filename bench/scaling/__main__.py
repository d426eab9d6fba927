"""Prints or writes docs/SCALING.md.

python -m bench.scaling               the page, from the costs in bench/results/costs.json
python -m bench.scaling --measure     measures the costs first, a minute and a half, and writes them and the page down
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec
from bench.command import BENCH
from bench.ground import CannotMeasureError
from bench.scaling.costs import Costs, measure
from bench.scaling.pages import page

COSTS: Final = BENCH / "results" / "costs.json"
PAGE: Final = Path(BENCH).parent / "docs" / "SCALING.md"


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure now, and write both files")
    if not parser.parse_args().measure:
        print(page(msgspec.json.decode(COSTS.read_bytes(), type=Costs)), end="")
        return
    try:
        costs = measure()
    except CannotMeasureError as error:
        sys.exit(f"bench: {error}")
    COSTS.write_bytes(msgspec.json.format(msgspec.json.encode(costs)) + b"\n")
    PAGE.write_text(page(costs))
    print(f"bench: wrote {COSTS} and {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
