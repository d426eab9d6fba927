"""Writes down what happened to users, for a batch of jobs at once: never in the request itself (DESIGN 5.6)."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.jobs import JobKind
from tidegate.ports.jobs import JobBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvents:
    """Does every job but the notices: records for the audit, the last login, and the notices that follow.

    Attributes:
        welcomes: Whether who has registered is to be greeted, by a job of its own: it reaches outside, where no transaction
            does, and must not hold up what needs none.
        on_first_logins: Told that places in the line of a campaign were noted, before that is committed; None: nobody is.
    """

    welcomes: bool
    on_first_logins: Callable[[], None] | None = None

    async def __call__(self, batch: JobBatch) -> None:
        """Do *batch*."""
        logins = [job for job in batch.jobs if job.kind is JobKind.LOGIN_SUCCEEDED]
        held: AbstractSet[UUID] = frozenset()
        if logins:
            # Of those that wait on too: a place in the line of a campaign does not wait for a row that somebody holds.
            noted = await batch.note_first_logins(
                {job.user_id: job for job in sorted(logins, key=lambda job: job.job_id, reverse=True)}
            )
            if noted and self.on_first_logins is not None:
                self.on_first_logins()
            held = await batch.record_last_logins({job.user_id: job.at for job in sorted(logins, key=lambda job: job.at)})
        done = list(batch.jobs)
        if held:
            waiting = [job for job in done if job.kind is JobKind.LOGIN_SUCCEEDED and job.user_id in held]
            batch.keep(waiting)
            done = [job for job in done if job.job_id not in batch.kept]
        if done:
            await batch.record_audit(done)
        registered = [job.user_id for job in done if job.kind is JobKind.USER_REGISTERED]
        if registered and self.welcomes:
            await batch.put(JobKind.WELCOME_DUE, registered)
