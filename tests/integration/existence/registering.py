"""Another process of the node, as the tests start it: notes names, or takes the lock and is stopped with it."""

import sys
import time

from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.existence.memory import FilterMemory
from tidegate.existence.shared_filter import SharedFilter


def main() -> None:
    """Words: the number of the memory, then ``hold``, or a prefix and a count. Says ``ready``, and begins with a line."""
    shared = FilterMemory(int(sys.argv[1]))
    if sys.argv[2] == "hold":
        assert shared.try_lock()
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[2] != "hold":
        existence = SharedFilter(shared)
        for number in range(int(sys.argv[3])):
            name = LoginIdentifier(IdentifierKind.USERNAME, f"{sys.argv[2]}-{number}")
            while existence.add([name]) is None:
                time.sleep(0)
    print("done", flush=True)


if __name__ == "__main__":
    main()
