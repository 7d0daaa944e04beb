"""Fuzz every parser of the product, by time or by number of inputs. Exit code 1: a traceback or a hang."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.fuzz.batches import scratch_directory
from tests.fuzz.command_line import checked
from tests.fuzz.outcomes import DEFECTS, outcome_of
from tests.fuzz.runner import Bounds, fuzz, is_clean, short, table
from tests.fuzz.target import Target, input_of
from tests.fuzz.targets import TARGETS


def main(words: Sequence[str] | None = None) -> int:
    """The command line of the fuzzer."""
    options = _parser().parse_args(words)
    targets = [target for target in TARGETS if not options.target or target.name in options.target]
    if options.index is not None:
        return _again(targets, options.seed, options.index, options.limit)
    minutes = options.minutes if options.minutes or options.inputs else 15.0
    bounds = Bounds(
        options.seed,
        options.inputs,
        minutes * 60 if minutes else None,
        options.limit,
        options.checks,
        reduce=not options.no_reduce,
    )
    began = time.monotonic()
    results = fuzz(targets, bounds, _say)
    _say(f"\n{table(results)} (seed {bounds.seed}, {time.monotonic() - began:,.0f} s with the command line)")
    return 0 if is_clean(results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long (default: 15, unless --inputs is given)")
    parser.add_argument("--inputs", type=int, help="how many inputs, of all targets together")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs (default: 1)")
    parser.add_argument("--target", action="append", choices=[target.name for target in TARGETS], help="only this one")
    parser.add_argument("--index", type=int, help="try one input again, of one target")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of one input (default: 5)")
    parser.add_argument("--checks", type=int, default=60, help="calls of the command line a target (default: 60)")
    parser.add_argument("--no-reduce", action="store_true", help="show inputs as they are")
    return parser


def _again(targets: Sequence[Target], seed: int, index: int, limit_s: float) -> int:
    """One input: what it is, what comes of it here, and at the command line."""
    bad = False
    for target in targets:
        target.prepare()
        data = input_of(target, seed, index)
        with scratch_directory() as directory:
            outcome = outcome_of(target, data, directory, limit_s)
        _say(f"{target.name} {seed} {index}: {outcome.kind}\ninput: {short(repr(data))}\n{outcome.text}")
        call = checked(target, data)
        if call:
            _say(f"{call.shown}\n{call.complaint or 'nothing wrong with it'}\n{call.details}")
        bad = bad or outcome.kind.end in DEFECTS or bool(call and call.complaint)
    return 1 if bad else 0


def _say(text: str) -> None:
    """To stdout, whatever is in it."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
