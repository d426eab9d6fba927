"""Every request is counted once, under labels that no client can make up."""

import asyncio

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from tidegate.observability import metrics
from tidegate.observability.metrics import RequestCounter


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_success_counts_as_a_request_and_not_as_a_refusal() -> None:
    counter = RequestCounter()
    labels = {"route": "/unit/success", "method": "GET", "status": "200"}
    for _ in range(2):
        counter.count(route="/unit/success", method="GET", status=200, outcome="ok", duration_s=0.003)
    assert value("tidegate_requests_total", **labels) == 2
    assert value("tidegate_request_seconds_count", route="/unit/success") == 2
    assert value("tidegate_request_seconds_bucket", route="/unit/success", le="0.005") == 2
    assert value("tidegate_request_seconds_bucket", route="/unit/success", le="0.0025") == 0
    assert value("tidegate_refused_total", route="/unit/success", reason="ok") == 0


def test_a_refusal_counts_with_its_reason() -> None:
    RequestCounter().count(route="/unit/refusal", method="POST", status=403, outcome="wrong_password", duration_s=0.1)
    assert value("tidegate_refused_total", route="/unit/refusal", reason="wrong_password") == 1
    assert value("tidegate_requests_total", route="/unit/refusal", method="POST", status="403") == 1


def test_a_client_that_is_gone_counts_as_499() -> None:
    RequestCounter().count(route="/unit/gone", method="POST", status=None, outcome="client_gone", duration_s=0.1)
    assert value("tidegate_requests_total", route="/unit/gone", method="POST", status="499") == 1


def test_two_counters_count_into_the_same_place() -> None:
    for _ in range(2):
        RequestCounter().count(route="/unit/two", method="GET", status=200, outcome="ok", duration_s=0.1)
    assert value("tidegate_requests_total", route="/unit/two", method="GET", status="200") == 2


def test_durations_are_told_as_the_library_itself_would_tell_them() -> None:
    """Also those that fall on the edge of a bucket, or beyond the last."""
    durations = [0.0, 0.0004, 0.001, 0.00100001, 0.3, 0.5, 2.5, 9.99, 10.0, 10.01, 600.0]
    registry, counter = CollectorRegistry(), RequestCounter()
    theirs = Histogram("theirs", "One by one.", registry=registry, buckets=metrics._SECONDS)
    for duration_s in durations:
        theirs.observe(duration_s)
        counter.count(route="/unit/durations", method="GET", status=200, outcome="ok", duration_s=duration_s)
    (family,) = registry.collect()
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            name = sample.name.replace("theirs", "tidegate_request_seconds")
            assert value(name, route="/unit/durations", **sample.labels) == pytest.approx(sample.value), sample


def test_while_an_event_loop_runs_requests_are_counted_in_bulk_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_FLUSH_INTERVAL_S", 0.0)

    def counted() -> tuple[float, float]:
        requests = value("tidegate_requests_total", route="/unit/bulk", method="GET", status="403")
        return requests, value("tidegate_refused_total", route="/unit/bulk", reason="wrong_password")

    async def story() -> None:
        counter = RequestCounter()
        for expected in (2, 4):
            for _ in range(2):
                counter.count(route="/unit/bulk", method="GET", status=403, outcome="wrong_password", duration_s=0.1)
            assert counted() == (expected - 2, expected - 2)
            await timers_due()
            assert counted() == (expected, expected)

    asyncio.run(story())


def test_flushing_counts_nothing_twice() -> None:
    async def story() -> None:
        counter = RequestCounter()
        counter.count(route="/unit/once", method="GET", status=404, outcome="unknown_route", duration_s=0.1)
        counter.flush()
        counter.flush()

    asyncio.run(story())
    assert value("tidegate_requests_total", route="/unit/once", method="GET", status="404") == 1
    assert value("tidegate_refused_total", route="/unit/once", reason="unknown_route") == 1
    assert value("tidegate_request_seconds_count", route="/unit/once") == 1


async def timers_due() -> None:
    """Return when every timer that is due by now has run: they run in the order of their times."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, due.set)
    await due.wait()
