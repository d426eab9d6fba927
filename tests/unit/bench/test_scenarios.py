"""The figures of a scenario are quotients of neighbours, and its search finds the highest rate."""

import math
from collections.abc import Sequence

import pytest
from bench.figures import Figure
from bench.histogram import Histogram
from bench.node import OURS
from bench.orders import StreamMeasured
from bench.scenarios import scenarios
from bench.scenarios.compared import Compared
from bench.scenarios.existence import Existence
from bench.scenarios.logins import Logins
from bench.scenarios.mixed import SHARES, Mixed, highest
from bench.scenarios.scenario import in_turn
from bench.scenarios.storm import PEAK, STORM, Storm
from bench.turns import Look, Raw, Round, Window
from hypothesis import given
from hypothesis import strategies as st

GO = "go-seed"


def a_stream(good: int, *, asked: int | None = None, good_ms: float = 5.0, refused_ms: float = 7.0) -> StreamMeasured:
    return StreamMeasured(
        asked=good if asked is None else asked,
        unanswered=0,
        by_status={"200": good, "503": 4},
        good=Histogram.of([good_ms / 1000]),
        refused=Histogram.of([refused_ms / 1000]),
        lateness=Histogram.of([0.001]),
    )


def a_window(service: str, streams: dict[str, StreamMeasured], *, label: str = "", rate: float | None = None) -> Window:
    return Window(
        service=service,
        label=label,
        connections=64,
        asked_per_s=rate,
        seconds=10.0,
        streams=streams,
        good_status=dict.fromkeys(streams, 200),
        cpu_s={"node": 18.0, "hashing": 17.0, "postgres": 1.0, "driver": 0.5},
        elsewhere_cores=0.1,
        pss_mib=150.0,
        rss_mib=300.0,
    )


def raw(hashes_per_s: float, cpu_ms_each: float = 7.0) -> Raw:
    return Raw(hashes_per_s=hashes_per_s, cpu_ms_each=cpu_ms_each, elsewhere_cores=0.2)


def by_text(figures: Sequence[Figure]) -> dict[str, Figure]:
    return {figure.text: figure for figure in figures}


def test_logins_are_divided_by_the_hashes_just_before_and_after_them_and_by_the_peers():
    scenario = Logins(connections=64, bounds={GO: 2.0, "absent": 9.0}, has_memory=True)
    rounds: list[Round] = [
        [raw(100), a_window(OURS, {"login": a_stream(900)}), raw(140), a_window(GO, {"login": a_stream(600)})],
        [raw(100), a_window(OURS, {"login": a_stream(1000)}), raw(100), a_window(GO, {"login": a_stream(250)})],
        [raw(100), a_window(OURS, {"login": a_stream(500)}), raw(100), a_window(GO, {"login": a_stream(200)})],
    ]
    found = by_text(scenario.figures(rounds))
    of_raw = found["logins/s ÷ raw hashes/s, 64 connections"]
    assert (of_raw.spread.median, of_raw.at_least) == (0.75, 0.92)
    assert found["logins/s over 64 connections ÷ go-seed's"].spread.median == 2.5
    assert found["memory of the node at 64 connections (PSS)"].spread.median == 150.0
    assert not any("absent" in text for text in found)


def test_what_a_login_costs_beside_its_hash_is_told_in_two_ways():
    """900 logins and 4 refusals: 18 s of the node, 17 s of them by threads that hash; a bare hash takes 7 and 9 ms."""
    rounds: list[Round] = [[raw(100, 7.0), a_window(OURS, {"login": a_stream(900)}), raw(100, 9.0)]]
    found = by_text(Logins(connections=64).figures(rounds))
    threads = found["CPU of the node beside the hash threads per login, 64 connections"]
    less = found["CPU of the node less that of a bare hash per login, 64 connections"]
    assert threads.spread.median == pytest.approx(1000 / 900)
    assert less.spread.median == pytest.approx(18_000 / 900 - 8)
    share = found["a bare hash's share of all CPU time per login, 64 connections"]
    assert share.spread.median == pytest.approx(8 * 904 / 19_500)


