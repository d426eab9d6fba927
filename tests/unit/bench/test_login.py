"""The quotient is of neighbours in time, and the page says what it must for others to compare."""

import pytest
from bench.driver import Measured
from bench.login.__main__ import arguments
from bench.login.results import Logins, Raw, Results, Round


def logins(connections: int, answered: int, **others: int) -> Logins:
    measured = Measured(
        seconds=10.0,
        by_status={"200": answered, **others},
        latency_ms={"p50": 400.4, "p95": 500.0, "p99": 600.0, "max": 700.0},
        driver_cpu_s=0.5,
    )
    return Logins(connections, measured, {"tidegate": 18.0, "postgres": 1.0}, 0.25)


def raw(hashes_per_s: float) -> Raw:
    return Raw(hashes_per_s, 17.0, 0.75)


ROUNDS = [
    Round([raw(100.0), logins(64, 900), raw(100.0), logins(512, 500), raw(150.0)]),
    Round([raw(200.0), logins(64, 1400), raw(200.0), logins(512, 1600), raw(200.0)]),
    Round([raw(100.0), logins(64, 800), raw(100.0), logins(512, 1000, **{"503": 7, "lost": 1}), raw(100.0)]),
]
RESULTS = Results(
    commit="abc",
    command="python -m bench.login",
    machine={"cores": 2, "cpu": "Some CPU", "kernel": "6.1", "python": "3.11"},
    profile="$argon2id$v=19$m=19456,t=2,p=1",
    rounds=ROUNDS,
)


def test_logins_are_divided_by_the_hashes_just_before_and_after_them():
    assert ROUNDS[0].ratios() == {64: 0.9, 512: 0.4}


def test_the_quotient_of_a_run_is_the_middle_one_of_its_rounds():
    ratios = RESULTS.ratios()
    assert (ratios[64].median, ratios[64].low, ratios[64].high) == (0.8, 0.7, 0.9)
    assert (ratios[512].median, ratios[512].low, ratios[512].high) == (0.8, 0.4, 1.0)


def test_the_share_of_hashing_is_of_all_that_a_login_cost():
    """900 logins took 18 s of Tidegate, 1 s of PostgreSQL and 0.5 s of the driver; a hash takes 17 ms."""
    assert ROUNDS[0].hash_shares()[64] == pytest.approx(17.0 * 900 / 19_500)


def test_the_page_says_what_was_measured_on_what_and_how():
    page = RESULTS.page()
    for fact in ("Commit abc", "2 cores of Some CPU", "Linux 6.1", "m=19456,t=2,p=1", "    python -m bench.login", "0.80"):
        assert fact in page
    assert "| 64 | 90.0 (80.0-140.0) | 0.800 (0.700-0.900) | 0.785 (0.697-1.221) | 400, 500, 600 |" in page
    assert "tidegate 20.00, postgres 1.11, driver 0.56 | none |" in page
    assert "503: 7, lost: 1 |" in page
    assert "took 0.75 (0.25-0.75) cores" in page
    assert "goal missed" not in page


def test_a_goal_that_is_missed_is_said_so():
    slow = Results(commit="", command="", machine=RESULTS.machine, profile="", rounds=ROUNDS[:1])
    assert "0.400 (0.400-0.400), goal missed" in slow.page()


def test_a_round_is_told_in_one_line():
    assert ROUNDS[0].told() == (
        "raw 100.0/s, 64 connections 90.0/s (0.900), raw 100.0/s, 512 connections 50.0/s (0.400), raw 150.0/s"
    )


def test_a_run_without_any_login_is_told_too():
    """A server that only refuses must not end the benchmark with a division by zero."""
    refused = Logins(64, Measured(seconds=10.0, by_status={"503": 9}, latency_ms={}, driver_cpu_s=0.1), {}, None)
    rounds = [Round([raw(100.0), refused, raw(100.0)])]
    page = Results(commit="", command="", machine=RESULTS.machine, profile="", rounds=rounds).page()
    assert "| 64 | 0.0 (0.0-0.0) | 0.000 (0.000-0.000), goal missed |  |  | driver 100.00 | 503: 9 |" in page


@pytest.mark.parametrize(
    "words",
    [["--rounds", "0"], ["--seconds", "x"], ["--connections", "64,,2"], ["--base", "http://x"], ["--users", "100"]],
    ids=" ".join,
)
def test_a_command_that_makes_no_sense_is_refused_with_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        arguments(words)
    assert left.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_numbers_of_connections_are_given_with_commas():
    assert arguments(["--connections", "8,512,8"]).connections == [8, 512]
    assert arguments([]).connections == [64, 512]
