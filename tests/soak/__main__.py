"""`python -m tests.soak --level 2 --seed 1 --schedules 300`, or with `--minutes`."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import time
from contextlib import ExitStack
from functools import partial

import tests.conftest  # noqa: F401 (files of the run in memory where they fit, cases apart from the user's own)
from tests.soak import level1, level2
from tests.soak.lab import lab_running
from tests.soak.server import running
from tests.soak.tally import Tally


def main() -> int:
    """Run schedules of one level, print failures as they come and the table at the end."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    asked.add_argument("--level", type=int, choices=(1, 2), help="default: both, one after the other")
    asked.add_argument("--seed", type=int, default=1, help="of the first schedule; the next ones count on")
    asked.add_argument("--schedules", type=int, default=10**9, help="of each level")
    asked.add_argument("--minutes", type=float, default=10.0**6, help="for both levels together")
    asked.add_argument("--verbose", action="store_true", help="print every schedule's steps")
    options = asked.parse_args()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)  # servers and files go with us
    levels = (options.level,) if options.level else (2, 1)
    failed = False
    for level in levels:
        minutes = options.minutes / len(levels)
        tally = soak(level, options.seed, options.schedules, minutes, verbose=options.verbose)
        print(tally.table(), flush=True)  # noqa: T201
        failed |= bool(tally.failures)
    return int(failed)


def soak(level: int, seed: int, schedules: int, minutes: float, *, verbose: bool = False) -> Tally:
    """So many schedules of consecutive seeds, or as many as fit into the time."""
    tally, until = Tally(level), time.monotonic() + 60 * minutes
    gc.collect()
    gc.freeze()  # what is forked stays shared
    with ExitStack() as opened:
        play = (
            partial(level2.play, opened.enter_context(running()))
            if level == 2
            else partial(level1.play, opened.enter_context(lab_running()))
        )
        for number in range(seed, seed + schedules):
            if time.monotonic() > until:
                break
            run = play(number, tally)
            if verbose:
                print("\n".join(run.steps), flush=True)  # noqa: T201
            if failure := tally.judged(number, run.steps, run.broken):
                print(failure, flush=True)  # noqa: T201
    return tally


if __name__ == "__main__":
    sys.exit(main())
