"""The bench of the existence filter measures looks that find nobody, in filters of the size it says."""

from bench.existence import filled, look_cost

from tidegate.domain.users import IdentifierKind, LoginIdentifier


def test_a_filled_filter_decides_and_has_every_name() -> None:
    with filled(1_000) as made:
        assert made.existence.decides
        assert made.names == 1_000
        assert made.resident_bytes >= made.filter_bytes > 1_000
        assert made.marked_per_cpu_s > 0
        for name in ("user-0@example.org", "user-999@example.org"):
            assert not made.existence.lacks(LoginIdentifier(IdentifierKind.EMAIL, name))


def test_the_cost_of_a_look_is_that_of_names_that_are_absent() -> None:
    with filled(100) as few, filled(3_000) as many:
        cost = look_cost(few, many, rounds=3, looks=200)
    assert cost.us_in_few > 0
    assert cost.ratio > 0
    assert cost.mistaken_share < 0.01, "nearly all of them"