def test_a_call_is_compared_round_by_round():
    scenario = Compared(name="me", title="GET /me", call="me", bounds={GO: 1.5, "absent": 1.0})
    rounds: list[Round] = [
        [a_window(OURS, {"me": a_stream(300)}), a_window(GO, {"me": a_stream(100)})],
        [a_window(GO, {"me": a_stream(400)}), a_window(OURS, {"me": a_stream(400)})],
        [a_window(OURS, {"me": a_stream(100)}), a_window(GO, {"me": a_stream(50)})],
    ]
    found = by_text(scenario.figures(rounds))
    assert found["GET /me ÷ go-seed's"].spread.median == 2.0
    assert found["GET /me"].spread.median == 30.0
    assert found["GET /me ÷ go-seed's, by CPU time"].spread.median == pytest.approx(304 / 104, rel=0.7)
    assert not any("absent" in text for text in found)


def mixed_window(service: str, rate: float, *, me_ms: float = 5.0, served: float = 1.0) -> Window:
    streams = {call: a_stream(round(share * 1000), good_ms=me_ms) for call, share in SHARES.items()}
    streams["login"] = a_stream(round(40 * served), asked=40)
    return a_window(service, streams, label=f"{rate:.0f}/s", rate=rate)


def test_the_highest_rate_is_of_those_that_were_kept_up():
    """At 900/s it is slow, at 800/s it refuses its logins."""
    rounds: list[Round] = [
        [
            mixed_window(OURS, 600),
            mixed_window(OURS, 900, me_ms=26.0),
            mixed_window(OURS, 800, served=0.9),
            mixed_window(GO, 400),
            mixed_window(GO, 500, me_ms=30.0),
        ]
    ]
    found = by_text(Mixed().figures(rounds))
    assert found[f"{Mixed().title}: highest rate"].spread.median == 600
    assert found[f"{Mixed().title} ÷ go-seed's"].spread.median == 1.5


@given(st.floats(min_value=2, max_value=100_000), st.floats(min_value=2, max_value=5_000))
def test_the_search_ends_just_below_where_it_stops_being_good(limit: float, first: float):
    tried: list[float] = []

    def is_good(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = highest(is_good, first=first, precision=1.05)
    assert found <= limit < found * 1.05 * 1.0001
    assert len(tried) <= 2 * abs(math.log2(limit / first)) + 8


def test_a_search_where_nothing_is_good_ends_too():
    assert highest(lambda rate: False, first=500, precision=1.05) == 0.0


def test_a_storm_is_measured_by_its_peak():
    streams = {"login": a_stream(1080, refused_ms=12.0), "me": a_stream(1000), "refresh": a_stream(990, good_ms=16.0)}
    rounds: list[Round] = [
        [
            a_window(OURS, {"login": a_stream(1200)}, label=PEAK),
            a_window(OURS, streams, label=STORM, rate=1400.0),
        ]
    ]
    found = by_text(Storm(seconds=60).figures(rounds))
    assert found["storm: good logins/s ÷ the peak"].spread.median == 0.9
    assert found["storm: p99 of a refusal"].verdict == "pass"
    assert found["storm: p99 of /me at 100/s"].verdict == "pass"
    assert found["storm: p99 of /refresh at 100/s"].verdict == "short"


def test_every_other_round_goes_backwards():
    assert (in_turn(["a", "b"], 0), in_turn(["a", "b"], 1)) == (["a", "b"], ["b", "a"])


def test_every_scenario_has_a_name_of_its_own():
    names = [each.name for each in scenarios(storm_s=60)]
    assert len(set(names)) == len(names)


def test_a_look_among_many_names_is_compared_with_one_among_few():
    look = Look(us_in_few=1.0, us_in_many=1.2, ratio=1.25, mistaken_share=0.0011, filter_bytes=19_500_000)
    found = by_text(Existence().figures([[look]]))
    assert found[Existence().title].verdict == "pass"
    assert found["the filter of 10 million names"].spread.median == 19.5
    assert found["absent names taken for present ones"].verdict == "short"
