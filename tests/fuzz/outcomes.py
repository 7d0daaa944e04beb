"""What became of one input: accepted, refused in words, a traceback, or a hang; and where in the product that was."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import click

from guards import refusal
from recovery import errors
from tests.fuzz.target import PRODUCT, REFUSALS, ROOT, Target

KNOWN_EXITS = frozenset({0, 2, 3, *errors.EXIT_CODES.values(), *refusal.EXIT_CODES.values()})


class End(StrEnum):
    """How a call of the product ended. The last three are defects."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    TRACEBACK = "traceback"
    HANG = "hang"
    DIED = "died"


DEFECTS = (End.TRACEBACK, End.HANG, End.DIED)


@dataclass(frozen=True)
class Kind:
    """Inputs of one kind end alike: `what` is the error's id or the exception's type, `where` the product's line."""

    end: End
    what: str = ""
    where: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.end, self.what, self.where and f"at {self.where}") if part)


@dataclass(frozen=True)
class Outcome:
    """The kind of one input, and of a defect the traceback."""

    kind: Kind
    text: str = ""


class OverTime(BaseException):
    """The time of one input is over. No Exception, so that no handler of the product takes it."""


STUCK = 3  # so many time limits may pass in which an input waits, or the machine does something else


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OverTime in the block once it has computed for `seconds`, or waited for STUCK times that."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OverTime

    before = [signal.signal(number, over) for number in (signal.SIGVTALRM, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, STUCK * seconds)  # of a timeout of the test, where there is one
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGVTALRM, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, left_s)


def outcome_of(target: Target, data: Any, directory: Path, limit_s: float) -> Outcome:
    """Call the product with one input."""
    try:
        with time_limit(limit_s):
            target.act(data, directory)
    except REFUSALS as error:
        return _of_refusal(error)
    except OverTime as error:
        return Outcome(Kind(End.HANG, "", _place(error.__traceback__)), _traceback_text(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the product lets through is what we look for)
        return Outcome(Kind(End.TRACEBACK, type(error).__name__, _place(error.__traceback__)), _traceback_text(error))
    return Outcome(Kind(End.ACCEPTED))


def _of_refusal(error: Exception) -> Outcome:
    """A refusal has words, and an exit code that is documented."""
    place = _place(error.__traceback__)
    match error:
        case errors.RowbackError() | refusal.GuardError():
            if not str(error) or error.exit_code not in KNOWN_EXITS:
                return Outcome(Kind(End.TRACEBACK, "undocumented refusal", place), str(error))
            return Outcome(Kind(End.REFUSED, str(error.id), place))
        case click.UsageError():
            error.format_message()
    return Outcome(Kind(End.REFUSED, type(error).__name__, place))


def _place(trace: TracebackType | None) -> str:
    """The innermost line of the product."""
    place = ""
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(PRODUCT):
            place = f"{name[len(str(ROOT)) + 1 :]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _traceback_text(error: BaseException) -> str:
    """The traceback; the middle of a very long one is left out."""
    lines = "".join(traceback.format_exception(error, limit=-25)).splitlines()
    return "\n".join(line[:300] for line in (lines if len(lines) < 90 else [*lines[:10], "…", *lines[-70:]]))
