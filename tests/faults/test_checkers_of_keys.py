"""`keyed_once` finds what a key has done twice, and does not cry at what somebody else has ended."""

from tests.faults import checkers
from tests.faults.history import Jobs, Kind, Put
from tests.faults.stories import GRACE_S, Story, found_by
from tests.faults.users_lives import lives_of

KEY = "k"


def a_change(story: Story, began: float, status: int | None = 200, *, opens: str | None = None) -> None:
    story.call(Kind.CHANGE_PASSWORD, began, status, password=0, new_password=1, session="s", opened=opens, key=KEY)


class TestRegistration:
    def found(self, *statuses: int | None) -> list[str]:
        story = Story()
        for number, status in enumerate(statuses):
            story.call(Kind.REGISTER, 2 * number, status, password=0, key=KEY, node=f"node-{number % 2}")
        return found_by(checkers.keyed_once, story)

    def test_whoever_asks_again_is_told_the_same(self):
        assert self.found(200, 200) == self.found(None, 200) == self.found(None, 503, None) == []
        assert len(self.found(200, 400)) == len(self.found(None, 422)) == 1

    def test_what_was_refused_may_be_refused_again(self):
        assert self.found(400, 400) == []

    def test_two_users_are_seen_in_their_jobs(self):
        story = Story()
        story.call(Kind.REGISTER, 0, password=0, key=KEY)
        for times in (1, 2):
            jobs = Jobs(put=(Put(job="1", kind="user_registered", user="id", at_us=1),) * times, users={"u": "id"})
            assert len(checkers.keyed_once(story.history(jobs=jobs))) == times - 1


class TestChangeOfPassword:
    def test_a_repetition_names_the_session_that_the_change_has_opened(self):
        for opens, wrong in (("t", 0), ("other", 1)):
            story = Story()
            a_change(story, 0, opens="t")
            a_change(story, 2, opens=opens)
            assert len(found_by(checkers.keyed_once, story)) == wrong

    def test_it_is_refused_only_if_somebody_may_have_ended_that_session(self):
        story = Story()
        a_change(story, 0, opens="t")
        a_change(story, 4, 401)
        assert len(found_by(checkers.keyed_once, story)) == 1
        story.call(Kind.DISABLE, 2)
        assert found_by(checkers.keyed_once, story) == []

    def test_one_request_that_has_changed_it_twice_is_seen_in_its_jobs(self):
        story = Story()
        a_change(story, 0, None)
        a_change(story, 2, opens="t")
        for times in (1, 2):
            jobs = Jobs(put=(Put(job="1", kind="password_changed", user="id", at_us=1),) * times, users={"u": "id"})
            assert len(checkers.keyed_once(story.history(jobs=jobs))) == times - 1

    def test_it_is_no_use_of_the_old_password_nor_of_the_ended_session(self):
        story = Story()
        story.register(0)
        story.login(2, opens="s")
        a_change(story, 4, opens="t")
        story.login(6, 1)
        a_change(story, 8, opens="t")
        assert checkers.judge(story.history(), checkers.checkers(grace_s=GRACE_S, within_s=8)).keys() <= {
            "acked_present",
        }
        a_change(story, 10, opens="t")
        without = [call for call in story.calls if call.kind is not Kind.CHANGE_PASSWORD]
        story.calls = without
        a_change(story, 12, opens="t")
        assert found_by(checkers.password_epoch, story) == ["an old password still works"]

    def test_its_session_began_with_the_first_try(self):
        story = Story()
        a_change(story, 0, None)
        a_change(story, 5, opens="t")
        (life,) = lives_of(story.history())
        opening = life.opening("t")
        assert opening is not None
        assert (opening.began_s, opening.ended_s) == (0, 6)
