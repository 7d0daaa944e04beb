"""`rowback` during which something else dies, right after one journal record is on disk.

    STRIKE_PID=… or STRIKE_DSN=…  python -m tests.faults.strike_at EVENT STEP restore …

STRIKE_PID is killed with -9 (a postmaster); on STRIKE_DSN every session of rowback is terminated.
EVENT#3 is its third time.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import psycopg

from recovery.cli import main
from recovery.store.journal import Journal, Record

WANTED = tuple(sys.argv[1:3])
append = Journal.append
EVENT, _, TIMES = WANTED[0].partition("#")
seen = itertools.count(1)


def append_and_strike(
    self: Journal, event: str, *, step: str | None = None, data: Mapping[str, Any] | None = None
) -> Record:
    record = append(self, event, step=step, data=data)
    if (event, step or "-") == (EVENT, WANTED[1]) and next(seen) == int(TIMES or 1):
        strike()
    return record


def strike() -> None:
    if pid := os.environ.pop("STRIKE_PID", None):
        os.kill(int(pid), signal.SIGKILL)
    if dsn := os.environ.pop("STRIKE_DSN", None):
        with psycopg.connect(dsn, autocommit=True) as boss:
            boss.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'rowback'"
            )


if __name__ == "__main__":
    Journal.append = append_and_strike  # type: ignore[method-assign]
    sys.argv = ["rowback", *sys.argv[3:]]
    main()
