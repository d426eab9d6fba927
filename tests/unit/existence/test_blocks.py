"""A name always leaves the same marks, and a filter of the stated size has the stated rate."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.existence.blocks import (
    BLOCK_BITS,
    BLOCK_BYTES,
    LANE_BITS,
    LANES,
    Marks,
    blocks_for,
    capacity_for,
    capacity_of,
    place,
)

names = st.text(min_size=1, max_size=255).map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(names, st.integers(1, 1 << 22))
def test_a_name_sets_one_bit_in_each_lane_of_one_block(name: bytes, blocks: int) -> None:
    block, bits = place(name, blocks)
    assert 0 <= block < blocks
    assert bits < 1 << BLOCK_BITS
    lanes = [bits >> LANE_BITS * lane & (1 << LANE_BITS) - 1 for lane in range(LANES)]
    assert [lane.bit_count() for lane in lanes] == [1] * LANES


@given(st.lists(names), st.integers(1, 50))
def test_marks_that_are_gathered_are_those_of_each_name(gathered: list[bytes], blocks: int) -> None:
    """The loop that gathers is `place` unfolded: the two must not drift apart."""
    marks = Marks(blocks)
    marks.take(gathered)
    expected = [0] * blocks
    for name in gathered:
        block, bits = place(name, blocks)
        expected[block] |= bits
    assert marks.blocks == expected
    assert marks.names == len(gathered)


def test_a_full_filter_takes_one_absent_name_of_a_thousand_for_present() -> None:
    """As computed, 0.088 %; 400,000 absent names give 352 of them, give or take 19."""
    marks = Marks(blocks_for(100_000))
    marks.take(b"user-%d@example.org" % number for number in range(capacity_of(len(marks.blocks))))
    asked = (place(b"nobody-%d" % number, len(marks.blocks)) for number in range(400_000))
    wrong = sum(marks.blocks[block] & bits == bits for block, bits in asked)
    assert 0.0006 < wrong / 400_000 < 0.001


def test_ten_million_names_fit_into_twenty_megabytes() -> None:
    assert blocks_for(capacity_for(10_000_000)) * BLOCK_BYTES <= 20_000_000


@given(st.integers(0, 300_000_000))
def test_a_new_filter_has_room_for_names_to_come(count: int) -> None:
    assert capacity_of(blocks_for(capacity_for(count))) > count
