"""What counts, and from when: the driver's own waiting must not make a server look fast."""

from time import monotonic

from bench.driver.tally import Tally


def a_window(*, is_open: bool, length_s: float = 10.0) -> tuple[Tally, float]:
    tally, now = Tally(good=200, is_open=is_open), monotonic()
    tally.begin(now, now + length_s)
    return tally, now


def test_in_an_open_loop_a_latency_counts_from_when_the_request_was_due():
    tally, now = a_window(is_open=True)
    tally.asked(now + 1, late_s=0.25)
    tally.answered(b"200", now + 1, now + 3)
    measured = tally.measured([])
    assert (measured.asked, measured.by_status) == (1, {"200": 1})
    assert measured.good.percentile_ms(100) == 2000
    assert measured.lateness.percentile_ms(100) == 250


def test_an_open_loop_counts_what_was_due_in_the_window_whenever_it_is_answered():
    tally, now = a_window(is_open=True)
    tally.asked(now + 9, late_s=0)
    assert tally.answered(b"200", now + 9, now + 12)
    measured = tally.measured([])
    assert measured.by_status == {}
    assert measured.good.total == 1
    tally.answered(b"200", now - 1, now + 1)  # due in the warm-up
    assert tally.measured([]).good.total == 1


def test_who_still_waits_at_the_end_of_an_open_loop_is_not_left_out():
    """A server that answers every other request at once and the rest never would else seem to be quick."""
    tally, now = a_window(is_open=True)
    measured = tally.measured([now, now - 5, now + 11])
    assert measured.unanswered == 1
    assert measured.good.total == 1


def test_a_closed_loop_counts_what_is_answered_in_the_window():
    tally, now = a_window(is_open=False)
    tally.answered(b"200", now - 3, now + 1)
    tally.answered(b"200", now + 9, now + 11)
    measured = tally.measured([now])
    assert measured.by_status == {"200": 1}
    assert (measured.good.total, measured.good.percentile_ms(100)) == (1, 4000)


def test_refusals_are_timed_apart_and_other_answers_not_at_all():
    tally, now = a_window(is_open=False)
    assert not tally.answered(b"503", now, now + 1)
    assert not tally.answered(b"429", now, now + 1)
    assert not tally.answered(b"403", now, now + 1)
    measured = tally.measured([])
    assert measured.by_status == {"403": 1, "429": 1, "503": 1}
    assert (measured.refused.total, measured.good.total) == (2, 0)


def test_nothing_counts_before_the_window():
    tally = Tally(good=200, is_open=False)
    tally.asked(monotonic(), 0.0)
    tally.answered(b"200", monotonic(), monotonic())
    tally.lost()
    measured = tally.measured([])
    assert (measured.asked, measured.by_status, measured.good.total) == (0, {}, 0)
