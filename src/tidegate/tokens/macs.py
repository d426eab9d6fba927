"""Message authentication codes, each under a key for one purpose alone, derived from the one secret of the installation."""

import hashlib
import hmac
from typing import Final

MAC_KEY_OCTETS_MIN: Final = 32
"""As long as the hash (RFC 2104 section 3)."""

MAC_OCTETS: Final = 32


class PurposeMac:
    """HMAC-SHA256 (RFC 2104) under a key of its own.

    Args:
        mac_key: The secret of the installation, the same on every node.
        purpose: What the codes are for; those of another purpose mean nothing here.

    Raises:
        ValueError: *mac_key* is shorter than 32 octets.
    """

    def __init__(self, mac_key: bytes, *, purpose: bytes) -> None:
        if len(mac_key) < MAC_KEY_OCTETS_MIN:
            raise ValueError(f"mac_key must have at least {MAC_KEY_OCTETS_MIN} octets")
        # HKDF-Expand of one block (RFC 5869 section 2.3): the secret is random already, so there is nothing to extract.
        purpose_key = hmac.digest(mac_key, purpose + b"\x01", hashlib.sha256)
        self._keyed = hmac.new(purpose_key, digestmod=hashlib.sha256)

    def __call__(self, message: bytes) -> bytes:
        """The code of *message*."""
        mac = self._keyed.copy()  # half the price of hashing the key again
        mac.update(message)
        return mac.digest()

    def is_of(self, message: bytes, mac: bytes) -> bool:
        """Whether *mac* is the code of *message*, in a time that does not tell how nearly."""
        return hmac.compare_digest(mac, self(message))
