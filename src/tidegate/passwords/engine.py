"""Computes Argon2: by the extension of ext/ where that was built and is right, else by argon2-cffi, with the same digests.

The extension computes 1.3 times as many hashes on a core as argon2-cffi built for the same CPU, and 1.6 times as many when
it has two to compute in turn (ADR 0012). Nobody is told which one works but whoever asks `tidegate doctor`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi, hash_secret_raw

from tidegate.passwords.profiles import IN_TURN_MAX

try:
    from tidegate.passwords import _argon2 as _extension
except ImportError as error:  # no compiler at the installation, or a system or CPU that it does not know
    _has_extension = False
    _not_loaded = str(error)
else:
    _has_extension = True
    _not_loaded = ""

_MEMORY_ALLOCATION_ERROR: Final = -22
"""ARGON2_MEMORY_ALLOCATION_ERROR in argon2.h."""


class Argon2Cost(NamedTuple):
    """What an Argon2 hash costs, in the order of the extension's arguments; hashes of one cost can be computed in turn."""

    type: int
    version: int
    memory_cost_kib: int
    time_cost: int
    lanes: int


class Argon2Input(NamedTuple):
    """What is hashed. It must not be printed: it holds the password.

    Attributes:
        password: In UTF-8.
        salt: At least 8 bytes.
        digest_len: Wanted, in bytes.
    """

    password: bytes
    salt: bytes
    digest_len: int

    def __repr__(self) -> str:
        return "Argon2Input(..)"


class Engine(Protocol):
    """Computes Argon2 on the calling thread alone, without the GIL."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def in_turn_max(self) -> int:
        """How many hashes of one lane are best computed by one call."""

    def digests(self, cost: Argon2Cost, inputs: Sequence[Argon2Input]) -> Sequence[bytes]:
        """The digests of *inputs*, in their order.

        Raises:
            MemoryError: There is not enough of it.
            HashingError: These parameters are none of Argon2's.
        """

    def keep(self, memory_cost_kib: int) -> None:
        """Let the calling thread keep the memory of so big hashes from one call to the next, if this engine can."""

    def release(self) -> None:
        """Give back what the calling thread keeps, cleared: no trace of a password is left in it."""


class StockEngine:
    """argon2-cffi: on x86-64 its wheel knows SSE2 only."""

    name = "argon2-cffi"
    in_turn_max = 1

    def digests(self, cost: Argon2Cost, inputs: Sequence[Argon2Input]) -> Sequence[bytes]:
        """See `Engine`."""
        return [_stock_digest(cost, each) for each in inputs]

    def keep(self, memory_cost_kib: int) -> None:
        """The library takes its memory from malloc, hash by hash."""

    def release(self) -> None:
        """The library has cleared and freed it."""


class FastEngine:
    """The extension. Where it lacks memory, which it wants in whole huge pages, the stock library tries."""

    def __init__(self) -> None:
        self._stock = StockEngine()

    @property
    def name(self) -> str:
        """See `Engine`: with the SIMD variant that the extension chose for this CPU."""
        return f"tidegate ({_extension.variant()})"

    @property
    def in_turn_max(self) -> int:
        """See `Engine`."""
        return IN_TURN_MAX

    def digests(self, cost: Argon2Cost, inputs: Sequence[Argon2Input]) -> Sequence[bytes]:
        """See `Engine`."""
        in_turn = self.in_turn_max if cost.lanes == 1 else 1
        made: list[bytes] = []
        for first in range(0, len(inputs), in_turn):
            together = inputs[first : first + in_turn]
            try:
                made += _extension.digests(*cost, tuple(together))
            except MemoryError:
                made += self._stock.digests(cost, together)
            except ValueError as error:
                raise HashingError(str(error)) from error
        return made

    def keep(self, memory_cost_kib: int) -> None:
        """See `Engine`."""
        _extension.keep(memory_cost_kib * 1_024)

    def release(self) -> None:
        """See `Engine`."""
        _extension.release()


def _stock_digest(cost: Argon2Cost, given: Argon2Input) -> bytes:
    """One digest by argon2-cffi, through its direct binding.

    Its other functions start a thread for every lane, so that one hash of Django's (8 lanes) took every core of the node.
    """
    out = ffi.new("uint8_t[]", given.digest_len)
    password = ffi.new("uint8_t[]", given.password)  # these two live as long as this frame: the context only points at them
    salt = ffi.new("uint8_t[]", given.salt)
    context = ffi.new(
        "argon2_context *",
        {
            "version": cost.version,
            "out": out,
            "outlen": given.digest_len,
            "pwd": password,
            "pwdlen": len(given.password),
            "salt": salt,
            "saltlen": len(given.salt),
            "secret": ffi.NULL,
            "secretlen": 0,
            "ad": ffi.NULL,
            "adlen": 0,
            "t_cost": cost.time_cost,
            "m_cost": cost.memory_cost_kib,
            "lanes": cost.lanes,
            "threads": 1,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": 0,  # ARGON2_DEFAULT_FLAGS
        },
    )
    failure = core(context, cost.type)
    if failure == _MEMORY_ALLOCATION_ERROR:
        raise MemoryError
    if failure:
        raise HashingError(error_to_str(failure))
    return bytes(ffi.buffer(out, given.digest_len))


def best_engine() -> Engine:
    """The extension, if it is there and makes the same two digests in turn as argon2-cffi does; else argon2-cffi."""
    if not _has_extension:
        return StockEngine()
    cost = Argon2Cost(Type.ID.value, ARGON2_VERSION, memory_cost_kib=64, time_cost=2, lanes=1)
    inputs = [Argon2Input(b"one", bytes(range(16)), 32), Argon2Input(b"other", bytes(range(16, 32)), 32)]
    expected = [hash_secret_raw(each.password, each.salt, 2, 64, 1, 32, Type.ID) for each in inputs]
    fast = FastEngine()
    return fast if list(fast.digests(cost, inputs)) == expected else StockEngine()


ENGINE: Final = best_engine()


class EngineChoice(NamedTuple):
    """Which engine works here, and why.

    Attributes:
        name: For people.
        variants: Of the extension, that this CPU can run, the best first; empty where the extension is not there.
        why_stock: Why argon2-cffi has to do; None where it need not.
    """

    name: str
    variants: Sequence[str]
    why_stock: str | None


def engine_choice() -> EngineChoice:
    """What `best_engine` chose."""
    if not _has_extension:
        return EngineChoice(ENGINE.name, (), f"the extension cannot be loaded: {_not_loaded}")
    variants = _extension.runnable()
    if isinstance(ENGINE, StockEngine):
        return EngineChoice(ENGINE.name, variants, "the extension makes other digests than argon2-cffi")
    return EngineChoice(ENGINE.name, variants, None)
