"""What a diagnosis says: one finding a matter, each with a verdict and, unless all is well, what to do next."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Slow, or wrong one day."""
    WRONG = "wrong"
    """Tidegate does not start so, or breaks a promise."""


class Matter(StrEnum):
    """What a finding is about, in the order of telling."""

    HASHING = "hash engine"
    CORES = "cores"
    MEMORY = "memory"
    HUGE_PAGES = "huge pages"
    OPEN_FILES = "open files"
    BACKLOG = "accept queue"
    CLOCK = "clock"
    SETTINGS = "settings"
    SIGNING_KEYS = "signing keys"
    DATABASE = "database"
    MIGRATIONS = "migrations"
    CONNECTIONS = "connections"
    TRANSACTIONS = "transactions"
    DURABILITY = "durability"
    REPLICAS = "replicas"


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        matter: What.
        verdict: How bad it is.
        says: What is the case. Holds no secret.
        advice: What to do next; empty where all is well.
    """

    matter: Matter
    verdict: Verdict
    says: str
    advice: str = ""


class Diagnosis(Struct, frozen=True):
    """All that was found.

    Attributes:
        verdict: The worst.
        findings: By matter.
    """

    verdict: Verdict
    findings: Sequence[Finding]


def ok(matter: Matter, says: str) -> Finding:
    """A finding that all is well."""
    return Finding(matter, Verdict.OK, says)


def warning(matter: Matter, says: str, advice: str) -> Finding:
    """A finding that something is slow, or wrong one day."""
    return Finding(matter, Verdict.WARNING, says, advice)


def wrong(matter: Matter, says: str, advice: str) -> Finding:
    """A finding that something is wrong."""
    return Finding(matter, Verdict.WRONG, says, advice)


def diagnosis(findings: Sequence[Finding]) -> Diagnosis:
    """All of *findings* by matter, with the worst of their verdicts."""
    verdicts = {finding.verdict for finding in findings}
    worst = next((each for each in (Verdict.WRONG, Verdict.WARNING) if each in verdicts), Verdict.OK)
    return Diagnosis(worst, sorted(findings, key=lambda finding: list(Matter).index(finding.matter)))


def as_text(found: Diagnosis) -> str:
    """One line a finding, and one more for what to do."""
    matters, verdicts = (max(len(each) for each in kind) for kind in (Matter, Verdict))
    lines = []
    for finding in found.findings:
        lines.append(f"{finding.verdict:<{verdicts}}  {finding.matter:<{matters}}  {finding.says}")
        if finding.advice:
            lines.append(f"{'':<{verdicts}}  {'':<{matters}}  -> {finding.advice}")
    return "\n".join(lines) + "\n"


def as_json(found: Diagnosis) -> str:
    """The same for programs."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
