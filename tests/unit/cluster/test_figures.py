"""What a node counts becomes what people want to know: how many a second, and how long."""

import pytest

from tidegate.cluster.figures import Counted, pace, read_metrics

METRICS = """\
# HELP tidegate_requests_total Requests answered.
# TYPE tidegate_requests_total counter
tidegate_requests_total{method="POST",route="/login",status="200"} 90.0
tidegate_requests_total{method="POST",route="/login",status="403"} 6.0
tidegate_requests_total{method="GET",route="/me",status="200"} 4.0
tidegate_requests_total{method="GET",route="/health/ready",status="200"} 5000.0
tidegate_request_seconds_bucket{le="0.1",route="/login"} 95.0
tidegate_request_seconds_bucket{le="0.25",route="/login"} 96.0
tidegate_request_seconds_bucket{le="+Inf",route="/login"} 96.0
tidegate_request_seconds_bucket{le="0.1",route="/me"} 4.0
tidegate_request_seconds_bucket{le="0.25",route="/me"} 4.0
tidegate_request_seconds_bucket{le="+Inf",route="/me"} 4.0
tidegate_request_seconds_bucket{le="0.1",route="/health/ready"} 0.0
tidegate_request_seconds_bucket{le="+Inf",route="/health/ready"} 5000.0
tidegate_hash_waiting{lane="login"} 3.0
tidegate_hash_waiting{lane="register"} 2.0
"""


def test_the_balancers_own_questions_are_not_counted() -> None:
    """Four a second and node, each quick: they would drown what people ask."""
    counted = read_metrics(METRICS)
    assert counted.requests == 100
    assert counted.logins == 90
    assert counted.up_to == {0.1: 99, 0.25: 100, float("inf"): 100}
    assert counted.hashes_waiting == 5


def test_what_is_no_metric_of_ours_is_passed_over() -> None:
    assert read_metrics("<html>502</html>") == Counted()


def test_rates_are_of_the_time_between_two_readings() -> None:
    before = Counted(requests=100, logins=10)
    found = pace(before, Counted(requests=150, logins=30, hashes_waiting=7), 2.0)
    assert (found.requests_per_s, found.logins_per_s, found.hashes_waiting) == (25, 10, 7)


def test_a_node_that_was_started_again_began_at_zero() -> None:
    found = pace(Counted(requests=9_000, logins=8_000), Counted(requests=20, logins=10), 1.0)
    assert (found.requests_per_s, found.logins_per_s) == (20, 10)


@pytest.mark.parametrize(
    ("up_to", "p99_ms"),
    [
        ({}, None),
        ({0.1: 0, float("inf"): 0}, None),
        ({0.1: 100, float("inf"): 100}, 99.0),  # within 0 to 100 ms, spread evenly
        ({0.1: 90, 0.2: 100, float("inf"): 100}, 190.0),
        ({0.1: 50, 0.2: 50, float("inf"): 100}, 200.0),  # beyond the last bound nothing is known
    ],
)
def test_the_99th_of_100_is_found_as_finely_as_the_buckets_tell(up_to: dict[float, float], p99_ms: float | None) -> None:
    assert pace(Counted(), Counted(requests=100, up_to=up_to), 1.0).p99_ms == pytest.approx(p99_ms)


def test_only_requests_since_the_last_reading_make_the_99th() -> None:
    before = Counted(requests=1_000, up_to={0.1: 0, float("inf"): 1_000})
    now = Counted(requests=1_100, up_to={0.1: 100, float("inf"): 1_100})
    assert pace(before, now, 1.0).p99_ms == pytest.approx(99.0)
