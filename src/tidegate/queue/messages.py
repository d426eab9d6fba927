"""What goes through the queue, and what may go wrong with it, in words that no driver is needed for."""

from typing import NamedTuple


class QueueAway(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """NATS does not answer in time, not at all, or not with what was asked. What it would carry must go without it.

    Attributes:
        why: In one or two words; never what was sent, and no password.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class StreamMissing(QueueAway):
    """NATS answers, but has no such stream or consumer: its storage was wiped, or nobody has made them yet."""


class Outgoing(NamedTuple):
    """A message to publish.

    Attributes:
        message_id: Of two messages with the same id, published within the stream's duplicate window, one is kept. Empty:
            both are.
    """

    subject: str
    payload: bytes
    message_id: str = ""


class Incoming(NamedTuple):
    """A message as it was delivered.

    Attributes:
        seq: Its place in the stream, from 1; a wiped stream begins again.
        delivery: How often it was delivered, this time included.
        reply: Where to it is acknowledged.
    """

    subject: str
    payload: bytes
    seq: int
    delivery: int
    reply: str


class StreamState(NamedTuple):
    """What a stream holds.

    Attributes:
        created: When it was made, as NATS tells it: another text means another stream, whose numbers begin again.
        first_seq: Of the oldest message that is held; `last_seq` + 1 where none is.
        last_seq: Of the newest message that ever was; 0: none.
        messages: How many are held.
    """

    created: str
    first_seq: int
    last_seq: int
    messages: int


def place_of(reply: str) -> tuple[int, int, int]:
    """How often a message was delivered, its place in the stream and its place among what its consumer delivered.

    Args:
        reply: ``$JS.ACK.stream.consumer.delivered.sseq.cseq.time.pending``, or with a domain and an account before the
            stream and a random word at the end (NATS ADR 15).

    Raises:
        QueueAway: It is neither.
    """
    words = reply.split(".")
    first = 4 if len(words) == 9 else 6
    try:
        return int(words[first]), int(words[first + 1]), int(words[first + 2])
    except (IndexError, ValueError):
        raise QueueAway("a message without its place") from None
