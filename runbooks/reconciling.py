"""After a crash in a step: did its command happen? The cases' own journals know."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from recovery.errors import RowbackError
from recovery.workflow.cases import all_cases, find_case
from recovery.workflow.journal import read_records
from runbooks.document import Command, Executed

# What in a case's journal tells that a verb has done its work.
TELLS = {"apply": ("step.done", "load"), "undo": ("undo.done", None), "close": ("case.closed", None)}


def already_happened(step: Executed, lines: list[list[str]], since: datetime) -> Command | dict[str, str] | None:
    """For a step that began at `since` and was cut off: the values that it would have saved, when it has happened; the
    command that continues it; None where it may simply be done again."""
    if not isinstance(step, Command) or step.effects.reads or len(lines) != 1:
        return None
    verb, arguments = lines[0][1], lines[0][2:]
    if verb in ("restore", "open"):
        return _of_a_new_case(step, verb, arguments, since)
    if verb in TELLS and arguments and _told(verb, arguments[0], since):
        return {}
    return None


def _of_a_new_case(step: Command, verb: str, arguments: list[str], since: datetime) -> Command | dict[str, str] | None:
    begun = [case for case in all_cases() if case.opened_at >= since]
    if not begun:
        return None
    case = begun[-1]
    named = {name.upper(): case.id for name, path in step.effects.saves if path in ("", "case")}
    if verb == "open" or case.closed_at:
        return named
    again = f"rowback resume {case.id}" + (" --json" if "--json" in arguments else "")
    return replace(step, lines=(again,))


def _told(verb: str, case: str, since: datetime) -> bool:
    event, step = TELLS[verb]
    try:
        records = read_records(find_case(case))
    except RowbackError:
        return False
    return any(r.event == event and r.at >= since and step in (None, r.step) for r in records)
