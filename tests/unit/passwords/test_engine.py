"""Whatever computes Argon2 here makes the digests of argon2-cffi, bit by bit, and gives its memory back."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.passwords import engine
from tidegate.passwords.engine import Argon2Cost, Argon2Input, Engine, FastEngine, StockEngine, best_engine

# The extension is not built where there is no compiler; then the stock engine is all there is, and all that is tried.
EXTENSION: Any = getattr(engine, "_extension", None)
VARIANTS: list[str] = EXTENSION.runnable() if EXTENSION else []
ENGINES = ["stock", *VARIANTS]


@pytest.fixture(params=ENGINES)
def each(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine of this machine, the extension once for each SIMD variant that its CPU can run."""
    if request.param == "stock":
        yield StockEngine()
        return
    best = EXTENSION.variant()
    EXTENSION.choose(request.param)
    try:
        yield FastEngine()
    finally:
        EXTENSION.choose(best)


def reference(cost: Argon2Cost, given: Argon2Input) -> bytes:
    return hash_secret_raw(
        given.password,
        given.salt,
        cost.time_cost,
        cost.memory_cost_kib,
        cost.lanes,
        given.digest_len,
        Type(cost.type),
        cost.version,
    )


COSTS = st.builds(
    lambda kind, version, lanes, more, time_cost: Argon2Cost(kind, version, 8 * lanes + more, time_cost, lanes),
    kind=st.sampled_from([each.value for each in Type]),
    version=st.sampled_from([16, 19]),
    lanes=st.sampled_from([1, 1, 1, 2, 3]),
    # 8 to 12 KiB: the two first blocks are a segment. Beyond, whatever is no multiple of four blocks a lane is cut off.
    more=st.one_of(st.integers(0, 12), st.integers(13, 700)),
    time_cost=st.integers(1, 4),
)
INPUTS = st.lists(
    st.builds(Argon2Input, st.binary(max_size=150), st.binary(min_size=8, max_size=48), st.integers(4, 128)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_makes_the_digests_of_argon2_cffi(name: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(cost=COSTS, inputs=INPUTS)
    def compare(cost: Argon2Cost, inputs: list[Argon2Input]) -> None:
        assert list(tried.digests(cost, inputs)) == [reference(cost, each) for each in inputs]

    tried: Engine = StockEngine()
    if name == "stock":
        compare()
        return
    best = EXTENSION.variant()
    EXTENSION.choose(name)
    try:
        tried = FastEngine()
        compare()
    finally:
        EXTENSION.choose(best)


@pytest.mark.parametrize(("memory_cost_kib", "time_cost", "lanes"), [(19_456, 2, 1), (7_168, 5, 1), (65_536, 3, 4)])
def test_it_makes_them_at_the_sizes_of_our_profiles(each: Engine, memory_cost_kib: int, time_cost: int, lanes: int) -> None:
    cost = Argon2Cost(Type.ID.value, 19, memory_cost_kib, time_cost, lanes)
    inputs = [Argon2Input(b"one", b"salt" * 4, 32), Argon2Input(b"other", b"SALT" * 4, 32)]
    assert list(each.digests(cost, inputs)) == [reference(cost, given) for given in inputs]


def test_the_memory_of_one_hash_does_not_show_in_the_next(each: Engine) -> None:
    """Of whatever size the one before was, and whether the thread kept its memory or not."""
    for kept_kib in (0, 64, 512):
        each.keep(kept_kib)
        for memory_cost_kib in (512, 8, 64, 511, 8, 512):
            cost = Argon2Cost(Type.ID.value, 19, memory_cost_kib, 2, 1)
            inputs = [Argon2Input(b"one", b"salt" * 4, 32), Argon2Input(b"other", b"SALT" * 4, 16)]
            assert list(each.digests(cost, inputs)) == [reference(cost, given) for given in inputs]
    each.release()


def test_threads_at_once_do_not_disturb_each_other(each: Engine) -> None:
    cost = Argon2Cost(Type.ID.value, 19, 256, 3, 1)
    made: dict[int, list[bytes]] = {}
    together = threading.Barrier(4)

    def compute(number: int) -> None:
        each.keep(256)
        inputs = [Argon2Input(b"%d %d" % (number, turn), b"salt" * 4, 32) for turn in range(31)]
        together.wait()
        made[number] = list(each.digests(cost, inputs))
        each.release()

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        expected = [reference(cost, Argon2Input(b"%d %d" % (number, turn), b"salt" * 4, 32)) for turn in range(31)]
        assert made[number] == expected


@pytest.mark.parametrize(
    "cost",
    [Argon2Cost(2, 19, 7, 1, 1), Argon2Cost(2, 19, 8, 0, 1), Argon2Cost(2, 19, 8, 1, 0), Argon2Cost(2, 19, 15, 1, 2)],
)
def test_parameters_that_are_not_argon2s_are_refused(each: Engine, cost: Argon2Cost) -> None:
    with pytest.raises(HashingError):
        each.digests(cost, [Argon2Input(b"x", b"salt" * 4, 32)])


def test_want_of_memory_is_told(each: Engine) -> None:
    """A terabyte: no machine maps that, and if it did, nothing would be written into it before this test's end."""
    with pytest.raises(MemoryError):
        each.digests(Argon2Cost(2, 19, 2**31, 1, 1), [Argon2Input(b"x", b"salt" * 4, 32)])


def test_no_repr_shows_a_password() -> None:
    assert "secret" not in repr(Argon2Input(b"secret", b"salt" * 4, 32))
    assert "secret" not in repr((Argon2Input(b"secret", b"salt" * 4, 32),))


class Refusing:
    """An extension that has no memory for two hashes, or for none."""

    def __init__(self, digests: Callable[..., Sequence[bytes]]) -> None:
        self.digests = digests

    def variant(self) -> str:
        return "refusing"

    def runnable(self) -> list[str]:
        return ["plain"]


def test_where_the_fast_engine_lacks_memory_the_stock_one_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_want(*_cost: object) -> Sequence[bytes]:
        raise MemoryError

    monkeypatch.setattr(engine, "_extension", Refusing(in_want), raising=False)
    cost = Argon2Cost(Type.ID.value, 19, 64, 2, 1)
    inputs = [Argon2Input(b"%d" % number, b"salt" * 4, 32) for number in range(3)]
    assert list(FastEngine().digests(cost, inputs)) == [reference(cost, given) for given in inputs]


def test_where_there_is_no_extension_the_stock_engine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_has_extension", False)
    assert isinstance(best_engine(), StockEngine)


def test_an_extension_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes made by it would let nobody in whose password is checked on another machine."""

    def wrong_in_the_second(*arguments: Any) -> Sequence[bytes]:
        *cost, inputs = arguments
        one, other = StockEngine().digests(Argon2Cost(*cost), inputs)
        return one, bytes(len(other))

    monkeypatch.setattr(engine, "_has_extension", True)
    monkeypatch.setattr(engine, "_extension", Refusing(wrong_in_the_second), raising=False)
    assert isinstance(best_engine(), StockEngine)


def test_whoever_asks_is_told_why_the_stock_engine_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ENGINE", StockEngine())
    monkeypatch.setattr(engine, "_has_extension", True)
    monkeypatch.setattr(engine, "_extension", Refusing(StockEngine().digests), raising=False)
    wrong = engine.engine_choice()
    assert (wrong.name, wrong.variants) == ("argon2-cffi", ["plain"])
    assert wrong.why_stock == "the extension makes other digests than argon2-cffi"
    monkeypatch.setattr(engine, "_has_extension", False)
    monkeypatch.setattr(engine, "_not_loaded", "libx.so: no such file")
    missing = engine.engine_choice()
    assert (missing.name, missing.variants) == ("argon2-cffi", ())
    assert missing.why_stock == "the extension cannot be loaded: libx.so: no such file"


if VARIANTS:  # there is an extension, and what it promises beside the digests

    def test_the_best_variant_is_chosen_and_named() -> None:
        assert EXTENSION.variant() == VARIANTS[0]
        assert isinstance(engine.ENGINE, FastEngine)
        assert engine.ENGINE.name == f"tidegate ({VARIANTS[0]})"
        assert engine.engine_choice() == (engine.ENGINE.name, VARIANTS, None)

    def test_a_variant_that_the_cpu_has_not_is_refused() -> None:
        with pytest.raises(ValueError, match="no such variant"):
            EXTENSION.choose("avx1024")
        assert EXTENSION.variant() == VARIANTS[0]

    def test_a_thread_keeps_what_two_hashes_need_and_gives_it_back() -> None:
        seen: list[int] = []
        cost = Argon2Cost(Type.ID.value, 19, 3_000, 1, 1)
        pair = [Argon2Input(b"x", b"salt" * 4, 32)] * 2

        def compute() -> None:
            fast = FastEngine()
            fast.keep(3_000)
            for inputs in (pair[:1], pair, pair):
                fast.digests(cost, inputs)
                seen.append(EXTENSION.held() >> 20)
            fast.digests(cost._replace(memory_cost_kib=20_000), pair)  # too big to be kept
            seen.append(EXTENSION.held() >> 20)
            fast.release()
            seen.append(EXTENSION.held())

        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        assert seen == [4, 8, 8, 8, 0]  # 3 MB in huge pages of 2

    def test_what_the_extension_cannot_compute_it_refuses() -> None:
        one = (b"x", b"salt" * 4, 32)
        for arguments in (
            (3, 19, 64, 1, 1, (one,)),
            (2, 18, 64, 1, 1, (one,)),
            (2, 19, 64, 1, 2, (one, one)),
            (2, 19, 64, 1, 1, ()),
            (2, 19, 64, 1, 1, (one, one, one)),
            (2, 19, 64, 1, 1, ((b"x", b"salt" * 4, 3),)),
            (2, 19, 64, 1, 1, ((b"x", b"salt" * 4, sys.maxsize),)),
            (2, 19, 64, 1, 1, ((b"x", b"short", 32),)),
        ):
            with pytest.raises(ValueError):
                EXTENSION.digests(*arguments)
        with pytest.raises(TypeError):
            EXTENSION.digests(2, 19, 64, 1, 1, (("text", b"salt" * 4, 32),))
        with pytest.raises(SystemError):
            EXTENSION.digests(2, 19, 64, 1, 1, (b"no tuple",))
