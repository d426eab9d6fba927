"""What campaigns cost is told by neighbours in time, and a coupon's delay by its place in the line."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from bench.campaign.beside import OPEN, SOLD_OUT
from bench.campaign.cheap_profile import CHEAP
from bench.campaign.command import arguments, campaign_page
from bench.campaign.crowds import ENTRANT, PLAIN, dialect_of, environment, name_of
from bench.campaign.granting import Granting
from bench.campaign.looking import Happened, Look, counts_by, delays_by_rows, delays_seen, issued_by
from bench.campaign.plot import draw, rates_of
from bench.campaign.storm import Storm, granted_of
from bench.figures import Figure
from bench.histogram import Histogram
from bench.turns import Granted, Round, Window

from tests.unit.bench.test_many import results
from tests.unit.bench.test_scenarios import a_stream, a_window, by_text, raw
from tidegate.config import declared
from tidegate.passwords.profiles import PROFILES

FOUND = Happened(first_logins=[100.0, 100.5, 101.0, 102.0], won=[100.0, 100.5, 101.0], granted=[100.25, 101.0, 101.25])
LOOKS = [Look(99.9, 0), Look(100.1, 0), Look(100.5, 1), Look(101.5, 3), Look(102.0, 3)]


def middle(figures: list[Figure], text: str) -> float:
    return by_text(figures)[text].spread.median


def test_by_the_rows_a_delay_ends_when_the_granting_transaction_begins():
    delays = delays_by_rows(FOUND)
    assert delays.total == 3
    assert delays.percentile_ms(50) == pytest.approx(250, rel=0.01)
    assert delays.percentile_ms(100) == pytest.approx(500, rel=0.01)


def test_what_is_seen_is_the_first_look_at_which_as_many_coupons_are_out_as_the_place_says():
    delays = delays_seen(FOUND, LOOKS)
    assert delays.total == 3
    assert sorted(delays.counts.values()) == [1, 2]  # 0.5 s, 1.0 s and 0.5 s
    assert delays.percentile_ms(100) == pytest.approx(1000, rel=0.01)


def test_a_coupon_that_no_look_saw_is_left_out():
    assert delays_seen(FOUND, LOOKS[:3]).total == 1
    assert delays_seen(FOUND, []).total == 0


def test_the_lines_of_the_plot_begin_with_the_first_login():
    assert counts_by(FOUND.first_logins, start_s=100.0, steps=6, step_s=0.5) == [1, 2, 3, 3, 4, 4]
    assert issued_by(LOOKS, start_s=100.0, steps=6, step_s=0.5) == [0, 1, 1, 3, 3, 3]
    assert issued_by(LOOKS, start_s=99.0, steps=1) == [0]  # nobody had looked yet


def test_a_rate_is_that_of_the_last_second_or_of_as_long_as_there_is():
    assert rates_of([0, 10, 20, 40, 40], step_s=0.5) == [0.0, 20.0, 20.0, 30.0, 20.0]
    assert rates_of([], step_s=0.5) == []


def test_a_storm_lasts_from_the_first_login_to_the_last_coupon_that_was_seen():
    storm = granted_of(FOUND, LOOKS, cap=3, eligible=5, workers=1)
    assert (storm.granted, storm.seconds, storm.per_s) == (3, 1.5, 2.0)
    assert storm.first_logins[-1] == 4
    assert storm.grants[-1] == 3
    assert len(storm.first_logins) == len(storm.grants)


def a_pair(name: str, plain: int, entrant: int, **cpu_s: float) -> Round:
    return [
        a_window(PLAIN, {"login": a_stream(plain, good_ms=4.0)}, label=name),
        msgspec.structs.replace(
            window := a_window(ENTRANT, {"login": a_stream(entrant, good_ms=5.0)}, label=name), cpu_s=window.cpu_s | cpu_s
        ),
    ]


def test_sold_out_is_judged_by_the_median_of_the_quotients_of_neighbours():
    rounds = [
        a_pair("sold-out", 1000, 990) + a_pair("sold-out", 2000, 1000),
        list(reversed(a_pair("sold-out", 500, 490))),
    ]
    figure = by_text(SOLD_OUT.figures(rounds))["logins/s, sold out ÷ no campaign"]
    assert (figure.spread.median, figure.spread.low, figure.spread.high) == (0.98, 0.5, 0.99)
    assert (figure.at_least, figure.verdict) == (0.98, "pass")


def test_by_cpu_time_the_worker_counts_and_the_hash_threads_count_once():
    pair = a_pair("sold-out", 996, 996, background=0.5)  # 19.5 s beside 20.0 s, of as many answers
    figures = SOLD_OUT.figures([pair])
    assert middle(figures, "logins a CPU second of all parts, sold out ÷ no campaign") == pytest.approx(19.5 / 20.0)


def test_an_open_campaign_is_judged_by_the_latency_of_its_neighbour():
    figures = OPEN.figures([a_pair("open", 100, 100), a_pair("open", 100, 100)])
    assert middle(figures, "login latency p50, open campaign ÷ none") == pytest.approx(1.25, rel=0.02)
    assert middle(figures, "login latency p99, no campaign") == pytest.approx(4.0, rel=0.02)


def granted(workers: int, seconds: float) -> Granted:
    return Granted(
        workers=workers, eligible=1000, cap=1000, granted=1000, seconds=seconds, cpu_s={"worker": 0.06, "postgres": 0.1}
    )


def test_coupons_are_told_by_the_number_of_workers_with_what_each_cost():
    figures = Granting().figures([[granted(1, 0.5), granted(2, 0.25)]])
    assert middle(figures, "coupons of 1 worker, 1000 in line") == 2000
    assert middle(figures, "coupons of 2 workers, 1000 in line") == 4000
    assert middle(figures, "coupons of 1 worker, 1000 in line: CPU of postgres") == pytest.approx(100)


def a_storm(asked: Histogram) -> Round:
    window: Window = a_window(ENTRANT, {"login": a_stream(40)}, label="storm")
    storm = msgspec.structs.replace(granted_of(FOUND, LOOKS, cap=3, eligible=5, workers=1), asked=asked)
    return [raw(70_000, 0.025), window, storm]


def test_what_clients_saw_is_told_where_they_could_ask():
    text = "storm: first login to coupon until clients who ask every 50 ms see it, p50"
    assert text not in by_text(Storm().figures([a_storm(Histogram())]))
    assert middle(Storm().figures([a_storm(Histogram.of([0.3]))]), text) == pytest.approx(300, rel=0.01)


def test_the_page_tells_of_the_storm_with_its_plot(tmp_path: Path):
    found = results(storm=[a_storm(Histogram())])
    drawn = draw(found, tmp_path / "campaign.png")
    told = campaign_page(found, drawn)
    assert "| a hash of the bench: CPU |  | 25.0 (25.0-25.0) us each |  |" in told
    assert "| storm (5 eligible, 3 coupons): logins |  | 4 (4-4) a second |  |" in told
    assert "![campaign](results/campaign.png)" in told
    assert drawn[0].stat().st_size > 10_000
    assert draw(results(), tmp_path / "none.png") == []


def test_what_is_no_question_is_refused_by_name(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        arguments(["storm", "weather"])
    assert "there is no question weather; there are storm, sold-out, open, grants" in capsys.readouterr().err


def test_users_are_named_as_the_driver_calls_them():
    assert name_of(ENTRANT, 12) == "entrant0000012"
    assert dialect_of(ENTRANT).login.body.startswith("username=entrant{number}&")


def test_no_installation_knows_the_cheap_profile():
    assert CHEAP.name not in PROFILES
    (profile,) = (each for each in declared() if each.name == "hash_profile")
    assert CHEAP.name not in (profile.meaning.choices or ())


def test_a_process_of_the_bench_does():
    code = "from tidegate.config import declared; print(next(each for each in declared() if each.name == 'hash_profile'))"
    python_path = os.pathsep.join(filter(None, [environment()["PYTHONPATH"], *sys.path]))
    told = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert CHEAP.name in told.stdout
