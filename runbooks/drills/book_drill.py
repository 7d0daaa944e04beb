"""A drill that follows a runbook: the same steps and commands as in an emergency; only its approvals are given."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from guards.plain_text import shell_word
from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_report import Report
from recovery.model.target import format_utc
from recovery.store.case_directory import all_cases
from recovery.workflow.approvals import current_principal
from recovery.workflow.case_report import report_of
from recovery.workflow.recovery_run import Listener
from runbooks.book.document import Book
from runbooks.book.parse_book import find_book, read_book
from runbooks.drills.datasets import FaultKind
from runbooks.execution.parameter_values import bind
from runbooks.execution.perform_book import Performance, perform
from runbooks.execution.run_store import Begun, BookRun, open_run
from runbooks.execution.step_answers import PresetAnswers
from runbooks.steps.person_steps import Approve, Confirm

# The fault that each recovering book is for.
FAULTS: Mapping[str, FaultKind] = {
    "truncated-tables": FaultKind.TRUNCATE,
    "bad-update": FaultKind.BAD_UPDATE,
    "dropped-columns": FaultKind.DROP_COLUMN,
    "dropped-objects": FaultKind.DROP_TABLE,
}


def answers(
    book: Book, instance: str, database: str, incident: tuple[datetime, tuple[str, ...], tuple[int, ...]]
) -> dict[str, str]:
    """What the drill knows, by the names that the book asks for."""
    target, tables, xids = incident
    values = {
        "instance": instance,
        "database": database,
        "at": format_utc(target),
        "table": tables[0] if tables else "",
        "xid": str(xids[0]) if xids else "",
    }
    names = {parameter.name for parameter in book.parameters} | book.questions.keys()
    return {name: value for name, value in values.items() if name in names and value}


def recover_by_book(name: str, answers: Mapping[str, str], listener: Listener) -> Report:
    """Perform the book with every manual step and approval given, and return the report of the case it closed.

    Raises run-paused where a step fails, with what its steps printed kept; usage for a book that recovers nothing.
    """
    source = find_book(name)
    book = read_book(source)
    looked = frozenset(step.id for step in book.steps if isinstance(step, Confirm))
    agreed = frozenset(step.id for step in book.steps if isinstance(step, Approve))
    run, journal = open_run(source, book, bind(book, answers), Begun("auto", current_principal(None)))
    try:
        with journal:
            perform(Performance(run, journal, PresetAnswers(answers, looked, agreed), listener, Profile()))
    except RowbackError as error:
        raise _stopped(name, run, error) from error
    cases = all_cases()
    if not cases:
        raise RowbackError(
            ErrorId.USAGE,
            f"runbook '{name}' recovered nothing, so there is nothing to measure",
            state="the drill's own lab is gone",
            help=f"drill one of: {', '.join(FAULTS)}",
        )
    return report_of(cases[-1])


def _stopped(name: str, run: BookRun, error: RowbackError) -> RowbackError:
    """The run ends with the drill's own lab and cannot be resumed; the output of its steps says why."""
    logs = Path(tempfile.mkdtemp(prefix="rowback-drill-logs-"))
    if (run.directory / "logs").is_dir():
        shutil.copytree(run.directory / "logs", logs, dirs_exist_ok=True)
    return RowbackError(
        error.id,
        error.fact,
        *error.facts,
        state=f"the drill's own lab is gone; the output of each step is in {logs}",
        help=f"mend the runbook or what it calls, then: rowback drill {shell_word(name)}",
    )
