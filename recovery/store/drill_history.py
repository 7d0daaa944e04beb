"""Drills that were held: one small file each, so that a machine remembers when recovery was last rehearsed."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import ValidationError

from recovery.config import state_home
from recovery.files import private_directory, replace_private
from recovery.model.recovery_report import Objectives
from recovery.model.values import Moment, Value

DRILL_AGE = timedelta(days=90)  # what was not rehearsed for longer is not rehearsed


class DrillRecord(Value):
    """One drill. `target`: what it was held on (`lab`, or an instance); `phases_s`: seconds by phase.

    Times are None where an error ended it before they could be measured.
    """

    schema_version: Literal[1] = 1
    at: Moment
    target: str
    fault: str
    passed: bool
    recovery_time_s: float | None
    data_loss_s: float | None
    objectives: Objectives
    phases_s: dict[str, float]
    rows: int
    tool_version: str


def remember_drill(record: DrillRecord) -> None:
    """Keep it below the state directory."""
    directory = private_directory(state_home() / "drills")
    file = directory / f"{record.at:%Y%m%d-%H%M%S-%f}.json"
    replace_private(file, (record.model_dump_json(indent=1) + "\n").encode())


def held_on(instance: str) -> list[DrillRecord]:
    """Those of one instance, oldest first. A drill on the lab says nothing of an instance, its size or its backups."""
    return [drill for drill in held_drills() if drill.target == instance]


def rehearse(instance: str) -> str:
    """How that is done: the profile names the instance, and a copy of it is drilled."""
    return f"rowback drill --target PROFILE --table TABLE, with a profile for '{instance}' in rowback.toml"


def held_drills() -> list[DrillRecord]:
    """All that are remembered, oldest first; what cannot be read is no drill."""
    directory, records = state_home() / "drills", []
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            records.append(DrillRecord.model_validate_json(path.read_text()))
        except (ValidationError, OSError, UnicodeDecodeError):
            continue
    return records
