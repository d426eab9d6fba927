"""How long a revocation that one node has acknowledged takes to be known on another.

  python -m bench.revocation_delay 127.0.0.1:8081 127.0.0.1:8082
      logs in and out on the first and asks the second with the access token, without a pause, until it is refused

Both serve one database, with the same keys and TIDEGATE_ISSUER; where they have a TIDEGATE_QUEUE_URL a worker runs too.
The time is from the acknowledgement to the answer that refuses, so a busy machine makes it longer, never shorter.
"""

import argparse
import http.client
import json
import math
import secrets
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlencode

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class _Node:
    """One node, over one connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)

    def register(self, person: dict[str, str]) -> tuple[int, bytes]:
        """Register *person*."""
        return self._send("POST", "/register", json.dumps(person), {"Content-Type": "application/json"})

    def ask(self, method: str, path: str, *, token: str = "", **fields: str) -> tuple[int, bytes]:
        """Ask, with *fields* as a form, and return the status and the body."""
        headers = (_FORM if fields else {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return self._send(method, path, urlencode(fields) if fields else None, headers)

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, path, body=body, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def delays_s(here: str, there: str, *, count: int) -> list[float]:
    """Revoke *count* sessions on *here*, one after the other, and tell how long each was still let in by *there*.

    Raises:
        SystemExit: A node answers otherwise than it should.
    """
    revoking, hearing = _Node(here), _Node(there)
    person = {"username": f"delay-{secrets.token_hex(8)}", "password": secrets.token_hex(16)}
    _expect(revoking.register(person), 200)
    found = []
    for _ in range(count):
        token = json.loads(_expect(revoking.ask("POST", "/login", **person), 200))["access_token"]
        _expect(hearing.ask("GET", "/me", token=token), 200)
        _expect(revoking.ask("POST", "/logout", token=token, scope="this"), 200)
        acknowledged_at = time.perf_counter()
        while hearing.ask("GET", "/me", token=token)[0] != 401:
            if time.perf_counter() - acknowledged_at > 10:
                raise SystemExit("a revoked session is still let in after 10 s")
        found.append(time.perf_counter() - acknowledged_at)
    return found


def _expect(answer: tuple[int, bytes], status: int) -> bytes:
    if answer[0] != status:
        raise SystemExit(f"{answer[0]} instead of {status}")
    return answer[1]


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The least value that *share* of all do not exceed."""
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def main() -> int:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("here")
    parser.add_argument("there")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    found = sorted(delays_s(arguments.here, arguments.there, count=arguments.count))
    figures = "  ".join(f"p{share:.0%} {quantile(found, share) * 1000:.1f} ms".replace("%", "") for share in (0.5, 0.99, 1))
    sys.stdout.write(f"{len(found)} revocations: {figures}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
