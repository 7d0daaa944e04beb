"""Where a case stands, for people who only want to know that."""

from __future__ import annotations

from enum import StrEnum

from recovery.model.values import Moment, Value


class Standing(StrEnum):
    """`waiting`: for a person; `paused`: an error stopped it, or no process is running it."""

    WORKING = "working"
    WAITING = "waiting"
    PAUSED = "paused"
    RECOVERED = "recovered"
    IN_PART = "in-part"
    BESIDE = "beside"
    TAKEN_BACK = "taken-back"
    CLOSED = "closed"


class StepStanding(Value):
    """One step. `seconds`: how long it has taken so far, or took."""

    name: str
    done: bool
    begun: bool
    seconds: float


class Status(Value):
    """`seq`, `at`: the journal's last record.

    `progress`: 0 to 1 by what steps took in past cases; `eta_s`: None where no past case tells. `written`: rows are
    back in the original already; `not_back`: lost rows that stay lost; `not_deleted`: rows that were to be deleted and
    stay; `keeps_newer`: what was written since T stays.
    """

    case: str
    seq: int
    at: Moment
    opened_at: Moment
    instance: str
    database: str
    target_time: Moment
    standing: Standing
    reason: str = ""
    steps: tuple[StepStanding, ...]
    current: str | None
    progress: float
    eta_s: float | None
    rows: int | None = None
    not_back: int = 0
    not_deleted: int = 0
    written: bool
    keeps_newer: bool
    copy_exists: bool
