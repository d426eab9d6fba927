"""Holds a node to the second within which it must refuse the access tokens of a revoked session (DESIGN 5.4)."""

import time
from collections.abc import Sequence
from typing import Final

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
