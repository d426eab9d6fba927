"""The figures that a table shows follow from the samples."""

import pytest
from bench.figures import Figure, quotient, ratio_to_neighbours, spread


def test_the_spread_of_some_samples_is_their_middle_and_their_ends():
    found = spread([3.0, 1.0, 10.0])
    assert (found.median, found.low, found.high) == (3.0, 1.0, 10.0)
    assert found.rounded(1) == "3.0 (1.0-10.0)"
    assert spread([1.0, 2.0]).median == 1.5


def test_a_rate_is_divided_by_what_was_measured_on_both_sides():
    assert ratio_to_neighbours(90.0, 80.0, 120.0) == 0.9


def test_by_nothing_nothing_comes():
    assert (quotient(3, 2), quotient(3, 0)) == (1.5, 0.0)


@pytest.mark.parametrize(
    ("bounds", "median", "told"),
    [
        ({"at_least": 0.92}, 0.92, ("at least 0.92", "pass")),
        ({"at_least": 0.92}, 0.91, ("at least 0.92", "short")),
        ({"at_most": 20.0}, 20.0, ("at most 20", "pass")),
        ({"at_most": 20.0}, 20.1, ("at most 20", "short")),
        ({}, 7.0, ("", "")),
    ],
)
def test_a_figure_says_whether_its_median_is_what_was_asked_for(bounds, median, told):
    figure = Figure(text="x", spread=spread([0.0, median, 1000.0]), **bounds)
    assert (figure.bound, figure.verdict) == told
