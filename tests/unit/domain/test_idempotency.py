"""What is kept of a request stands for all of it, for its caller and for its key, and shows nothing of them."""

import hashlib
import hmac
from itertools import combinations

from tidegate.domain.idempotency import KeyedRequest, Keying, Operation

KEY = "a key of the client's"


def mac_for(purpose: bytes) -> bytes:
    return hmac.digest(b"secret", purpose, hashlib.sha256)


KEYING = Keying(mac_of_key=lambda text: mac_for(b"k" + text), mac_of_request=lambda text: mac_for(b"r" + text))


def kept(
    *fields: str | None, key: str = KEY, caller: bytes = b"", operation: Operation = Operation.REGISTER
) -> KeyedRequest:
    return KEYING(operation, key, caller=caller, fields=fields)


def test_the_same_request_is_the_same() -> None:
    assert kept("ada", None, "horse") == kept("ada", None, "horse")


def test_another_request_under_the_key_has_the_same_key_and_another_code() -> None:
    """However the same characters are shared out among the fields; absent and empty are two things."""
    requests = [
        kept("ab", "c"),
        kept("a", "bc"),
        kept("abc", ""),
        kept("abc", None),
        kept(None, "abc"),
        kept("abc"),
        kept("", "abc"),
        kept("-", "+abc"),
    ]
    assert len({request.key_mac for request in requests}) == 1
    assert len({request.request_mac for request in requests}) == len(requests)


def test_a_key_is_of_one_caller_and_for_one_operation() -> None:
    requests = [
        kept("a"),
        kept("a", caller=b"ann"),
        kept("a", caller=b"bob"),
        kept("a", operation=Operation.CHANGE_PASSWORD),
        kept("a", key="another key of theirs"),
        kept("a", caller=b"ann", operation=Operation.CHANGE_PASSWORD),
    ]
    for one, other in combinations(requests, 2):
        assert one.key_mac != other.key_mac
        assert one.request_mac != other.request_mac


def test_caller_and_key_cannot_be_shared_out_otherwise() -> None:
    assert kept(key="bc", caller=b"a").key_mac != kept(key="c", caller=b"ab").key_mac


def test_the_code_of_the_request_cannot_be_tried_without_the_key() -> None:
    """Even by who has both secrets: the key, which is kept nowhere, is part of what is coded."""
    assert kept("ada", "horse").request_mac != kept("ada", "horse", key="some other guess").request_mac


def test_it_does_not_show_itself() -> None:
    assert "mac" not in repr(kept("ada"))
