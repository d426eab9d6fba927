"""The file that holds the signing keys: made, rotated and re-read while processes sign with it.

It is a JWK Set (RFC 7517 section 5) of private Ed25519 keys (RFC 8037) with two members of ours, `published_at` and
`sign_from`. Every process of every node reads the same file, or a copy of it that is replaced within the reload interval.
"""

import asyncio
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Never, Self

import msgspec

from tidegate.domain.errors import TidegateError
from tidegate.tokens import base64url
from tidegate.tokens.keyset import KeySet, ListedKey, SigningKey, lead_s_min

RELOAD_INTERVAL_S_DEFAULT: Final = 5.0
"""How often a process looks at the file: one `stat`, about 2 us."""

JWKS_CACHED_S_MAX_DEFAULT: Final = 300
"""For how long the answer of `/.well-known/jwks.json` may be kept."""

LEAD_S_DEFAULT: Final = lead_s_min(jwks_cached_s_max=JWKS_CACHED_S_MAX_DEFAULT, reload_interval_s=RELOAD_INTERVAL_S_DEFAULT)

FILE_SIZE_MAX: Final = 65_536
"""Room for 200 keys; three is the most that rotations leave."""


class KeyFileError(TidegateError):
    """The file of signing keys cannot be used or changed: one sentence for the operator, without key material."""


class NoKeyFile(KeyFileError):  # noqa: N818 - STYLE.md names what happened, not that it is an error
    """There is none yet."""


class RotationUnderWay(KeyFileError):  # noqa: N818 - STYLE.md names what happened, not that it is an error
    """A published key still waits to sign, and a second one may not come before it does."""


_NumericDate = Annotated[int, msgspec.Meta(ge=0, lt=2**37)]
"""Seconds since 1970 (RFC 7519 section 2), before the year 6325: beyond it Python's dates end."""


