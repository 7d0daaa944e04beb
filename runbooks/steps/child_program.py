"""Run a step's program as a child: its output into files, without secrets, and its end within a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from recovery.config import PROFILE_VARIABLE
from recovery.redaction import Redactor
from recovery.store.case_directory import RUN_VARIABLE
from runbooks.steps.book_step import Effects
from runbooks.steps.saved_values import saved_of
from runbooks.steps.surroundings import CutOff, StepError, Surroundings

TAIL_LINES = 12
GRACE_S, DRAIN_S = 30.0, 2.0


def run_programs(
    programs: Sequence[Sequence[str]], values: Mapping[str, str], effects: Effects, around: Surroundings, out: Path
) -> dict[str, str]:
    """Run `programs` in order, each with the person's environment, `values` and what marks the run's commands.

    Output goes to `out` and, with the suffix .err, beside it. Returns the values that are saved. Raises StepError,
    CutOff after the time limit, KeyboardInterrupt after the child has ended.
    """
    around.logs.mkdir(exist_ok=True)
    err = out.with_suffix(".err")
    texts = []
    for path in (out, err):
        path.touch(mode=0o600)
    with out.open("w") as output, err.open("w") as errors:
        for program in programs:
            code, text = _run(program, {**values, **_marks(around)}, effects, around, errors)
            texts.append(text)
            output.write(around.redact(text))
            output.flush()
            if code not in effects.exits:
                expected = " or ".join(map(str, effects.exits))
                last = "\n".join(err.read_text().strip().splitlines()[-TAIL_LINES:])
                raise StepError(f"it ended with exit code {code}, not {expected}" + (f"\n{last}" if last else ""))
    return saved_of(effects, "".join(texts), texts[-1], around)


def _run(
    program: Sequence[str], values: Mapping[str, str], effects: Effects, around: Surroundings, errors: IO[str]
) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **values},
            start_new_session=True,
        )
        around.begun(child.pid)
        reader = threading.Thread(target=_pass_on, args=(child.stderr, errors, around.redact), daemon=True)
        reader.start()
        try:
            code = child.wait(effects.timeout_s)
        except subprocess.TimeoutExpired:
            _end(child)
            raise CutOff(f"it was not done within {effects.timeout_s:.0f} s and was ended") from None
        except KeyboardInterrupt:
            _end(child)
            raise
        reader.join(DRAIN_S)  # what it left in the background may hold its output for ever
        errors.flush()
        output.seek(0)
        return code, output.read()


def _marks(around: Surroundings) -> dict[str, str]:
    return {RUN_VARIABLE: around.mark, **({PROFILE_VARIABLE: around.profile_name} if around.profile_name else {})}


def _pass_on(source: IO[str], output: IO[str], redact: Redactor) -> None:
    """Copy the step's stderr into its file and to the terminal."""
    with suppress(ValueError):  # the file is closed: nobody waits for what comes this late
        for line in source:
            shown = redact(line)
            output.write(shown)
            output.flush()
            sys.stderr.write(f"  │ {shown}")
            sys.stderr.flush()


def _end(child: subprocess.Popen[str]) -> None:
    """As Ctrl-C does: a rowback command then writes its journal. It runs in a session of its own, with its children."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, signal.SIGINT)
            child.wait(GRACE_S)
    finally:  # also when Ctrl-C comes again
        _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):  # what it left in the background does not hear of Ctrl-C, and holds its output
        os.killpg(child.pid, signal.SIGKILL)
