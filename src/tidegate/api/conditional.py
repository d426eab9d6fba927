"""Tags of bodies, and whether a client has one already (RFC 9110 sections 8.8.3 and 13.1.2)."""

from hashlib import blake2b


def tag_of(body: bytes) -> bytes:
    """The value of the header ETag for *body*."""
    return b'"' + blake2b(body, digest_size=12).hexdigest().encode() + b'"'


def names(if_none_match: bytes, tag: bytes) -> bool:
    """Whether the header lists *tag*, by weak comparison."""
    listed = {entry.strip().removeprefix(b"W/") for entry in if_none_match.split(b",")}
    return b"*" in listed or tag in listed