class _Jwk(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One private key as the file holds it."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    d: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]
    published_at: _NumericDate
    sign_from: _NumericDate

    def __repr__(self) -> str:
        return f"_Jwk({self.kid})"

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        return cls(
            kty="OKP",
            crv="Ed25519",
            x=key.x,
            d=base64url.encode(key.seed),
            kid=key.kid,
            alg="EdDSA",
            use="sig",
            published_at=key.published_at,
            sign_from=key.sign_from,
        )

    def key(self) -> SigningKey:
        key = SigningKey(seed=base64url.decode(self.d), published_at=self.published_at, sign_from=self.sign_from)
        if (key.x, key.kid) != (self.x, self.kid):
            raise ValueError("x or kid is of another key")
        return key


class _JwkSet(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[_Jwk]


def create_key_file(path: Path, *, now: float | None = None) -> bool:
    """Make *path* with one new key that signs at once, unless it exists.

    Args:
        path: Its folder must exist.
        now: Seconds since 1970; the clock's time when None.

    Returns:
        False if it exists already: whoever starts first makes it, the others read it.

    Raises:
        KeyFileError: It cannot be written.
    """
    with _changing(path):
        if path.exists():
            return False
        _write(path, KeySet.first(os.urandom(32), now=time.time() if now is None else now))
        return True


def rotate(path: Path, *, lead_s: int = LEAD_S_DEFAULT, keep_s: int, now: float | None = None) -> list[ListedKey]:
    """Add a key that signs in *lead_s* seconds and drop those whose time is over; one rotation at a time.

    Keys that were stolen are replaced with `lead_s=0, keep_s=0`, whether a rotation is under way or not: every access token
    is then refused within the reload interval, and clients refresh.

    Args:
        path: The file.
        lead_s: From publication to the first signature; `keyset.lead_s_min` says what is enough.
        keep_s: How long a key stays published after its successor began to sign; `keyset.keep_s_min`.
        now: Seconds since 1970; the clock's time when None.

    Returns:
        What the file holds now.

    Raises:
        KeyFileError: It cannot be read or written, or a published key still waits to sign.
    """
    if lead_s < 0 or keep_s < 0:
        raise KeyFileError("A key cannot sign before it is published, nor be dropped before its successor signs.")
    with _changing(path):
        moment = time.time() if now is None else now
        keys, _ = _read(path)
        waiting = keys.waiting(moment)
        if waiting and lead_s + keep_s > 0:
            moment_of_signing = datetime.fromtimestamp(waiting.sign_from, UTC).isoformat()
            raise RotationUnderWay(f"A rotation is under way: rotate again after {moment_of_signing}, when its key signs.")
        keys = keys.rotated(os.urandom(32), lead_s=lead_s, keep_s=keep_s, now=moment)
        _write(path, keys)
        return keys.listed(moment)


def list_keys(path: Path, *, now: float | None = None) -> list[ListedKey]:
    """Return what each key of *path* does now, the one that signs last first.

    Raises:
        KeyFileError: It cannot be read.
    """
    keys, _ = _read(path)
    return keys.listed(time.time() if now is None else now)


class KeyRing:
    """The keys of a file as one process knows them, at most *reload_interval_s* old while `watch` runs.

    Args:
        path: The file.
        now: The clock, seconds since 1970.
        reload_interval_s: How often `watch` looks.

    Raises:
        KeyFileError: It cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        reload_interval_s: float = RELOAD_INTERVAL_S_DEFAULT,
    ) -> None:
        self._path = path
        self._now = now
        self._reload_interval_s = reload_interval_s
        self.current, self._read_as = _read(path)

    def __repr__(self) -> str:
        return f"KeyRing({str(self._path)!r}, {len(self.current.keys)} keys)"

    def signer(self) -> SigningKey:
        """Return the key that signs now."""
        return self.current.signer(self._now())

    def find(self, kid: str) -> SigningKey | None:
        """Return the key to verify with that has this id, or None."""
        return self.current.by_kid.get(kid)

    def public_jwks(self) -> bytes:
        """Return the JWK Set as everybody may see it."""
        return self.current.public_jwks

    def refresh_if_changed(self) -> bool:
        """Read the file again if it is another one than the one read; whether it was.

        Raises:
            KeyFileError: It cannot be read. The keys stay as they were, and the next call tries again.
        """
        try:
            if _identity(os.stat(self._path)) == self._read_as:
                return False
        except OSError as error:
            raise KeyFileError(f"The key file {self._path} cannot be read: {error.strerror}.") from error
        self.current, self._read_as = _read(self._path)
        return True

    async def watch(self, *, report: Callable[[KeyFileError], None]) -> Never:
        """Keep the keys fresh until cancelled; what cannot be read is handed to *report*, each time."""
        while True:
            await asyncio.sleep(self._reload_interval_s)
            try:
                self.refresh_if_changed()
            except KeyFileError as error:
                report(error)


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> tuple[KeySet, tuple[int, int, int, int]]:
    """Return the keys of *path*, and which file they were read from."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())  # of the file that is open: the name may mean another one by now
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(f"The key file {path} is open to others than its owner: chmod 600 it.")
            octets = file.read(FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        raise NoKeyFile(f"There is no key file at {path}.") from None
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error
    return _parse(path, octets), _identity(found)


def _parse(path: Path, octets: bytes) -> KeySet:
    if len(octets) > FILE_SIZE_MAX:
        raise KeyFileError(f"The key file {path} is longer than {FILE_SIZE_MAX} bytes.")
    try:
        stored = msgspec.json.decode(octets, type=_JwkSet)
        return KeySet(tuple(sorted((jwk.key() for jwk in stored.keys), key=lambda key: key.sign_from)))
    except msgspec.ValidationError as error:  # names members and types, never a value of `d`
        raise KeyFileError(f"The key file {path} is not one of ours: {error}.") from None
    except (ValueError, RecursionError):
        raise KeyFileError(f"The key file {path} does not hold a usable set of keys.") from None


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Hold the lock that lets one process at a time change *path*.

    It is on the folder: the file itself is replaced, and a lock file beside it would be left behind.
    """
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)  # the rename itself
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be changed: {error.strerror}.") from error


def _write(path: Path, keys: KeySet) -> None:
    """Put *keys* in the place of *path*, whole or not at all, whatever stops us. Raises OSError."""
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # 0600 from its first moment
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_JwkSet([_Jwk.of(key) for key in keys.keys]))))
            file.flush()
            with suppress(FileNotFoundError):  # root may rotate what a service owns, which must still be able to read it
                owner = target.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        os.rename(name, target)
    except BaseException:
        os.unlink(name)
        raise
