"""What of an account could be recovered, and what is missing."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from recovery.model.protection import Protection
from recovery.model.values import Moment, Value


class Severity(StrEnum):
    """`high`: a loss today could not be undone. `medium`: it could be made so easily. `low`: good practice."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Gap(Value):
    """One thing that is missing, with the command or setting that adds it."""

    severity: Severity
    what: str
    fix: str


class Rehearsal(Value):
    """The last drill that this machine remembers: of that instance, else of the lab."""

    target: str
    at: Moment
    passed: bool


class Covered(Value):
    """One instance or cluster with its gaps, the worst first. `lag_s`: how far behind now its restore window ends."""

    protection: Protection
    lag_s: float | None
    rehearsal: Rehearsal | None
    gaps: tuple[Gap, ...]


class Coverage(Value):
    """Everything these credentials may see. `unseen`: regions that could not be looked at, with the reason."""

    schema_version: Literal[1] = 1
    at: Moment
    account: str
    regions: tuple[str, ...]
    covered: tuple[Covered, ...]
    unseen: tuple[str, ...]

    def of(self, severity: Severity) -> list[tuple[Covered, Gap]]:
        """Every gap of that severity with what has it."""
        return [(each, gap) for each in self.covered for gap in each.gaps if gap.severity is severity]
