"""Cleaning up goes on for as long as a batch is full, and leaves keys that still mean something."""

from asyncio import run
from uuid import UUID

from tests.fakes.idempotency import InMemoryIdempotencyKeys
from tidegate.domain.idempotency import KEPT_S, KeyedRequest
from tidegate.usecases.clean_up_idempotency_keys import CleanUpIdempotencyKeys


def test_expired_keys_go_batch_by_batch_and_others_stay() -> None:
    keys = InMemoryIdempotencyKeys()
    for number in range(5):
        keys.take(KeyedRequest(b"%d" % number, b"request"), made=UUID(int=number))
    keys.let_pass(KEPT_S)
    keys.take(KeyedRequest(b"new", b"request"), made=UUID(int=9))
    clean_up = CleanUpIdempotencyKeys(keys=keys, at_most=2)
    assert [run(clean_up()) for _ in range(3)] == [True, True, False]
    assert keys.count == 1
