"""Jobs: held, done, put off, carried to workers, and their records."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tidegate.domain.jobs import Addressee, Claimed, Depth, Job, JobKind


class JobBatch(Protocol):
    """Jobs that one worker holds in one transaction: that they are done and what that changes become true together."""

    jobs: Sequence[Job]

    apart: Sequence[Job]
    """Those that were found beside them and are not part of this: somebody ended in the middle of trying them, so each is
    to be tried alone (`Jobs.take_alone`)."""

    kept: AbstractSet[int]
    """Those that `keep` was told of."""

    def keep(self, jobs: Sequence[Job]) -> None:
        """Let *jobs* wait on instead: they cannot be done at this moment, by nobody's fault."""

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> AbstractSet[UUID]:
        """Set when each user last logged in, aware times; never back to an earlier time. Who is gone is passed over.

        Returns:
            Users whose row somebody else holds; nothing is written for them, and nobody waits.
        """

    async def note_first_logins(self, first: Mapping[UUID, Job]) -> int:
        """Note for each user who takes part in a campaign the first of their logins, *first* if none was before it.

        Returns:
            For how many it was the first; they may be next in a line.
        """

    async def record_audit(self, jobs: Sequence[Job]) -> None:
        """Write down what *jobs* tell, for good."""

    async def put(self, kind: JobKind, users: Sequence[UUID]) -> None:
        """Put a job of *kind* for each of *users*."""

    async def addressees(self, users: Sequence[UUID]) -> Mapping[UUID, Addressee]:
        """How to reach *users*; who is gone is not among them."""


class Jobs(Protocol):
    """The jobs that are waiting, on the primary. Kinds that this release does not know are left to a newer one."""

    def take(self, kinds: Sequence[JobKind], *, at_most: int) -> AbstractAsyncContextManager[JobBatch]:
        """Hold jobs of *kinds* that are due and that nobody else holds: those that failed first, then the oldest.

        At the end of the block they are done; when it raises they wait on. If it raises `Unavailable`, or does not end at
        all, one of them may be the cause: whoever takes them next finds them `apart`.

        Args:
            kinds: Of `NOTICES` or of `RECORDED`, never of both.
            at_most: How many, those `apart` included.
        """

    def take_named(self, kinds: Sequence[JobKind], jobs: Sequence[int]) -> AbstractAsyncContextManager[JobBatch]:
        """Hold those of *jobs* that wait and that nobody else holds; as `take`. Never waits for who holds them."""

    def take_alone(self, job: Job, *, again_after_s: float) -> AbstractAsyncContextManager[JobBatch]:
        """Hold *job*, which was `apart`, and count it as tried before the block begins: it may not live to count it.

        The batch is empty if somebody else holds it, tries it or has done it. A job that is kept was not tried.

        Args:
            job: As it was found; counted only if nobody has since.
            again_after_s: When it is due again if the block never ends.
        """

    async def unfinished(self, jobs: Sequence[int]) -> frozenset[int]:
        """Which of *jobs* are not done yet, by whomever."""

    async def claim(self, kinds: Sequence[JobKind], *, at_most: int, again_after_s: float) -> list[Claimed]:
        """Take the oldest jobs of *kinds* that are due to be published; unless done, they are due again after a while.

        Each is claimed by one caller only, however many ask, and none is passed over for good, in whatever order the
        transactions that put them are committed.
        """

    async def put_off(self, job: int, *, tries: int, error: str, again_after_s: float) -> None:
        """Note that *job* failed for the *tries*th time, with an error of the class *error*; it is due *again_after_s*."""

    async def bury(self, job: int, *, tries: int, error: str) -> None:
        """Note that *job* failed once too often: it waits for a person, and holds up nobody."""

    async def depth(self) -> Depth:
        """How many wait, counted as far as it is worth."""


class Carrier(Protocol):
    """Carries the ids of jobs to whichever worker is free. It may lose, double and reorder them, or be away."""

    @property
    def is_up(self) -> bool:
        """Whether asking makes sense now."""

    async def publish(self, claimed: Sequence[Claimed]) -> bool:
        """Hand over *claimed*; False: they, or some of them, may be lost."""

    async def backlog(self) -> int | None:
        """How many are handed over and not done; None: they are away."""

    async def pull(self, *, at_most: int, wait_s: float) -> Sequence[int] | None:
        """Take the ids of jobs, in any order, perhaps more than once; none: nothing came in time. None: they are away."""

    async def settle(self, jobs: Sequence[int]) -> None:
        """Say that what was pulled for *jobs* need not be delivered again."""

    async def put_back(self, jobs: Sequence[int], *, delay_s: float) -> None:
        """Let *jobs* be delivered again after *delay_s*."""


class AuditRemoval(Protocol):
    """Removes the records that are older than anybody keeps them."""

    async def remove_old_audit(self, *, older_than_s: float, at_most: int) -> int:
        """Look at the *at_most* oldest records, remove those older than *older_than_s*, and return how many those were."""
