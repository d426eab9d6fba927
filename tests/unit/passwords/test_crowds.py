"""What becomes of a crowd at the hash pool: promise P11, on a clock in hand. The real thing is for the benchmarks."""

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.passwords.crowds import Crowd, Seen, a_scheduler
from tidegate.domain.lanes import Lane
from tidegate.passwords.scheduler import TURN

HASH_S = 0.01
PEAK_PER_S = 2 / (1.6 * HASH_S)
"""Of one thread with two hashes in turn at all times."""


def late_share(seen: Seen, *, after_s: float) -> float:
    """Of those who were refused, how many were not told within *after_s*."""
    return sum(1 for after in seen.refused_after_s if after > after_s) / max(1, len(seen.refused_after_s))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_times_too_many_cost_no_throughput_and_hear_it_at_once(seed: int) -> None:
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    seen = Crowd(scheduler, {Lane.LOGIN: 10 * PEAK_PER_S}, hash_s=HASH_S, seed=seed).run(seconds=60)[Lane.LOGIN]
    assert len(seen.served_after_s) / 60 >= 0.95 * PEAK_PER_S
    assert late_share(seen, after_s=0.02) < 0.01
    # The first of them filled the queue; whoever came later waited a tenth of the longest wait.
    assert median(seen.served_after_s) < 1.2
    assert max(seen.served_after_s) < 10.1


def test_a_crowd_that_can_be_served_is_served_in_the_order_it_came() -> None:
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    seen = Crowd(scheduler, {Lane.LOGIN: 0.9 * PEAK_PER_S}, hash_s=HASH_S).run(seconds=60)[Lane.LOGIN]
    assert seen.refused_after_s == []
    assert max(seen.served_after_s) < 1


def test_known_devices_do_not_notice_a_crowd_of_unknown_ones() -> None:
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    crowd = {Lane.KNOWN_DEVICE: 0.5 * PEAK_PER_S, Lane.LOGIN: 10 * PEAK_PER_S}
    seen = Crowd(scheduler, crowd, hash_s=HASH_S).run(seconds=60)
    assert seen[Lane.KNOWN_DEVICE].refused_after_s == []
    assert max(seen[Lane.KNOWN_DEVICE].served_after_s) < 0.2
    served = len(seen[Lane.KNOWN_DEVICE].served_after_s) + len(seen[Lane.LOGIN].served_after_s)
    assert served / 60 >= 0.95 * PEAK_PER_S
    assert late_share(seen[Lane.LOGIN], after_s=0.02) < 0.01


def test_registrations_get_their_share_while_logins_come_in_crowds() -> None:
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    crowd = {Lane.LOGIN: 10 * PEAK_PER_S, Lane.REGISTER: PEAK_PER_S}
    seen = Crowd(scheduler, crowd, hash_s=HASH_S).run(seconds=60)
    assert len(seen[Lane.REGISTER].served_after_s) / 60 >= 0.11 * PEAK_PER_S
    assert late_share(seen[Lane.REGISTER], after_s=0.02) < 0.02


def test_when_hashes_turn_slow_the_pool_is_itself_again_soon_after() -> None:
    """A neighbour takes the cores for ten seconds: whoever came in good faith is late, and then it is over."""
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    crowd = Crowd(scheduler, {Lane.LOGIN: 0.9 * PEAK_PER_S}, hash_s=HASH_S, slowed=lambda now: 5 if 10 < now < 20 else 1)
    seen = crowd.run(seconds=60)[Lane.LOGIN]
    possible = PEAK_PER_S * (0.9 * 10 + 0.2 * 10 + 40)
    assert len(seen.served_after_s) >= 0.85 * possible
    assert median(seen.served_after_s[-500:]) < 0.1


@pytest.mark.parametrize("patience_s", [0.05, 0.5, 3])
def test_a_crowd_that_hangs_up_keeps_no_core_busy_for_nobody(patience_s: float) -> None:
    scheduler = a_scheduler(queue_max=1024, hash_s=HASH_S)
    crowd = Crowd(scheduler, {Lane.LOGIN: 10 * PEAK_PER_S}, hash_s=HASH_S, patience_s=patience_s)
    seen = crowd.run(seconds=60)[Lane.LOGIN]
    assert seen.in_vain == 0
    assert seen.left > 0
    assert len(seen.served_after_s) / 60 >= 0.9 * PEAK_PER_S


@given(
    threads=st.integers(1, 4),
    in_turn_max=st.sampled_from([1, 2]),
    queue_max=st.integers(64, 2_000),
    wait_s_max=st.floats(2, 5),
    hash_s=st.floats(0.04, 0.06),
    overload=st.floats(3, 10),
    lanes=st.sets(st.sampled_from([lane for lane in Lane if lane is not Lane.REHASH]), min_size=1),
    patience_s=st.sampled_from([None, None, 0.5, 1.5]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_whatever_the_crowd_and_the_node_are_like_p11_holds(
    *,
    threads: int,
    in_turn_max: int,
    queue_max: int,
    wait_s_max: float,
    hash_s: float,
    overload: float,
    lanes: set[Lane],
    patience_s: float | None,
    seed: int,
) -> None:
    """Goodput, no wait over the longest, refusals at once, and no lane starved, though each wants more than its share."""
    scheduler = a_scheduler(
        threads=threads, queue_max=queue_max, wait_s_max=wait_s_max, in_turn_max=in_turn_max, hash_s=hash_s
    )
    peak_per_s = threads / hash_s / (0.8 if in_turn_max == 2 else 1)
    arrivals_per_s = dict.fromkeys(lanes, overload * peak_per_s / len(lanes))
    crowd = Crowd(scheduler, arrivals_per_s, hash_s=hash_s, patience_s=patience_s, seed=seed)
    came_up_s, stays_s = 2 * wait_s_max, 6 * wait_s_max
    crowd.run(seconds=came_up_s)
    crowd.look_anew()
    seen = crowd.run(seconds=came_up_s + stays_s)

    refused_after_s = [after_s for lane in lanes for after_s in seen[lane].refused_after_s]
    # Where people hang up, the next to leave may give way to who has just come.
    assert patience_s or sum(after_s > 0.02 for after_s in refused_after_s) <= 0.1 * len(refused_after_s)
    served = sum(len(seen[lane].served_after_s) for lane in lanes)
    # A hash is begun for some who hang up before it is done, more of them where a better lane keeps theirs waiting.
    assert served >= (0.75 if patience_s else 0.9) * peak_per_s * stays_s
    for lane in lanes:
        assert max(seen[lane].started_after_s) <= wait_s_max
        assert max(seen[lane].refused_after_s, default=0) <= wait_s_max + hash_s
        assert len(seen[lane].served_after_s) >= 0.5 * served / (TURN * len(lanes))
