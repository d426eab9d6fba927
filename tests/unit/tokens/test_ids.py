"""User ids are random; session ids are ordered by time."""

from uuid import RFC_4122, UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.tokens.ids import RandomIds


def test_a_session_id_is_the_example_of_rfc_9562():
    """Appendix A.6: 2022-02-22T19:22:22Z, rand_a CC3, rand_b 18C4DC0C0C07398F."""
    random = (0xCC3 << 62 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    ids = RandomIds(now=lambda: 1645557742.0, random_octets=lambda _: random)
    assert ids.session_id() == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@settings(deadline=None)
@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_every_session_id_is_a_uuid_of_version_7(milliseconds: int, random: bytes):
    found = RandomIds(now=lambda: (milliseconds + 0.5) / 1000, random_octets=lambda _: random).session_id()
    assert (found.version, found.variant) == (7, RFC_4122)
    assert abs((found.int >> 80) - milliseconds) <= 1  # a float of 2^48 ms rounds


def test_session_ids_of_later_milliseconds_sort_later():
    clock = iter(n / 1000 for n in range(1_800_000_000_000, 1_800_000_000_100))
    ids = RandomIds(now=lambda: next(clock))
    made = [ids.session_id() for _ in range(100)]
    assert made == sorted(made)


def test_a_user_id_is_a_uuid_of_version_4_and_tells_no_time():
    ids = RandomIds(now=lambda: 0.0)
    found = {ids.user_id() for _ in range(100)}
    assert len(found) == 100
    assert {(user_id.version, user_id.variant) for user_id in found} == {(4, RFC_4122)}
    assert RandomIds(random_octets=lambda n: b"\xff" * n).user_id() == UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")
