"""Which password hashes go first when not all of them can be computed at once."""

from enum import StrEnum


class Lane(StrEnum):
    """For whom a hash is wanted, the first to be served first (DESIGN 5.1). Not to be confused with the lanes of Argon2."""

    KNOWN_DEVICE = "known_device"
    """A login from a device that this user has logged in from before, or a change of password with a valid access token."""
    LOGIN = "login"
    REGISTER = "register"
    REHASH = "rehash"
    """Of a password that was just verified, to the current profile. It can wait for another login, so it never waits here:
    a hash of it is computed at once, on a thread that nobody else wants, or not at all."""
    IMPORT = "import"
