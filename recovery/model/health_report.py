"""Whether an instance could be recovered now, check by check."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from recovery.model.values import Moment, Value


class State(StrEnum):
    """`problem`: a recovery would fail or lose data. `warning`: it would be harder. `unknown`: it could not be seen."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


class Area(StrEnum):
    """Where the fix is to be made."""

    AWS = "AWS"
    DATABASE = "database"
    MACHINE = "this machine"


class Check(Value):
    """One thing looked at. `reason`: what was seen, with its values; `fix`: the next command where it is not well."""

    name: str
    area: Area
    state: State
    reason: str
    fix: str = ""


class Health(Value):
    """Everything `rowback doctor` looked at."""

    schema_version: Literal[1] = 1
    instance: str
    database: str
    examined_at: Moment
    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What a recovery would fail on; the exit code follows from it."""
        return self.of(State.PROBLEM)

    def of(self, state: State) -> tuple[Check, ...]:
        """The checks in that state."""
        return tuple(check for check in self.checks if check.state is state)
