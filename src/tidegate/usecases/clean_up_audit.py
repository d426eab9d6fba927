"""Removes records of the audit that are older than they are kept, in bounded batches."""

from dataclasses import dataclass

from tidegate.ports.jobs import AuditRemoval


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpAudit:
    """One batch at a time.

    Attributes:
        kept_for_s: How long a record is kept.
        at_most: How many records one batch looks at.
    """

    audit: AuditRemoval
    kept_for_s: float
    at_most: int = 1000

    async def __call__(self) -> bool:
        """Do one batch; True when there may be more to do at once."""
        removed = await self.audit.remove_old_audit(older_than_s=self.kept_for_s, at_most=self.at_most)
        return removed == self.at_most
