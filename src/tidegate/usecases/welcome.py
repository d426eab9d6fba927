"""Greets who has registered. At least once: a worker killed after sending and before writing that down sends it again."""

from dataclasses import dataclass

from tidegate.ports.jobs import JobBatch
from tidegate.ports.notices import WelcomeSender


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Does the jobs `WELCOME_DUE`. Who is gone is greeted no more."""

    sender: WelcomeSender

    async def __call__(self, batch: JobBatch) -> None:
        """Send one greeting for each job of *batch*.

        Raises:
            NoticeUndelivered: One was not sent.
        """
        addressees = await batch.addressees([job.user_id for job in batch.jobs])
        for job in batch.jobs:
            addressee = addressees.get(job.user_id)
            if addressee is not None:
                await self.sender.welcome(job.job_id, addressee)
