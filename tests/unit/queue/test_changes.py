"""A message of the feed says what it said, and what cannot be read is not taken for empty."""

from uuid import uuid4

import msgspec
import pytest

from tidegate.domain.changes import Told
from tidegate.feed.relay import CHANGES_AT_ONCE_MAX
from tidegate.queue.changes import UnreadableMessage, decode, encode


def test_a_message_says_what_was_told() -> None:
    told = Told(
        marker="m", revoked=(uuid4(), uuid4()), changed=(uuid4(),), added=(uuid4(),), added_many=True, has_lost=True
    )
    assert decode(encode(told)) == told
    assert decode(encode(Told(marker="m"))) == Told(marker="m")


def test_the_largest_message_is_taken_by_a_server_as_it_comes() -> None:
    """NATS takes 1 MB unless told otherwise."""
    assert len(encode(Told(marker="m", revoked=tuple(uuid4() for _ in range(CHANGES_AT_ONCE_MAX))))) < 1 << 20


@pytest.mark.parametrize("payload", [b"", b"{}", b"nonsense", b'{"version":1,"told":{"revoked":["x"]}}', b"\xff"])
def test_what_is_no_message_is_unreadable(payload: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        decode(payload)


def test_what_a_later_release_adds_is_passed_over_and_what_it_changes_is_unreadable() -> None:
    message = msgspec.json.decode(encode(Told(marker="m")))
    assert decode(msgspec.json.encode({**message, "more": 1, "told": {**message["told"], "more": [1]}})).marker == "m"
    with pytest.raises(UnreadableMessage):
        decode(msgspec.json.encode({**message, "version": 2}))
