"""A request does not come to cost more unnoticed: what Python does for one is counted, and compared with what was once.

It is the regression check of the figures in bench/, which need a quiet machine and minutes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import drop_database, make_migrated_database
from tests.support.work import Work, recorded, this_python, work_per_request
from tidegate.embedded.postgres import EmbeddedPostgres

COMMAND = "python -m tests.support.work"

INSTRUCTIONS_MORE_MAX = 1.01
"""Not one call more, but a line may be put in another way."""

LESS_MIN = 0.95
"""What has become so much cheaper must be written down, or the next regression hides behind it."""

OTHER_PYTHON_MORE_MAX = 1.25
"""Where nothing is written down for the Python that runs, what another one does is a rough measure."""


@pytest.fixture(scope="module")
def counted(postgres: EmbeddedPostgres) -> Iterator[dict[str, Work]]:
    name = make_migrated_database(postgres)
    with tempfile.TemporaryDirectory() as folder:
        yield work_per_request(postgres.dsn(name), Path(folder))
    drop_database(postgres, name)


@pytest.mark.parametrize("request_", sorted({name for known in recorded().values() for name in known}))
def test_a_request_costs_what_is_written_down(request_: str, counted: dict[str, Work]):
    known = recorded()
    found = counted[request_]
    if this_python() in known:
        expected = known[this_python()][request_]
        assert found.calls <= expected.calls, f"more calls than written down; where they are worth it, run {COMMAND}"
        assert found.instructions <= expected.instructions * INSTRUCTIONS_MORE_MAX, f"as above: {COMMAND}"
        assert found.calls >= expected.calls * LESS_MIN, f"cheaper than written down: run {COMMAND}"
    else:
        dearest = max(each[request_].calls for each in known.values())
        assert found.calls <= dearest * OTHER_PYTHON_MORE_MAX, f"more calls than any other Python; see {COMMAND}"


def test_every_request_is_written_down(counted: dict[str, Work]):
    assert all(known.keys() == counted.keys() for known in recorded().values())
