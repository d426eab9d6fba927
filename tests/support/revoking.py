"""Holds a node to the second within which it must refuse the access tokens of a revoked session (DESIGN 5.4)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.client import Reply
from tests.support.lines import Line

REFUSED_WITHIN_S: Final = 1.0


def refused_in_time(lines: Sequence[Line], *access_tokens: str) -> None:
    """Ask on all *lines* until each refuses each of *access_tokens*, whose revocation has just been acknowledged.

    What counts is when a request was sent: one that was sent within the second and answered after it proves nothing, so a
    slow machine fails nothing.

    Raises:
        AssertionError: A request that was sent later was let in.
    """
    acknowledged_at = time.monotonic()
    for line in lines:
        for token in access_tokens:
            while True:
                sent_at = time.monotonic()
                status = line.get("/me", token=token).status
                if status == 401:
                    break
                assert status == 200, status
                late_by_s = sent_at - acknowledged_at - REFUSED_WITHIN_S
                assert late_by_s < 0, f"process {line.pid} still lets it in {late_by_s:.3f} s too late"
                time.sleep(0.01)


@dataclass
class Dead:
    """The pairs that nobody may use any more.

    Attributes:
        pairs: Each as a login or a refresh answered it.
        lines: On which that is asked.
    """

    lines: list[Line]
    pairs: list[dict[str, str]] = field(default_factory=list)

    def note(self, reply: Reply) -> None:
        """Keep the pair of *reply*, if it has one."""
        if reply.status == 200:
            self.pairs.append(reply.json)

    def must_be_dead(self) -> None:
        for pair in self.pairs:
            for line in self.lines[:2]:  # one of each process
                assert line.form("/refresh", {"refresh_token": pair["refresh_token"]}).status == 401
        refused_in_time(self.lines[:2], *(pair["access_token"] for pair in self.pairs))
