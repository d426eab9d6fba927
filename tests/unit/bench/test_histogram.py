"""A latency is kept to within one percent, however large, and rounds add up."""

import msgspec
import pytest
from bench.histogram import Histogram
from hypothesis import given
from hypothesis import strategies as st

latencies_s = st.floats(min_value=1e-6, max_value=600)


@given(latencies_s)
def test_a_sample_is_never_told_smaller_than_it_is_nor_more_than_a_percent_larger(sample_s: float):
    """Except for what is lost below a microsecond."""
    told_ms = Histogram.of([sample_s, 1000.0]).percentile_ms(50)
    assert sample_s * 1000 - 0.001 <= told_ms <= sample_s * 1000 * 1.01


@given(st.lists(latencies_s, min_size=1), st.floats(min_value=0, max_value=100))
def test_a_percentile_is_that_of_the_samples_themselves(samples_s: list[float], percent: float):
    ranked = sorted(samples_s)
    exact_ms = ranked[max(1, -(-int(percent * len(ranked) * 1000) // 100_000)) - 1] * 1000
    assert Histogram.of(samples_s).percentile_ms(percent) == pytest.approx(exact_ms, rel=0.01, abs=0.0011)


@given(st.lists(latencies_s), st.lists(latencies_s))
def test_two_histograms_add_up_to_that_of_all_samples(some: list[float], others: list[float]):
    assert Histogram.of(some) + Histogram.of(others) == Histogram.of(some + others)


def test_the_greatest_sample_is_kept_as_it_was():
    assert Histogram.of([0.1, 1.23456789]).percentile_ms(100) == pytest.approx(1234.56789)


def test_without_samples_everything_is_nought():
    assert (Histogram().percentile_ms(99), Histogram().mean_ms, Histogram().total) == (0.0, 0.0, 0)


def test_a_histogram_survives_json():
    histogram = Histogram.of([0.001, 0.002, 3.0])
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram
