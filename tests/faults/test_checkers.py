"""Each checker of users and of runs on histories made by hand: what it must find, and what it must not take for a proof."""

from collections.abc import Callable
from dataclasses import replace

from tests.faults import checkers
from tests.faults.history import Done, Effect, FaultSpan, History, Jobs, Kind, Outcome, Put, Window
from tests.faults.stories import GRACE_S, Story, found_by


class TestAckedPresent:
    def test_an_acknowledged_registration_that_is_not_there_is_lost(self):
        story = Story()
        story.register(0)
        story.look_up(100, 404)
        assert found_by(checkers.acked_present, story) == ["an acknowledged registration is lost"]

    def test_what_is_there_is_well_and_so_is_what_was_never_acknowledged(self):
        for status, there in ((200, 200), (None, 404), (503, 404), (400, 404), (None, 200)):
            story = Story()
            story.register(0, status)
            story.look_up(100, there)
            assert found_by(checkers.acked_present, story) == []

    def test_what_nobody_has_looked_up_is_not_proven(self):
        story = Story()
        story.register(0)
        assert len(found_by(checkers.acked_present, story)) == 1

    def test_an_acknowledged_profile_stands_or_a_later_one_does(self):
        for stands, is_well in (("b", True), ("a", False), (None, False), ("c", True)):
            story = Story()
            story.call(Kind.CHANGE_PROFILE, 0, session="s", wish="a")
            story.call(Kind.CHANGE_PROFILE, 2, session="s", wish="b")
            story.call(Kind.CHANGE_PROFILE, 4, None, session="s", wish="c")  # may have come, may not
            story.look_up(100, 200, wish=stands)
            assert (found_by(checkers.acked_present, story) == []) is is_well


class TestNoFalse404:
    def test_who_was_told_that_they_are_registered_is_known_at_once(self):
        story = Story()
        story.register(0)
        story.login(1.5, status=404)
        assert found_by(checkers.no_false_404, story) == ["a registered user was told 404"]

    def test_a_login_proves_it_where_the_registration_went_unanswered(self):
        story = Story()
        story.register(0, None)
        story.login(2, status=404)  # not yet proven: the registration may come late
        assert found_by(checkers.no_false_404, story) == []
        story.login(4)
        story.login(6, status=404)
        assert len(found_by(checkers.no_false_404, story)) == 1

    def test_a_login_that_began_before_the_acknowledgement_may_be_told_404(self):
        story = Story()
        story.register(0)
        story.login(0.5, status=404)
        assert found_by(checkers.no_false_404, story) == []

    def test_who_was_lost_is_not_told_404_falsely(self):
        story = Story()
        story.register(0)
        story.login(2, status=404)
        story.look_up(100, 404)
        assert found_by(checkers.no_false_404, story) == []

    def test_the_right_password_is_not_refused(self):
        story = Story()
        story.register(0)
        story.login(2, status=403)
        assert found_by(checkers.no_false_404, story) == ["the right password was refused"]

    def test_a_password_that_may_have_been_changed_may_be_refused(self):
        for status in (200, None, 503):
            story = Story()
            story.register(0)
            story.change(2, 0, 1, status)
            story.login(4, 0, 403)
            assert found_by(checkers.no_false_404, story) == []

    def test_a_change_that_was_refused_has_changed_nothing(self):
        story = Story()
        story.register(0)
        story.change(2, 0, 1, 403)
        story.login(4, 0, 403)
        assert len(found_by(checkers.no_false_404, story)) == 1

    def test_who_may_be_disabled_may_be_refused_until_they_are_enabled(self):
        story = Story()
        story.register(0)
        story.call(Kind.DISABLE, 2, None)
        story.login(4, status=403)
        assert found_by(checkers.no_false_404, story) == []
        story.call(Kind.ENABLE, 6)
        story.login(8, status=403)
        assert len(found_by(checkers.no_false_404, story)) == 1

    def test_a_live_access_token_is_not_refused(self):
        story = Story()
        story.login(0, opens="s")
        story.me(2, 401)
        assert found_by(checkers.no_false_404, story) == ["a live access token was refused"]

    def test_an_access_token_may_be_refused_once_its_session_may_have_ended(self):
        ends: list[Callable[[Story], object]] = [
            lambda story: story.log_out(2, status=None),
            lambda story: story.log_out(2, "all", session="other"),
            lambda story: story.change(2, 0, 1, 503),
            lambda story: story.call(Kind.DISABLE, 2),
            lambda story: story.refresh(2, 0, 401),
        ]
        for end in ends:
            story = Story()
            story.login(0, opens="s")
            end(story)
            story.me(4, 401)
            assert found_by(checkers.no_false_404, story) == []


