"""The time as the machine has it, also where a test has frozen Python's clocks (freezegun, time-machine).

The wall clock is read once, when the guard is loaded, which is before any test runs; from there on it is advanced by a
kernel clock that neither library touches. What a server is asked has the server's own time beside it
(guards.server_evidence).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_read = time.clock_gettime  # the function itself: freezegun replaces names in modules
# Neither library touches it; time-machine may move the plain monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC))
_LOADED_AT, _LOADED_S = datetime.fromtimestamp(time.time(), UTC), _read(_CLOCK)


def seconds() -> float:
    """Seconds of a clock that only goes forward."""
    return _read(_CLOCK)


def now() -> datetime:
    """The time of this machine, in UTC."""
    return _LOADED_AT + timedelta(seconds=_read(_CLOCK) - _LOADED_S)
