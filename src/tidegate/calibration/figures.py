"""What a calibration found: a value in the program, and the JSON that one machine writes and another plans from."""

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]

CPU_SHARE_MIN: Final = 0.9
"""Of a machine that had nothing else to do: the rest is interrupts, and Python's own work between two calls."""


class FiguresUnreadable(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """A text is not what `tidegate calibrate --json` writes; the message says where it differs."""


class Machine(Struct, frozen=True, kw_only=True):
    """Where it was measured.

    Attributes:
        cpu: As its maker calls it.
        cores: That Tidegate may use.
        memory_bytes: That it may use.
        system: Kernel and its version.
    """

    cpu: str
    cores: Count
    memory_bytes: Count
    system: str


class Hashing(Struct, frozen=True, kw_only=True):
    """How fast hashes of one profile are made in one way.

    Attributes:
        threads: That hashed at the same time.
        in_turn: Hashes that each of them computed at once.
        hashes_per_s: Of all threads together, the median of the rounds.
        hashes_per_s_per_core: The same, by threads.
        latency_ms_median: Of one hash, from the call to its end; those computed in turn end together.
        latency_ms_p95: The same; one in twenty took longer.
        cpu_ms_each: CPU time of one hash.
        cpu_share: CPU time that the threads got, of what they could have had. Under `CPU_SHARE_MIN` the machine was busy
            with other things, and an idle one makes more.
        memory_bytes_per_thread: That a hash thread needs for them.
        memory_bytes: The same, of all threads.
    """

    threads: Count
    in_turn: Count
    hashes_per_s: Positive
    hashes_per_s_per_core: Positive
    latency_ms_median: Positive
    latency_ms_p95: Positive
    cpu_ms_each: Positive
    cpu_share: Positive
    memory_bytes_per_thread: Count
    memory_bytes: Count

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs took so much of the CPU that the figures say as much of them."""
        return self.cpu_share < CPU_SHARE_MIN


class ProfileFigures(Struct, frozen=True, kw_only=True):
    """What was measured of one profile.

    Attributes:
        name: As in the settings.
        accepted_by: Who calls it strong enough.
        memory_cost_kib: Of one hash.
        time_cost: Passes.
        parallelism: Lanes.
        one_thread: A single thread, while the other cores rest.
        one_at_a_time: A thread on every core, each with one hash.
        two_in_turn: The same with two each; None where the engine or the profile does not allow that.
    """

    name: str
    accepted_by: str
    memory_cost_kib: Count
    time_cost: Count
    parallelism: Count
    one_thread: Hashing
    one_at_a_time: Hashing
    two_in_turn: Hashing | None

    @property
    def in_a_storm(self) -> Hashing:
        """How a node hashes when more wait than it has threads: two in turn, where that can be."""
        return self.two_in_turn or self.one_at_a_time

    @property
    def hashes_per_s(self) -> float:
        """The most that all cores make together."""
        return self.in_a_storm.hashes_per_s


class Recommendation(Struct, frozen=True, kw_only=True):
    """What to set on a machine like this one.

    Attributes:
        wished_latency_ms: That one hash may take, at the 95th percentile, with every core busy.
        is_met: Whether any profile keeps to it here.
        reason: Why this one.
        settings: To be set, by variable.
    """

    wished_latency_ms: Positive
    is_met: bool
    reason: str
    settings: Mapping[str, str]


class Calibration(Struct, frozen=True, kw_only=True):
    """Everything that `tidegate calibrate` tells.

    Attributes:
        tidegate: Version of the program.
        measured_at: RFC 3339, UTC.
        machine: Where.
        engine: What computed Argon2.
        seconds: That measuring took, about.
        rounds: In each of which every profile had its turn.
        cpu_share: As that of each way, of all of them together.
        profiles: What was measured.
        left_out: Names of the profiles that were not, each with the reason.
        recommendation: For the wished latency.
    """

    tidegate: str
    measured_at: str
    machine: Machine
    engine: str
    seconds: Positive
    rounds: Count
    cpu_share: Positive
    profiles: tuple[ProfileFigures, ...]
    left_out: Mapping[str, str]
    recommendation: Recommendation

    def of(self, name: str) -> ProfileFigures | None:
        """What was measured of the profile called *name*."""
        return next((each for each in self.profiles if each.name == name), None)


def read_calibration(text: bytes) -> Calibration:
    """Read what `tidegate calibrate --json` wrote.

    Raises:
        FiguresUnreadable: It did not write this.
    """
    try:
        return msgspec.json.decode(text, type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FiguresUnreadable(str(error)) from None


def as_json(value: Struct) -> str:
    """*value* as JSON for people and programs: indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
