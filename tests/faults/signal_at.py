"""`rowback` that signals itself right after one journal record is on disk.

    python -m tests.faults.signal_at SIGKILL EVENT STEP restore …

EVENT#3 is its third time. No hook in the product: the journal's own `append` is wrapped from outside.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from recovery.cli import main
from recovery.store.journal import Journal, Record

NUMBER, WANTED = signal.Signals[sys.argv[1]], tuple(sys.argv[2:4])
append = Journal.append
EVENT, _, TIMES = WANTED[0].partition("#")
seen = itertools.count(1)


def append_and_signal(
    self: Journal, event: str, *, step: str | None = None, data: Mapping[str, Any] | None = None
) -> Record:
    record = append(self, event, step=step, data=data)
    if (event, step or "-") == (EVENT, WANTED[1]) and next(seen) == int(TIMES or 1):
        os.kill(os.getpid(), NUMBER)
    return record


if __name__ == "__main__":
    Journal.append = append_and_signal  # type: ignore[method-assign]
    sys.argv = ["rowback", *sys.argv[4:]]
    main()
