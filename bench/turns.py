"""What was measured, one turn after the other: everything that the tables and plots are made of, and all that is kept."""

import msgspec
from bench.histogram import Histogram
from bench.orders import StreamMeasured


class Raw(msgspec.Struct, frozen=True, kw_only=True, tag="raw", tag_field="turn"):
    """A turn in which the cores did nothing but hash.

    Attributes:
        hashes_per_s: On all cores together.
        cpu_ms_each: What one hash cost, in milliseconds of one core.
        elsewhere_cores: How many cores other programs, and other machines on the same host, kept busy meanwhile.
    """

    hashes_per_s: float
    cpu_ms_each: float
    elsewhere_cores: float


class Window(msgspec.Struct, frozen=True, kw_only=True, tag="window", tag_field="turn"):
    """A turn of load on one service.

    Attributes:
        service: Its name.
        label: What tells this window from the others of its service and round; empty where there is one only.
        connections: How many clients at once.
        asked_per_s: In an open loop, how many requests were due in a second; None: closed loop.
        seconds: How long it was measured.
        streams: What came of each stream, by name.
        good_status: The status that means success, by stream.
        cpu_s: CPU time meanwhile, in seconds: `node` (the service), `hashing` (the part of it that gives way to everything
            else: Tidegate's hash threads), `postgres`, `driver`, and whatever else the service needs (`Service.beside`).
        elsewhere_cores: As in `Raw`.
        pss_mib: Memory of the service, in MiB; pages that its processes share count once.
        rss_mib: The same, counted for each process.
    """

    service: str
    label: str
    connections: int
    asked_per_s: float | None
    seconds: float
    streams: dict[str, StreamMeasured]
    good_status: dict[str, int]
    cpu_s: dict[str, float]
    elsewhere_cores: float
    pss_mib: float
    rss_mib: float

    def good(self, stream: str) -> int:
        """Good answers to *stream* that came in the window."""
        return self.streams[stream].by_status.get(str(self.good_status[stream]), 0)

    def good_per_s(self, stream: str) -> float:
        """Good answers to *stream* in a second."""
        return self.good(stream) / self.seconds

    @property
    def cpu_us_each(self) -> float:
        """CPU time of the service, PostgreSQL and the driver together for one answer, in microseconds; 0 without any."""
        spent_s = self.cpu_s["node"] + self.cpu_s["postgres"] + self.cpu_s["driver"]
        return spent_s * 1e6 / self.answers if self.answers else 0.0

    @property
    def answers(self) -> int:
        """All answers that came in the window, whatever they said."""
        return sum(n for each in self.streams.values() for status, n in each.by_status.items() if status != "lost")


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look", tag_field="turn"):
    """A turn of looking for absent names in two existence filters, of few and of many names.

    Attributes:
        us_in_few: CPU time of one look, in microseconds.
        us_in_many: The same among many names.
        ratio: The median of the quotients of neighbours, many by few.
        mistaken_share: Of absent names, those that many names take for present ones.
        filter_bytes: Size of the filter of many names.
    """

    us_in_few: float
    us_in_many: float
    ratio: float
    mistaken_share: float
    filter_bytes: int


class Kill(msgspec.Struct, frozen=True, kw_only=True, tag="kill", tag_field="turn"):
    """A turn in which a part was killed while people logged in. All times but the longest wait count from the kill.

    Attributes:
        part: Such as "api-1".
        first_good_s: When the first login was answered that began after the kill.
        last_bad_s: When the last login ended that went wrong; 0 when none did.
        bad: How many went wrong.
        logins: How many ended after the kill.
        longest_s: How long the slowest of them took.
        up_s: When the part was there again.
        job_s: When the first job was done that a login put after the kill.
    """

    part: str
    first_good_s: float
    last_bad_s: float
    bad: int
    logins: int
    longest_s: float
    up_s: float
    job_s: float


class Delays(msgspec.Struct, frozen=True, kw_only=True, tag="delays", tag_field="turn"):
    """A turn of revoking sessions, one after the other.

    Attributes:
        delays: From the acknowledgement on one node to the refusal of the access token on another.
    """

    delays: Histogram


class Jobs(msgspec.Struct, frozen=True, kw_only=True, tag="jobs", tag_field="turn"):
    """A turn in which one worker did jobs as fast as it could.

    Attributes:
        queue: Where it took them from: "queue" or "table".
        done: How many it did.
        seconds: How long that took.
        cpu_s: CPU time meanwhile, in seconds, of `worker`, `postgres` and `nats`.
    """

    queue: str
    done: int
    seconds: float
    cpu_s: dict[str, float]

    @property
    def per_s(self) -> float:
        """Jobs in a second."""
        return self.done / self.seconds

    def per_s_of(self, cores: int) -> float:
        """Jobs in a second if all took place on *cores* that nobody else used, none of them ever idle."""
        return self.done / sum(self.cpu_s.values()) * cores


class Granted(msgspec.Struct, frozen=True, kw_only=True, tag="granted", tag_field="turn"):
    """A turn in which workers granted the coupons of one campaign.

    Attributes:
        workers: How many there were.
        eligible: How many had registered through it.
        cap: How many coupons there were.
        granted: How many were granted.
        seconds: From the first login, or from when the campaign began to serve those that were noted, to the last coupon.
        cpu_s: CPU time meanwhile, in seconds, by what it was spent on.
        by_rows: From each first login to its grant, as the rows say: both are the beginnings of transactions.
        seen: From each first login to when its grant could be seen by others, to within `seen_within_s`.
        asked: The same as clients saw it at GET /me/coupons; empty where that was not asked.
        seen_within_s: How often was looked.
        step_s: Between two of the numbers below, which begin with the first login.
        first_logins: How many there had been by then.
        grants: How many coupons could be seen by then.
    """

    workers: int
    eligible: int
    cap: int
    granted: int
    seconds: float
    cpu_s: dict[str, float]
    by_rows: Histogram = Histogram()
    seen: Histogram = Histogram()
    asked: Histogram = Histogram()
    seen_within_s: float = 0.0
    step_s: float = 0.0
    first_logins: list[int] = []
    grants: list[int] = []

    @property
    def per_s(self) -> float:
        """Coupons in a second."""
        return self.granted / self.seconds

    @property
    def cpu_us_each(self) -> dict[str, float]:
        """CPU time for one coupon, in microseconds, by what it was spent on."""
        return {part: spent_s / self.granted * 1e6 for part, spent_s in self.cpu_s.items()} if self.granted else {}


Turn = Raw | Window | Look | Kill | Delays | Jobs | Granted
Round = list[Turn]
