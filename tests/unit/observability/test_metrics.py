"""Every request is counted once, under labels that no client can make up."""

from prometheus_client import REGISTRY

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
