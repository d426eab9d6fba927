"""What one machine writes another reads, and whatever else it is given it refuses in words."""

import msgspec
import pytest

from tests.unit.calibration.samples import figures
from tidegate.calibration.capacity import NodeKind, Storm, plan
from tidegate.calibration.figures import Calibration, FiguresUnreadable, Machine, as_json, read_calibration
from tidegate.calibration.pages import calibration_page, plan_page
from tidegate.calibration.recommending import recommend

PROFILES = (figures("owasp-19456", 200), figures("rfc9106-65536", 25, p95_ms=90, has_two_in_turn=False))
CALIBRATION = Calibration(
    tidegate="0.1.0",
    measured_at="2026-11-22T19:00:00+00:00",
    machine=Machine(cpu="Z80", cores=2, memory_bytes=1 << 30, system="Linux 6.18"),
    engine="tidegate (avx512)",
    seconds=20,
    rounds=5,
    cpu_share=0.97,
    profiles=PROFILES,
    left_out={"owasp-47104": "2 threads need 184 MiB, more than half of the 200 MiB here"},
    recommendation=recommend(PROFILES, wished_latency_ms=50),
)


def test_what_is_written_is_read_again() -> None:
    assert read_calibration(as_json(CALIBRATION).encode()) == CALIBRATION


def test_a_later_program_may_have_written_more() -> None:
    written = msgspec.json.decode(as_json(CALIBRATION)) | {"of_tomorrow": 1}
    assert read_calibration(msgspec.json.encode(written)) == CALIBRATION


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"tidegate":"0.1.0"}', as_json(CALIBRATION).encode()[:-10]])
def test_what_is_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(FiguresUnreadable):
        read_calibration(text)


@pytest.mark.parametrize("figure", ["hashes_per_s", "hashes_per_s_per_core", "threads", "memory_bytes_per_thread"])
@pytest.mark.parametrize("value", [0, -1, "many"])
def test_figures_that_cannot_be_are_refused(figure: str, value: object) -> None:
    """A zero would be divided by."""
    written = msgspec.json.decode(as_json(CALIBRATION))
    written["profiles"][0]["two_in_turn"][figure] = value
    with pytest.raises(FiguresUnreadable, match=figure):
        read_calibration(msgspec.json.encode(written))


def test_a_profile_is_found_by_its_name() -> None:
    assert CALIBRATION.of("rfc9106-65536") is PROFILES[1]
    assert CALIBRATION.of("owasp-47104") is None


def test_the_page_shows_every_way_of_every_profile_and_what_to_set() -> None:
    page = calibration_page(CALIBRATION)
    lines = page.splitlines()
    assert "2 cores of Z80, 1,024 MiB, Linux 6.18" in page
    assert [line.split()[0] for line in lines if line.startswith(("owasp", "rfc"))] == ["owasp-19456", "rfc9106-65536"]
    assert sum(line.endswith("2 threads, two in turn") for line in lines) == 1
    assert sum(line.endswith("1 thread") for line in lines) == 2
    assert "Left out: owasp-47104: 2 threads need 184 MiB" in page
    assert "  TIDEGATE_HASH_PROFILE=owasp-19456\n" in page
    assert "Accepted by OWASP, ASVS v5.0.0-11.4.2: owasp-19456.\n" in page
    assert "Other programs" not in page


def test_the_page_says_so_if_the_machine_was_busy() -> None:
    assert "hashing got 70% of the CPU time" in calibration_page(msgspec.structs.replace(CALIBRATION, cpu_share=0.7))


def test_the_page_of_a_plan_shows_its_numbers_and_what_they_rest_on() -> None:
    node = NodeKind(cores=8, hashing=PROFILES[0].in_a_storm, processes=8, connections_per_process=9)
    made = plan(Storm(users=100_000, within_s=60), node, profile="owasp-19456", is_from_file=False)
    page = plan_page(made)
    assert "1,667/s  100,000 in 60 s" in page
    assert "of 8 cores; 4 if one may fail" in page
    assert "55.4%" in page
    assert all(each.source.split()[0] in page for each in made.assumptions)
    assert max(map(len, page.splitlines())) <= 120
