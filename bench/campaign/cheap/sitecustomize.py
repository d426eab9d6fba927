"""Teaches a process of Tidegate the cheap profile; Python runs this at its start where it is on the path (module site)."""

from types import MappingProxyType

from bench.campaign.cheap_profile import CHEAP

from tidegate.passwords import profiles

vars(profiles)["PROFILES"] = MappingProxyType({**profiles.PROFILES, CHEAP.name: CHEAP})
