"""Each checker of sessions on histories made by hand: what it must find, and what it must not take for a proof."""

from tests.faults import checkers
from tests.faults.history import Kind
from tests.faults.stories import Story, found_by, lost_answers


class TestRevokedUse:
    def test_a_session_that_was_logged_out_is_over_at_once_for_refresh_tokens(self):
        story = Story()
        story.login(0, opens="s")
        story.log_out(2)
        story.refresh(3.01, 0)
        assert found_by(checkers.revoked_use, story) == ["a revoked session was accepted"]

    def test_an_access_token_has_a_second(self):
        for began, is_well in ((3.9, True), (4.1, False)):
            story = Story()
            story.login(0, opens="s")
            story.log_out(2)
            story.me(began)
            assert (found_by(checkers.revoked_use, story) == []) is is_well

    def test_no_node_may_let_it_in_any_more_whichever_was_told(self):
        for node in ("node-1", "node-2"):
            story = Story()
            story.login(0, opens="s")
            story.log_out(2)
            story.call(Kind.ME, 4.1, session="s", node=node)
            assert found_by(checkers.revoked_use, story) == ["a revoked session was accepted"]

    def test_a_node_that_says_it_cannot_know_lets_nobody_in(self):
        story = Story()
        story.login(0, opens="s")
        story.log_out(2)
        story.me(4.1, 503)
        story.me(4.1, 401)
        assert found_by(checkers.revoked_use, story) == []

    def test_a_logout_without_an_answer_proves_nothing(self):
        story = Story()
        story.login(0, opens="s")
        story.log_out(2, status=None)
        story.refresh(6, 0)
        assert found_by(checkers.revoked_use, story) == []

    def test_a_logout_of_the_others_leaves_this_one_and_those_that_it_raced_with(self):
        story = Story()
        story.login(0, opens="s")
        story.login(0, opens="other")
        story.login(2.5, opens="late")
        story.log_out(2, "others")
        story.refresh(4, 0)
        story.refresh(4, 0, session="late")
        assert found_by(checkers.revoked_use, story) == []
        story.refresh(4, 0, session="other")
        assert len(found_by(checkers.revoked_use, story)) == 1

    def test_a_change_of_password_ends_what_was_opened_before_it(self):
        story = Story()
        story.login(0, opens="s")
        story.change(2, 0, 1, session="other")
        story.refresh(4, 0)
        assert found_by(checkers.revoked_use, story) == ["a revoked session was accepted"]
        assert found_by(checkers.password_epoch, story) == []

    def test_what_was_refused_once_stays_refused(self):
        """Else the revocation that reuse causes was undone with the transaction that found it."""
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0)
        story.refresh(4, 1)
        story.refresh(6, 0, 401)
        assert found_by(checkers.revoked_use, story) == []
        story.refresh(8, 2)
        assert found_by(checkers.revoked_use, story) == ["a revoked session was accepted"]

    def test_a_token_whose_successor_was_used_is_not_accepted(self):
        story = Story()
        story.refresh(0, 0)
        story.refresh(2, 0)  # its successor is unused: the same again
        story.refresh(4, 1)
        assert found_by(checkers.revoked_use, story) == []
        story.refresh(6, 0)
        assert found_by(checkers.revoked_use, story) == ["a refresh token was accepted whose successor was used"]

    def test_a_use_of_the_successor_without_an_answer_proves_nothing(self):
        story = Story()
        story.refresh(0, 0)
        story.refresh(2, 1, None)
        story.refresh(4, 0)
        assert found_by(checkers.revoked_use, story) == []

    def test_who_is_disabled_is_not_let_in(self):
        story = Story()
        story.call(Kind.DISABLE, 0)
        story.login(2)
        assert found_by(checkers.revoked_use, story) == ["a disabled user was let in"]

    def test_who_may_have_been_enabled_again_may_be_let_in(self):
        story = Story()
        story.call(Kind.DISABLE, 0)
        story.call(Kind.ENABLE, 2, None)
        story.login(4)
        assert found_by(checkers.revoked_use, story) == []


class TestLiveSuccessors:
    def test_racing_refreshes_are_given_the_same_successor(self):
        story = Story()
        story.refresh(0, 0)
        story.refresh(0.5, 0)
        story.refresh(0.5, 0, None)
        assert found_by(checkers.live_successors, story) == []
        story.refresh(0.7, 0, gives=2)
        assert found_by(checkers.live_successors, story) == ["a refresh token has two successors"]


class TestLostAnswer:
    def test_whoever_got_no_answer_asks_again_and_is_served(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0, None)
        story.refresh(5, 0, 401)
        assert lost_answers(story) == ["a client was logged out"]

    def test_a_token_that_was_never_used_is_good(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(100, 0, 401)
        assert lost_answers(story) == ["a client was logged out"]

    def test_after_the_grace_it_is_taken_for_reuse(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0, None)
        story.refresh(11.5, 0, 401)
        assert lost_answers(story) == []

    def test_whose_successor_was_presented_has_got_it(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0)
        story.refresh(4, 1, None)
        story.refresh(6, 0, 401)
        assert lost_answers(story) == []

    def test_somebody_may_have_ended_the_session(self):
        for kind, known in (
            (Kind.LOGOUT, {"session": "s", "scope": "this"}),
            (Kind.LOGOUT, {"session": "other", "scope": "others"}),
            (Kind.CHANGE_PASSWORD, {"session": "other", "password": 0, "new_password": 1}),
            (Kind.DISABLE, {}),
        ):
            story = Story()
            story.login(0, opens="s")
            story.call(kind, 2, None, **known)
            story.refresh(4, 0, 401)
            assert lost_answers(story) == []

    def test_what_was_acknowledged_before_the_login_has_ended_other_sessions(self):
        story = Story()
        story.log_out(0, "all", session="other")
        story.login(2, opens="s")
        story.refresh(4, 0, 401)
        assert lost_answers(story) == ["a client was logged out"]

    def test_a_session_dies_once_and_only_the_first_refusal_counts(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0, 401)
        story.refresh(4, 0, 401)
        assert len(lost_answers(story)) == 1

    def test_a_refresh_that_races_with_reuse_may_be_refused_first(self):
        story = Story()
        story.login(0, opens="s")
        story.refresh(2, 0)
        story.refresh(4, 1)
        story.call(Kind.REFRESH, 6, 401, to=9, session="s", presented="s.0")
        story.call(Kind.REFRESH, 6.5, 401, to=7, session="s", presented="s.2")
        assert lost_answers(story) == []