class TestPasswordEpoch:
    def test_an_old_password_is_dead_once_its_change_is_acknowledged(self):
        story = Story()
        story.change(0, 0, 1)
        story.login(1.5, 0)
        assert found_by(checkers.password_epoch, story) == ["an old password still works"]

    def test_a_login_that_overlaps_the_change_may_come_first(self):
        story = Story()
        story.change(0, 0, 1)
        story.login(0.5, 0)
        assert found_by(checkers.password_epoch, story) == []

    def test_of_a_change_without_an_answer_both_passwords_may_work_until_one_does(self):
        story = Story()
        story.change(0, 0, 1, None)
        story.login(2, 0)  # it has not come yet
        story.login(4, 1)  # now it has
        assert found_by(checkers.password_epoch, story) == []
        story.login(6, 0)
        assert found_by(checkers.password_epoch, story) == ["an old password still works"]

    def test_a_new_password_that_fails_proves_nothing(self):
        story = Story()
        story.change(0, 0, 1, None)
        story.login(2, 1, None)
        story.login(4, 1, 403)
        story.login(6, 0)
        assert found_by(checkers.password_epoch, story) == []

    def test_of_two_changes_of_one_password_only_one_can_ever_work(self):
        story = Story()
        story.change(0, 0, 1, None)
        story.change(2, 0, 2)
        story.login(4, 2)
        assert found_by(checkers.password_epoch, story) == []
        story.login(6, 1)
        assert set(found_by(checkers.password_epoch, story)) == {"an old password still works"}

    def test_a_change_that_follows_an_unanswered_one_is_not_old(self):
        story = Story()
        story.change(0, 0, 1, None)
        story.change(2, 1, 2)
        story.login(4, 2)
        assert found_by(checkers.password_epoch, story) == []

    def test_an_old_password_does_not_serve_to_change_it_either(self):
        story = Story()
        story.change(0, 0, 1)
        story.change(2, 0, 2)
        assert "an old password still works" in found_by(checkers.password_epoch, story)

    def test_a_session_that_the_old_password_opened_in_a_race_dies_with_the_change(self):
        story = Story()
        story.login(0.5, 0, opens="s")
        story.change(0, 0, 1, session="other")
        story.refresh(3, 0)
        assert found_by(checkers.password_epoch, story) == ["a session opened in a race by an old password lives"]
        assert found_by(checkers.revoked_use, story) == []

    def test_a_session_of_the_new_password_lives(self):
        story = Story()
        story.change(0, 0, 1, session="other")
        story.login(0.9, 1, opens="s")
        story.refresh(3, 0)
        assert found_by(checkers.password_epoch, story) == []


class TestEffectsOnce:
    def test_every_job_has_had_its_effect_once(self):
        put = tuple(Put(job=job, kind="login_succeeded", user="u", at_us=at_us) for job, at_us in (("1", 5), ("2", 7)))
        done = (Done(job="1", latest_us=7), Done(job="2", latest_us=7))
        well = Jobs(put=put, done=done, latest_us={"u": 7}, effects=(Effect(user="u", at_us=7),), audited=("1", "2"))
        for jobs, wrong in (
            (well, 0),
            (replace(well, latest_us={"u": 5}), 1),  # lost
            (replace(well, latest_us={}), 2),
            (replace(well, done=(Done(job="1", latest_us=4), done[1])), 1),  # lost, and hidden by a later login
            (replace(well, done=(*done, done[0])), 1),
            (replace(well, put=(*put, Put(job="3", kind="another", user="u", at_us=9))), 1),  # without a record
            (replace(well, put=(*put, Put(job="3", kind="welcome_due", user="u", at_us=9))), 0),
            (replace(well, audited=("1", "2", "2")), 1),
            (replace(well, effects=well.effects * 2), 1),
            (replace(well, effects=(*well.effects, Effect(user="u", at_us=6))), 1),  # of no job
            (replace(well, waiting=("2",), latest_us={"u": 5}, effects=()), 1),  # late without end, but not lost
        ):
            assert len(checkers.effects_once(History(seed=0, calls=(), jobs=jobs))) == wrong, jobs


class TestDeadline:
    def test_a_call_ends_in_time_unless_its_node_cannot_run(self):
        frozen = FaultSpan(name="node stopped", targets=frozenset(["node-1"]), began_s=0, ended_s=5)
        away = FaultSpan(name="primary frozen", targets=frozenset(), began_s=0, ended_s=50)
        for fault, began, to, node, wrong in (
            (away, 1, 8, "node-1", 0),
            (away, 1, 12, "node-1", 1),
            (frozen, 1, 12, "node-1", 0),
            (frozen, 1, 12, "node-2", 1),
            (frozen, 6, 17, "node-1", 1),
        ):
            story = Story()
            story.call(Kind.ME, began, None, to=to, node=node, session="s")
            found = checkers.deadline(story.history(faults=(fault,)), within_s=8)
            assert len(found) == wrong, (fault, began, node)

    def test_what_an_operator_does_has_no_deadline(self):
        story = Story()
        story.call(Kind.DISABLE, 0, to=60)
        assert checkers.deadline(story.history(), within_s=8) == []


