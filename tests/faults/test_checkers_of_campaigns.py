"""The checker of campaigns on histories made by hand: what it must find, and what it must not take for a proof."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checkers_of_campaigns import coupons_exact
from tests.faults.history import Campaign, Grant, History, Jobs, Kind, Put, as_json, from_json
from tests.faults.stories import Story


def grant(user: str, rank: int, **other: Any) -> Grant:
    known: dict[str, Any] = {"user": user, "rank": rank, "state": "granted", "coupon": f"coupon-{user}"}
    return Grant(**known | other)


def put(user: str, job: int, kind: str = "login_succeeded") -> Put:
    return Put(job=str(job), kind=kind, user=user, at_us=0)


GRANTS = (grant("a", 10), grant("b", 12))

CAMPAIGN = Campaign(
    cap=2,
    issued=2,
    held=0,
    state="exhausted",
    eligible=frozenset("abcd"),
    grants=GRANTS,
    coupons={"coupon-a": "A", "coupon-b": "B"},
    mirrored={"a": ("coupon-a",), "b": ("coupon-b",)},
)
"""Of a, b, c and d, who logged in in this order; x takes no part."""

PUT = (
    put("x", 9),
    put("b", 14),
    put("a", 10),
    put("b", 12),
    put("c", 13),
    put("a", 100, "coupon_granted"),
    put("b", 101, "coupon_granted"),
)


def history(campaign: Campaign = CAMPAIGN, puts: tuple[Put, ...] = PUT, story: Story | None = None) -> History:
    users = {name.upper(): name for name in "abcdx"}
    return (story or Story()).history(campaign=campaign, jobs=Jobs(put=puts, users=users))


def found(campaign: Campaign = CAMPAIGN, puts: tuple[Put, ...] = PUT) -> str:
    return "\n".join(violation.what for violation in coupons_exact(history(campaign, puts)))


def test_the_first_two_with_a_coupon_each_are_well_and_so_is_a_run_without_a_campaign():
    assert coupons_exact(history()) == []
    assert coupons_exact(History(seed=0, calls=())) == []
    assert coupons_exact(from_json(as_json(history()))) == []


def test_fewer_than_there_are_are_well_while_nobody_else_has_logged_in():
    alone = replace(
        CAMPAIGN, issued=1, state="active", grants=GRANTS[:1], coupons={"coupon-a": "A"}, mirrored={"a": ("coupon-a",)}
    )
    assert found(alone, (put("a", 10), put("a", 100, "coupon_granted"))) == ""
    assert "1 coupons were granted, and 2 are due" in found(alone)


@pytest.mark.parametrize(
    ("grants", "what"),
    [
        ((*GRANTS, grant("c", 13)), "3 coupons were granted, and 2 are due"),
        ((grant("a", 10), grant("c", 13)), "b is among the first 2, at 12, and got no coupon"),
        ((grant("a", 10), grant("c", 13)), "c got a coupon at 13, and the last of the first 2 is 12"),
        ((grant("a", 10), grant("b", 14)), "stands at 12"),
        ((grant("a", 10), grant("d", 11)), "without a login"),
        ((grant("a", 10), grant("x", 9)), "without taking part"),
        ((grant("a", 10), grant("a", 12)), "a was granted 2 coupons"),
        ((grant("a", 10), grant("b", 12, coupon="coupon-a")), "coupon coupon-a was granted 2 times"),
        ((grant("a", 10), grant("b", 12, coupon="coupon-z")), "the grant of coupon-z is of no coupon"),
        ((grant("a", 10), grant("b", 12, state="held", coupon=None)), "coupon coupon-b is nobody's"),
    ],
)
def test_wrong_grants_are_found(grants: tuple[Grant, ...], what: str):
    assert what in found(replace(CAMPAIGN, grants=grants))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"issued": 1}, "the campaign counts 1 and 0 held: there are 2 grants"),
        ({"held": 1}, "the campaign counts 2 and 1 held"),
        ({"state": "active"}, "the campaign is active with 2 of 2"),
        ({"coupons": {"coupon-a": "A", "coupon-b": "A"}}, "2 coupons have the code A"),
        ({"coupons": {"coupon-a": "A", "coupon-b": "B", "coupon-c": "C"}}, "coupon coupon-c is nobody's"),
        ({"complaint": "1\nnot well"}, "not well"),
        ({"mirrored": {"a": ("coupon-a",)}}, "b shows () and was granted"),
        ({"mirrored": CAMPAIGN.mirrored | {"c": ("coupon-b",)}}, "c shows"),
    ],
)
def test_what_disagrees_with_the_grants_is_found(changed: dict[str, Any], what: str):
    assert what in found(replace(CAMPAIGN, **changed))


def test_the_audit_is_told_once_of_each():
    assert "told 0 times of 1 coupons of b" in found(puts=PUT[:-1])
    assert "told 2 times of 1 coupons of b" in found(puts=(*PUT, put("b", 102, "coupon_granted")))


class TestAsClientsSawIt:
    """Whatever numbers say: who had been answered before another asked comes first."""

    def order(self, story: Story) -> list[str]:
        return [violation.what for violation in coupons_exact(history(story=story))]

    def test_who_was_answered_before_a_winner_asked_must_be_a_winner_too(self):
        story = Story()
        for user, began in (("C", 0), ("A", 0), ("B", 5)):
            story.call(Kind.LOGIN, began, user=user)
        assert len(self.order(story)) == 1

    def test_among_winners_too(self):
        story = Story()
        for user, began in (("B", 0), ("A", 5)):
            story.call(Kind.LOGIN, began, user=user)
        assert len(self.order(story)) == 1

    def test_who_asked_before_the_other_was_answered_may_come_first(self):
        story = Story()
        for user, began in (("C", 0), ("A", 0.5), ("B", 0.9)):
            story.call(Kind.LOGIN, began, user=user)
        assert self.order(story) == []

    def test_a_first_try_without_an_answer_may_have_been_the_login(self):
        story = Story()
        story.call(Kind.LOGIN, 0.5, None, user="B")
        for user, began in (("C", 0), ("A", 0), ("B", 5)):
            story.call(Kind.LOGIN, began, user=user)
        assert self.order(story) == []

    def test_a_login_without_an_answer_is_no_place_and_who_takes_no_part_has_none(self):
        story = Story()
        story.call(Kind.LOGIN, 0, None, user="C")
        story.call(Kind.LOGIN, 0, user="X")
        for user, began in (("A", 2), ("B", 5)):
            story.call(Kind.LOGIN, began, user=user)
        assert self.order(story) == []
