"""What is recommended is strong enough, keeps to the wish where anything does, and is worth a change."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calibration.samples import figures
from tidegate.calibration.figures import ProfileFigures
from tidegate.calibration.recommending import ACCEPTED_BY, WORTH_CHANGING, recommend
from tidegate.passwords.profiles import PROFILES

MEASURED = st.lists(
    st.builds(
        lambda name, per_s, p95_ms: figures(name, per_s, p95_ms=p95_ms),
        st.sampled_from(list(PROFILES)),
        st.floats(1, 1_000),
        st.floats(1, 500),
    ),
    min_size=1,
    unique_by=lambda each: each.name,
)


def chosen(*profiles: ProfileFigures, wished_latency_ms: float = 50) -> str:
    return recommend(profiles, wished_latency_ms=wished_latency_ms).settings["TIDEGATE_HASH_PROFILE"]


def test_of_equally_strong_ones_the_fastest() -> None:
    assert chosen(figures("owasp-19456", 200), figures("owasp-7168", 300), figures("owasp-12288", 260)) == "owasp-7168"


def test_the_default_stays_where_no_other_is_worth_a_change() -> None:
    assert chosen(figures("owasp-7168", 219), figures("owasp-19456", 200)) == "owasp-19456"
    assert chosen(figures("owasp-7168", 221), figures("owasp-19456", 200)) == "owasp-7168"


def test_a_latency_that_allows_more_strength_gets_it_and_its_price_is_told() -> None:
    told = recommend([figures("owasp-19456", 200), figures("rfc9106-65536", 25, p95_ms=90)], wished_latency_ms=100)
    assert told.settings["TIDEGATE_HASH_PROFILE"] == "rfc9106-65536"
    assert "owasp-19456 makes 8.0 times as many" in told.reason


def test_who_is_too_slow_is_not_taken_however_many_it_makes() -> None:
    assert chosen(figures("owasp-7168", 900, p95_ms=51), figures("owasp-9216", 100, p95_ms=49)) == "owasp-9216"


def test_where_none_keeps_to_the_wish_the_quickest_is_told_and_that_it_is_not_enough() -> None:
    told = recommend([figures("owasp-19456", 50, p95_ms=40), figures("owasp-7168", 60, p95_ms=30)], wished_latency_ms=10)
    assert told.settings["TIDEGATE_HASH_PROFILE"] == "owasp-7168"
    assert not told.is_met
    assert "no profile keeps to 10 ms" in told.reason


@settings(deadline=None)
@given(MEASURED, st.floats(1, 500))
def test_what_is_recommended_was_measured_and_keeps_to_the_wish(profiles: list[ProfileFigures], wished_ms: float) -> None:
    told = recommend(profiles, wished_latency_ms=wished_ms)
    kept = {each.name for each in profiles if each.one_at_a_time.latency_ms_p95 <= wished_ms}
    assert told.is_met is bool(kept)
    assert told.settings["TIDEGATE_HASH_PROFILE"] in (kept or {each.name for each in profiles})
    assert told.settings["TIDEGATE_HASH_THREADS"] == "0"


@settings(deadline=None)
@given(MEASURED)
def test_nothing_of_its_strength_is_much_faster(profiles: list[ProfileFigures]) -> None:
    owasp = [each for each in profiles if each.name.startswith("owasp-")] or profiles
    name = chosen(*owasp, wished_latency_ms=1_000)
    taken = next(each for each in owasp if each.name == name)
    assert max(each.hashes_per_s for each in owasp) <= taken.hashes_per_s * WORTH_CHANGING


def test_a_longer_wait_never_makes_hashes_weaker() -> None:
    profiles = [figures("owasp-7168", 300, p95_ms=10), figures("rfc9106-65536", 25, p95_ms=90)]
    assert [chosen(*profiles, wished_latency_ms=wished) for wished in (5, 20, 89, 90, 500)] == [
        "owasp-7168",
        "owasp-7168",
        "owasp-7168",
        "rfc9106-65536",
        "rfc9106-65536",
    ]


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_says_who_accepts_it(name: str) -> None:
    assert "OWASP" in ACCEPTED_BY[name]
