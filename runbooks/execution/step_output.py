"""A step's stdout as it is shown before the next question: JSON documents as the tables that people read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from recovery.model.incident_findings import FindReport
from recovery.model.recovery_report import Report
from recovery.model.repair_plan import RepairPlan
from recovery.report.find_text import find_text
from recovery.report.repair_text import repair_text
from recovery.report.report_text import report_text
from runbooks.steps.book_step import Executed
from runbooks.steps.rowback_command import Command
from runbooks.steps.step_effects import words_of

LINES_SHOWN = 60
_AS_TEXT: Mapping[str, Callable[[str], str]] = {
    "find": lambda text: find_text(FindReport.model_validate_json(text)),
    "diff": lambda text: repair_text(
        RepairPlan.model_validate({name: value for name, value in json.loads(text).items() if name != "digest"})
    ),
    **dict.fromkeys(
        ("restore", "resume", "report", "apply"), lambda text: report_text(Report.model_validate_json(text))
    ),
}


def shown(step: Executed, text: str, file: str) -> list[str]:
    """Its lines, the first of them; `file` has the rest."""
    lines = _readable(step, text).rstrip().splitlines()
    rest = len(lines) - LINES_SHOWN
    return lines if rest <= 0 else [*lines[:LINES_SHOWN], f"and {rest} more lines: {file}"]


def _readable(step: Executed, text: str) -> str:
    """A document that cannot be read as what it should be is shown as it stands."""
    words = words_of(step.lines[-1]) if isinstance(step, Command) else []
    as_text = _AS_TEXT.get(words[1]) if len(words) > 1 and "--json" in words else None
    try:
        return as_text(text) if as_text else text
    except (ValidationError, json.JSONDecodeError, RecursionError):
        return text
