"""Profiles as an API process asks for them: remembered here, kept in Valkey for all nodes, true in the database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Final

from tidegate.cache.client import CacheClient
from tidegate.cache.profiles import SharedProfiles
from tidegate.feed.knowledge import Knowledge
from tidegate.profiles.remembered import RememberedProfiles
from tidegate.profiles.stamps import Stamps
from tidegate.storage.users import PostgresUsers

_REMEMBERED_MAX: Final = 8_192
"""Of each process, 8 MB: as many as access tokens are remembered."""


@contextmanager
def open_profiles(
    users: PostgresUsers, knowledge: Knowledge, cache: CacheClient | None, *, stamps: int
) -> Iterator[RememberedProfiles]:
    """Open them before any line of the feed begins, which from then on tells them of changes.

    Args:
        users: The truth.
        knowledge: What the lines tell.
        cache: Valkey, where there is one.
        stamps: Of memory that all processes of the node share, see `profiles.stamps`.
    """

    def is_fed() -> bool:
        return knowledge.is_trusted

    source: PostgresUsers | SharedProfiles = users
    if cache is not None:
        source = SharedProfiles(users, cache=cache, is_fed=is_fed)
        knowledge.tell(source)
    with closing(Stamps(stamps)) as shared_stamps:
        remembered = RememberedProfiles(
            source, stamps=shared_stamps, is_fed=is_fed, monotonic=monotonic, remembered_max=_REMEMBERED_MAX
        )
        knowledge.tell(remembered)
        yield remembered
