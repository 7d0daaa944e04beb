"""What a log tells of one statement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from recovery.incident.log_record import LogRecord


class Outcome(StrEnum):
    """What became of a statement."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"


@dataclass
class Sighting:
    """One statement in one session. Times in seconds since 1970; `exact`: to the millisecond.

    `from_s`: when it began. `until_s`: when it, or its COMMIT, was known to be over; None while nothing tells.
    """

    text: str
    record: LogRecord
    from_s: float
    parameters: str = ""
    duration_ms: float | None = None
    objects: tuple[str, ...] = ()
    outcome: Outcome = Outcome.UNKNOWN
    why: str = "the log ends before its outcome"
    until_s: float | None = None
    xid: int = 0
    nested: bool = False  # inside a function or procedure
    settings: int = 0  # how often the server's logging had been set anew before it ran
    scratch: bool = False  # temporary tables alone, right only if ROLLBACK would have been logged
    assumed: bool = False  # right only if BEGIN and COMMIT would have been logged
