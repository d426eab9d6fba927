"""Makes a hash cost next to nothing: Python imports this first, where it is asked to.

There is no such profile in the service, whose passwords must not be hashed so. 8 KiB and one pass are the least that Argon2
knows (RFC 9106 section 3.1), and cost some ten microseconds: then as many log in as PostgreSQL takes.
"""

from types import MappingProxyType

from tidegate.passwords import profiles

# Final for the service; this is what comes before it.
profiles.PROFILES = MappingProxyType({**profiles.PROFILES, "cheap": profiles.HashProfile("cheap", 8, 1)})  # type: ignore[misc]
