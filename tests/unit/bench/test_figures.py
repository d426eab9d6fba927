"""The figures that a table shows follow from the samples, and a page keeps what is not replaced."""

import pytest
from bench.figures import percentile, put_section, ratio_to_neighbours, spread


def test_the_spread_of_some_samples_is_their_middle_and_their_ends():
    found = spread([3.0, 1.0, 10.0])
    assert (found.median, found.low, found.high) == (3.0, 1.0, 10.0)
    assert found.rounded(1) == "3.0 (1.0-10.0)"
    assert spread([1.0, 2.0]).median == 1.5


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.1, 51), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(percent: float, expected: float):
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_the_only_sample_is_every_percentile():
    assert {percentile([7.0], percent) for percent in (0, 50, 99, 100)} == {7.0}


def test_a_rate_is_divided_by_what_was_measured_on_both_sides():
    assert ratio_to_neighbours(90.0, 80.0, 120.0) == 0.9


def test_a_section_is_put_at_the_end_of_a_page_without_it():
    assert put_section("# Results\n", "Login", "new") == "# Results\n\n## Login\n\nnew\n"
    assert put_section("", "Login", "new") == "## Login\n\nnew\n"


def test_a_section_takes_the_place_of_its_predecessor_and_leaves_the_others():
    page = "# Results\n\n## Login\n\nold\n\n### More\n\nold\n\n## Refresh\n\nkept\n"
    assert put_section(page, "Login", "new\n") == "# Results\n\n## Login\n\nnew\n\n## Refresh\n\nkept\n"
    once = put_section("# Results\n\n## Login\n\nold\n", "Login", "new")
    assert put_section(once, "Login", "new") == once == "# Results\n\n## Login\n\nnew\n"
