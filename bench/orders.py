"""What the harness orders of the load driver, and what the driver tells it: one JSON object a line, over its pipes."""

import msgspec
from bench.histogram import Histogram

NUMBER_DIGITS = 7
"""Of a user's number in a name: all names are of one length, and so are the requests."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one sort.

    In `head` and `body` these stand for what changes from one request to the next: {number}, a user's number; {access} and
    {refresh}, the tokens of a session that was opened before the measuring began. No refresh token is sent twice at once.

    Attributes:
        name: In the results.
        head: Request line and headers, each with its CRLF, without Host and Content-Length.
        body: May be empty.
        good: The status that means success.
        refresh_at: Where the answer has the next refresh token, as `Opening.access_at`; empty where there is none.
        connections: How many, kept alive; no more requests than these are ever under way.
        rate_per_s: Open loop: so many come in a second whatever the server does, and the latency of each counts from when
            it was due. None: closed loop, each connection asks, waits for the answer and asks again.
        first_number: Of the users that this stream is about.
        numbers: How many they are; after the last comes the first again.
        requests: How many are asked in all, warm-up included, before the window ends; closed loop only. None: the clock
            ends it.
    """

    name: str
    head: str
    body: str
    good: int
    refresh_at: str = ""
    connections: int
    rate_per_s: float | None
    first_number: int
    numbers: int
    requests: int | None = None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How sessions are opened before the measuring begins.

    Attributes:
        head: As in `Stream`.
        body: As in `Stream`.
        good: As in `Stream`.
        sessions: How many; they belong to the users from number 1.
        access_at: Where the answer has the access token: "json:NAME" or "header:NAME".
        refresh_at: Where it has the refresh token; empty where there is none.
    """

    head: str
    body: str
    good: int
    sessions: int
    access_at: str
    refresh_at: str


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """One window of load.

    Attributes:
        host: Of the server.
        port: Of the server.
        opening: How sessions are opened; None where no stream needs any.
        streams: All at once.
        warm_up_s: How long to run before the measuring; closed loops at least until every connection has had an answer.
        seconds: How long to measure.
        drain_s_max: How long to wait afterwards for the answers that are due.
    """

    host: str
    port: int
    opening: Opening | None
    streams: list[Stream]
    warm_up_s: float
    seconds: float
    drain_s_max: float


class StreamMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one stream.

    Attributes:
        asked: Requests that were due in the window.
        unanswered: Of those, the ones that had no answer at the end of the draining.
        by_status: Answers that came in the window, by status; `lost` counts connections that ended instead of answering.
        good: Latencies of the good answers: in a closed loop of those that came in the window; in an open loop of those
            that were due in it, whenever they came, and how long the unanswered had waited by the end.
        refused: The same of the answers 429 and 503.
        lateness: Open loop only: how long after it was due a request was sent although a connection was free.
    """

    asked: int
    unanswered: int
    by_status: dict[str, int]
    good: Histogram
    refused: Histogram
    lateness: Histogram


class Measuring(msgspec.Struct, frozen=True, tag="measuring", tag_field="event"):
    """The warm-up is over."""


class Ended(msgspec.Struct, frozen=True, tag="ended", tag_field="event"):
    """The window is over; answers may still be due."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured", tag_field="event"):
    """What came of it all.

    Attributes:
        seconds: How long it was measured.
        driver_cpu_s: What this process spent meanwhile.
        streams: By name.
    """

    seconds: float
    driver_cpu_s: float
    streams: dict[str, StreamMeasured]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed", tag_field="event"):
    """The driver gave up.

    Attributes:
        reason: A sentence.
    """

    reason: str


Event = Measuring | Ended | Measured | Failed
