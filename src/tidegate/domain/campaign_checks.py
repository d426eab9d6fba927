"""What must hold of every campaign at every moment, each by its name (promise P4, DESIGN 5.8)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Check(StrEnum):
    """One thing that is counted again from the rows."""

    CAP = "cap"
    COUNTERS = "counters"
    STATE = "state"
    ONE_PER_USER = "one_per_user"
    ONE_PER_PLACE = "one_per_place"
    ONE_PER_COUPON = "one_per_coupon"
    ENTRANTS = "entrants"
    FIRST_LOGIN = "first_login"
    LOGIN_HAPPENED = "login_happened"
    LOGIN_NOTED = "login_noted"
    PLACE = "place"
    ORDER = "order"
    IN_TIME = "in_time"
    TERMS = "terms"
    ENDS = "ends"
    MIRROR_MISSING = "mirror_missing"
    MIRROR_EXTRA = "mirror_extra"


CLAIMS: Final[Mapping[Check, str]] = {
    Check.CAP: "no more seats are taken than there are",
    Check.COUNTERS: "issued and held say what the grants say, and with the free ones make the cap",
    Check.STATE: "it is exhausted if and only if every seat became a coupon",
    Check.ONE_PER_USER: "nobody has two seats",
    Check.ONE_PER_PLACE: "no place in the line was served twice",
    Check.ONE_PER_COUPON: "every coupon is one user's, in one campaign",
    Check.ENTRANTS: "only who registered through it has a seat",
    Check.FIRST_LOGIN: "no coupon without a first login",
    Check.LOGIN_HAPPENED: "the audit, or a job, knows of every first login for which there is a coupon",
    Check.LOGIN_NOTED: "every first login that the audit knows of has its place in the line",
    Check.PLACE: "every seat was given for the user's own place in the line",
    Check.ORDER: "nobody was passed over",
    Check.IN_TIME: "who logged in before the seat lapsed and before the end has the coupon, and nobody else",
    Check.TERMS: "every coupon is worth what the campaign says, and for as long",
    Check.ENDS: "only a coupon that is granted is redeemed or reserved",
    Check.MIRROR_MISSING: "users.discount names every granted coupon",
    Check.MIRROR_EXTRA: "users.discount names no other coupon, and none twice",
}
"""What each says where it holds, in the order of their telling."""
