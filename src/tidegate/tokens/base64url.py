"""Base64url in its one canonical form (RFC 4648 section 5), so that no two texts are the same token."""

import base64


def encode(octets: bytes) -> str:
    """Return *octets* in base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the octets that *text* stands for, if `encode` gives the same text for them.

    Encoding again is the whole check: it finds padding, white space, letters of other alphabets and bits that are set
    behind the last octet (RFC 4648 section 3.5), each of which lenient decoders skip in silence.

    Raises:
        ValueError: It does not.
    """
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(octets) != text:
        raise ValueError("not canonical base64url")
    return octets
