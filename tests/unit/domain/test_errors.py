"""Refusals hold what the edge needs to tell, and faults are told together."""

import pytest

from tidegate.domain.errors import FaultCollector, FieldFault, IdentifierTaken, InvalidRequest, MalformedRequest


def fail(*reasons: str) -> None:
    raise InvalidRequest(*(FieldFault("field", reason) for reason in reasons))


def test_faults_are_raised_together_in_the_order_they_were_found() -> None:
    faults = FaultCollector()
    assert faults.collect(str, 7) == "7"
    assert faults.collect(fail, "a", "b") is None
    faults.add("other", "c")
    with pytest.raises(InvalidRequest) as refused:
        faults.raise_if_any()
    assert [str(fault) for fault in refused.value.faults] == ["field=a", "field=b", "other=c"]


def test_without_a_fault_nothing_is_raised() -> None:
    FaultCollector().raise_if_any()


def test_another_exception_is_a_bug_and_not_collected() -> None:
    with pytest.raises(ZeroDivisionError):
        FaultCollector().collect(lambda: 1 // 0)


@pytest.mark.parametrize("kind", [IdentifierTaken, MalformedRequest])
def test_a_kind_of_invalid_request_is_collected_too(kind: type[InvalidRequest]) -> None:
    def taken() -> None:
        raise kind(FieldFault("username", "taken"))

    faults = FaultCollector()
    faults.collect(taken)
    with pytest.raises(InvalidRequest):
        faults.raise_if_any()
