"""Makes the clock of a process wrong by CLOCK_OFF_S seconds: Python imports this first, where it is asked to.

All that tells the time in a node takes `time.time` (wiring/parts.py), so that is what is wrong; timers go by other clocks,
as they do on a machine whose clock is wrong.
"""

import os
import time

_off_s = int(os.environ.get("CLOCK_OFF_S", "0"))
_true_time, _true_time_ns = time.time, time.time_ns

time.time = lambda: _true_time() + _off_s
time.time_ns = lambda: _true_time_ns() + _off_s * 1_000_000_000