class TestGoodput:
    PEAK = Window(0, 10)
    STORM = Window(10, 20)

    def found(self, *, logins: int, refused_s: float = 0.01, me_s: float = 0.01) -> list[str]:
        story = Story()
        for number in range(100):
            story.login(number / 10, to=number / 10)
            story.call(Kind.ME, number / 10, to=number / 10 + 0.01, session="s")
            story.call(Kind.ME, 10 + number / 20, to=10 + number / 20 + me_s, session="s")
            story.call(Kind.LOGIN, 10 + number / 20, 503, to=10 + number / 20 + refused_s)
        for number in range(logins):
            story.login(10 + number / 20, to=10 + number / 20)
        return [violation.what for violation in checkers.goodput(story.history(peaks=(self.PEAK,), storms=(self.STORM,)))]

    def test_a_storm_takes_a_tenth_at_most(self):
        assert self.found(logins=90) == []
        assert self.found(logins=89) == ["logins a second in storms, of those at the peaks about them: 0.89"]

    def test_each_storm_is_held_against_the_peaks_about_it_and_one_that_others_spoilt_is_forgiven(self):
        story = Story()
        # Peaks of 10, 20, 20 and 20 logins a second, storms of 15, 20 and 5.
        for second, logins in enumerate((10, 15, 20, 20, 20, 5, 20)):
            for number in range(logins):
                at_s = second + number / logins
                story.login(at_s, to=at_s)
        windows = [Window(second, second + 1) for second in range(7)]
        history = story.history(peaks=tuple(windows[::2]), storms=tuple(windows[1::2]))
        assert checkers.storm_shares(history) == [1.0, 1.0, 0.25]
        assert checkers.goodput(history) == []
        assert len(checkers.goodput(history, share_min=1.01)) == 1

    def test_where_nothing_was_a_storm_nothing_is_asked_for(self):
        story = Story()
        story.login(0, status=503)
        assert checkers.goodput(story.history()) == []

    def test_refusals_are_quick_and_others_hardly_slower(self):
        assert self.found(logins=100, refused_s=0.5) == ["refusals took up to 500 ms (p99)"]
        assert len(self.found(logins=100, me_s=0.5)) == 1


class TestRecovered:
    def test_every_node_serves_within_the_bound(self):
        for node, status, to, wrong in (
            ("node-1", 200, 31, 0),
            ("node-1", 200, 42, 1),
            ("node-1", None, 31, 1),
            ("node-2", 200, 31, 1),
        ):
            story = Story()
            story.call(Kind.PROBE, 11, status, to=to, node=node)
            found = checkers.recovered(story.history(nodes=("node-1",), healed_s=10.0))
            assert len(found) == wrong, (node, status, to)

    def test_a_node_that_was_asked_past_the_balancer_has_to_serve_too(self):
        story = Story()
        story.call(Kind.PROBE, 11, node="balancer")
        story.call(Kind.PROBE, 11, None, node="node-1")
        assert len(checkers.recovered(story.history(nodes=("balancer",), healed_s=10.0))) == 1


def test_an_unknown_outcome_is_held_against_nobody():
    """Every call of a story that broke every promise, without its answers, proves nothing."""
    story = Story()
    story.register(0)
    story.login(2, 0, opens="s")
    story.refresh(3, 0)
    story.refresh(3.5, 0, gives=7)
    story.change(5, 0, 1)
    story.login(7, 0)
    story.refresh(9, 1)
    story.me(11, 401)
    story.look_up(100, 404)
    judges = checkers.checkers(grace_s=GRACE_S, within_s=8)
    assert {"acked_present", "password_epoch", "revoked_use", "live_successors"} <= set(
        checkers.judge(story.history(), judges)
    )
    unheard = [
        call
        if call.kind is Kind.LOOK_UP
        else replace(call, status=None, outcome=Outcome.UNKNOWN, opened=None, received=None)
        for call in story.calls
    ]
    assert checkers.judge(History(seed=0, calls=tuple(unheard)), judges) == {}


class TestHonestFailures:
    def test_503_is_an_answer_and_any_other_5xx_is_a_bug(self):
        for status, found in ((503, []), (None, []), (500, ["a call was answered 500"])):
            story = Story()
            story.login(0, status=status)
            assert found_by(checkers.honest_failures, story) == found


def test_what_a_balancer_says_of_a_silent_node_is_no_bug_of_that_node():
    for node, status, wrong in (("balancer", 504, 0), ("balancer", 502, 0), ("balancer", 500, 1), ("node-1", 504, 1)):
        story = Story()
        story.call(Kind.LOGIN, 0, status, node=node)
        assert len(found_by(checkers.honest_failures, story)) == wrong, (node, status)
