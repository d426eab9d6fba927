"""Says which hash profile suits a machine: how strong its hashes can be within a wished latency, and how many it makes."""

from collections.abc import Mapping, Sequence
from typing import Final

from tidegate.calibration.figures import ProfileFigures, Recommendation
from tidegate.passwords.profiles import DEFAULT_PROFILE, PROFILES, RFC9106_65536

WISHED_LATENCY_MS: Final = 50.0
"""Where nobody says otherwise. OWASP's Password Storage Cheat Sheet wants a hash to take less than a second; a crowd wants
as many of them as it can get, and 50 ms is nothing to who waits for a login."""

WORTH_CHANGING: Final = 1.1
"""By how much faster than the default another profile of the same strength must be: the neighbours of a machine alone move
figures by as much, and a change makes everybody's password be hashed once more."""

_STRONGER: Final = frozenset({RFC9106_65536.name})
"""Dearer to guess than what OWASP lists: more memory and more work at once. All others are equally strong by OWASP."""

_OWASP: Final = "OWASP, ASVS v5.0.0-11.4.2"

ACCEPTED_BY: Final[Mapping[str, str]] = {name: f"{_OWASP}, RFC 9106" if name in _STRONGER else _OWASP for name in PROFILES}
"""Who calls each profile strong enough."""


def recommend(profiles: Sequence[ProfileFigures], *, wished_latency_ms: float) -> Recommendation:
    """The strongest profile of which a hash takes no longer than wished; of equally strong ones the fastest.

    Args:
        profiles: As measured, at least one.
        wished_latency_ms: Of one hash alone on its thread, at the 95th percentile, with every core busy. A hash that is
            computed in turn with another takes longer, but only where both would have had to wait.
    """
    kept = [each for each in profiles if each.one_at_a_time.latency_ms_p95 <= wished_latency_ms]
    stronger = [each for each in kept if each.name in _STRONGER]
    if stronger:
        chosen = max(stronger, key=_rate)
        most = max(profiles, key=_rate)
        reason = (
            f"stronger than OWASP asks for, and within the wished latency; {most.name} makes "
            f"{most.hashes_per_s / chosen.hashes_per_s:.1f} times as many"
        )
    elif kept:
        chosen, reason = _fastest(kept)
    else:
        chosen = min(profiles, key=lambda each: each.one_at_a_time.latency_ms_p95)
        reason = (
            f"no profile keeps to {wished_latency_ms:g} ms here; this one takes the least, "
            f"{chosen.one_at_a_time.latency_ms_p95:.0f} ms. A weaker one is not offered: take more or faster cores"
        )
    return Recommendation(
        wished_latency_ms=wished_latency_ms,
        is_met=bool(kept),
        reason=reason,
        settings={"TIDEGATE_HASH_PROFILE": chosen.name, "TIDEGATE_HASH_THREADS": "0"},
    )


def _fastest(equal: Sequence[ProfileFigures]) -> tuple[ProfileFigures, str]:
    """The fastest of *equal* and the reason; the default where none is worth a change."""
    fastest = max(equal, key=_rate)
    default = next((each for each in equal if each.name == DEFAULT_PROFILE.name), None)
    if default is None:
        return fastest, "the fastest of those that keep to the wished latency; the default does not"
    ratio = fastest.hashes_per_s / default.hashes_per_s
    if ratio < WORTH_CHANGING:
        return default, f"the default; no other of its strength is {WORTH_CHANGING:g} times as fast here"
    return fastest, f"equally strong by OWASP, and {ratio:.2f} times as fast as the default here"


def _rate(profile: ProfileFigures) -> float:
    return profile.hashes_per_s
