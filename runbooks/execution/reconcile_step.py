"""After a crash in a step: did its command happen? The cases' own journals know."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from recovery.errors import RowbackError
from recovery.store.case_directory import Case, all_cases, find_case
from recovery.store.journal import read_records
from runbooks.book.document import Command, Executed

# What in a case's journal tells that a verb has done its work.
TELLS = {"undo": ("undo.done", None), "close": ("case.closed", None)}


def already_happened(
    step: Executed, lines: list[list[str]], since: datetime, mark: str
) -> Command | dict[str, str] | None:
    """Whether a step that began at `since` and did not end well took effect: then the values that it would have saved.

    Returns the command that continues it instead, or None where it may be done again. `mark`: what identifies the
    step's commands. Raises LookupError where it cannot be determined: a statement or a script that writes.
    """
    if step.effects.reads:
        return None
    if not isinstance(step, Command):
        raise LookupError("it began, it writes, and whether it did cannot be told")
    verb, arguments = lines[0][1], lines[0][2:]
    if verb in ("restore", "open"):
        return _of_a_new_case(step, verb, arguments, mark)
    if verb == "apply" and arguments:
        return _of_an_apply(step, arguments, since)
    if verb in TELLS and arguments and _recorded(verb, arguments[0], since):
        return {}
    return None


def case_of(mark: str) -> Case | None:
    """The case that a step opened."""
    return next((case for case in reversed(all_cases()) if case.run == mark), None)


def _of_a_new_case(step: Command, verb: str, arguments: list[str], mark: str) -> Command | dict[str, str] | None:
    case = case_of(mark)
    if case is None or case.outcome == "closed without change":
        return None
    json = " --json" if "--json" in arguments else ""
    if verb == "open":  # a later step completes it; what it prints is the case
        return {name.upper(): case.id for name, path in step.effects.saves if path in ("", "case")}
    if case.closed_at:  # the same document again: what was expected of it and is saved from it is looked at
        return replace(step, lines=(f"rowback report {case.id}{json}",))
    return replace(step, lines=(f"rowback resume {case.id}{json}",))


def _of_an_apply(step: Command, arguments: list[str], since: datetime) -> Command | dict[str, str] | None:
    """An apply took effect only when its proof was made."""
    if not _in_journal("step.done", "load", arguments[0], since):
        return None
    if _in_journal("step.done", "verify", arguments[0], since):
        return {}
    return replace(step, lines=(f"rowback resume {arguments[0]}",))


def _recorded(verb: str, case: str, since: datetime) -> bool:
    event, step = TELLS[verb]
    return _in_journal(event, step, case, since)


def _in_journal(event: str, step: str | None, case: str, since: datetime) -> bool:
    try:
        records = read_records(find_case(case))
    except RowbackError:
        return False
    return any(r.event == event and r.at >= since and step in (None, r.step) for r in records)
