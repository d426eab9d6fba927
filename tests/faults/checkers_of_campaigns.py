"""Decides whether a campaign has kept its promise (P4): an independent recount of what the primary holds in the end.

Nothing of it is what the service has counted itself. Who was first is told by the jobs that the ledger has written down
within the logins' own transactions, and by the clients: one had been answered before another asked.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.faults.history import Call, Campaign, Grant, History, Kind, Outcome
from tests.faults.violations import LOGIN_SUCCEEDED, Violation

GRANTED: Final = "granted"
EXHAUSTED: Final = "exhausted"

COUPON_GRANTED: Final = "coupon_granted"
"""The kind of job that tells the audit of a grant."""

_NEVER: Final = float("inf")


def coupons_exact(history: History) -> list[Violation]:
    """P4: the first N to log in have a coupon each, nobody two, nobody else one; and all that tells of it agrees."""
    campaign = history.campaign
    if campaign is None:
        return []
    places = _places(history, campaign)
    granted = [grant for grant in campaign.grants if grant.state == GRANTED]
    return [
        *_number_wrong(campaign, granted, places),
        *_winners_wrong(campaign, granted, places),
        *_coupons_wrong(campaign, granted),
        *_told_wrong(history, granted),
        *_order_wrong(history, campaign, granted),
        *([Violation(f"`tidegate campaigns verify`: {campaign.complaint}")] if campaign.complaint else []),
    ]


def _places(history: History, campaign: Campaign) -> dict[str, int]:
    """The place of each who takes part and has logged in: the lowest number of a login's job that was committed."""
    places: dict[str, int] = {}
    for put in history.jobs.put:
        if put.kind == LOGIN_SUCCEEDED and put.user in campaign.eligible:
            places[put.user] = min(int(put.job), places.get(put.user, int(put.job)))
    return places


def _number_wrong(campaign: Campaign, granted: Sequence[Grant], places: Mapping[str, int]) -> Iterator[Violation]:
    due = min(campaign.cap, len(places))
    if len(granted) != due:
        yield Violation(f"{len(granted)} coupons were granted, and {due} are due of {campaign.cap}")
    if (campaign.issued, campaign.held) != (len(granted), 0):
        yield Violation(f"the campaign counts {campaign.issued} and {campaign.held} held: there are {len(granted)} grants")
    if (campaign.state == EXHAUSTED) != (len(granted) == campaign.cap):
        yield Violation(f"the campaign is {campaign.state} with {len(granted)} of {campaign.cap}")
    for user, times in Counter(grant.user for grant in campaign.grants).items():
        if times > 1:
            yield Violation(f"{user} was granted {times} coupons")


def _winners_wrong(campaign: Campaign, granted: Sequence[Grant], places: Mapping[str, int]) -> Iterator[Violation]:
    first = sorted(places, key=places.__getitem__)[: campaign.cap]
    winners = {grant.user for grant in granted}
    for user in first:
        if user not in winners:
            yield Violation(f"{user} is among the first {campaign.cap}, at {places[user]}, and got no coupon")
    for grant in granted:
        if grant.user not in places:
            yield Violation(f"{grant} without a login, or without taking part")
        elif places[grant.user] != grant.rank:
            yield Violation(f"{grant} stands at {places[grant.user]}")
    for user in sorted(winners & places.keys() - set(first)):
        yield Violation(
            f"{user} got a coupon at {places[user]}, and the last of the first {campaign.cap} is {places[first[-1]]}"
        )


def _coupons_wrong(campaign: Campaign, granted: Sequence[Grant]) -> Iterator[Violation]:
    given = Counter(grant.coupon or "" for grant in granted)
    for coupon in campaign.coupons.keys() - given.keys():
        yield Violation(f"coupon {coupon} is nobody's")
    for coupon, times in given.items():
        if coupon not in campaign.coupons:
            yield Violation(f"the grant of {coupon} is of no coupon")
        if times > 1:
            yield Violation(f"coupon {coupon} was granted {times} times")
    for code, times in Counter(campaign.coupons.values()).items():
        if times > 1:
            yield Violation(f"{times} coupons have the code {code}")
    meant: dict[str, tuple[str, ...]] = {}
    for grant in granted:
        meant[grant.user] = (*meant.get(grant.user, ()), grant.coupon or "")
    for user in sorted(meant.keys() | campaign.mirrored.keys()):
        if sorted(meant.get(user, ())) != sorted(campaign.mirrored.get(user, ())):
            yield Violation(f"{user} shows {campaign.mirrored.get(user, ())} and was granted {meant.get(user, ())}")


def _told_wrong(history: History, granted: Sequence[Grant]) -> Iterator[Violation]:
    told = Counter(put.user for put in history.jobs.put if put.kind == COUPON_GRANTED)
    meant = Counter(grant.user for grant in granted)
    for user in sorted(told.keys() | meant.keys()):
        if told[user] != meant[user]:
            yield Violation(f"the audit is told {told[user]} times of {meant[user]} coupons of {user}")


def _order_wrong(history: History, campaign: Campaign, granted: Sequence[Grant]) -> Iterator[Violation]:
    """Whose login was acknowledged before another's first was begun comes before that other, if the other comes at all."""
    rank_of = {grant.user: float(grant.rank) for grant in granted}
    begun: dict[str, Call] = {}
    acknowledged: dict[str, Call] = {}
    for call in history.calls:
        user = history.jobs.users.get(call.user)
        if call.kind is not Kind.LOGIN or user not in campaign.eligible or call.outcome is Outcome.REFUSED:
            continue
        if user not in begun or call.began_s < begun[user].began_s:
            begun[user] = call
        if call.outcome is Outcome.OK and (user not in acknowledged or call.ended_s < acknowledged[user].ended_s):
            acknowledged[user] = call
    line = sorted((rank_of.get(user, _NEVER), call.ended_s, user) for user, call in acknowledged.items())
    earliest = (_NEVER, "")
    for rank, ended_s, user in reversed(line):
        # Of all behind this place, and of those without one, nobody had been answered before this user asked.
        if rank != _NEVER and earliest[0] < begun[user].began_s:
            proof = (acknowledged[earliest[1]], begun[user])
            yield Violation("somebody got a coupon before one whose login had been answered before theirs was begun", proof)
        earliest = min(earliest, (ended_s, user))
