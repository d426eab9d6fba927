"""New ids."""

from typing import Protocol
from uuid import UUID


class Ids(Protocol):
    """Makes ids, so that tests can foretell them."""

    def user_id(self) -> UUID:
        """Random (UUIDv4): it is told to other services and must not tell when its user registered."""

    def coupon_id(self) -> UUID:
        """Random (UUIDv4): it is shown to its owner and must tell nothing of others."""

    def campaign_id(self) -> UUID:
        """Random (UUIDv4)."""

    def session_id(self) -> UUID:
        """Ordered by time (UUIDv7, RFC 9562), so that the index of sessions grows at one end."""
