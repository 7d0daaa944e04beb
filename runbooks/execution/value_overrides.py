"""Values given with -p to a run, in place of those that its steps saved: above all a target time."""

from __future__ import annotations

from collections.abc import Mapping

from recovery.errors import ErrorId, RowbackError
from recovery.store.journal import Journal
from runbooks.book.document import Book
from runbooks.execution.parameter_values import overruled
from runbooks.execution.run_store import BookRun
from runbooks.steps.person_steps import Ask, Confirm


def overrule(run: BookRun, journal: Journal, book: Book, answers: Mapping[str, str]) -> None:
    """Take them for those that steps of this run have saved already.

    Raises usage where a later step went by the old one: it has to be done again.
    """
    overrides = overruled(book, answers)
    for number, step in enumerate(book.steps):
        saved = run.state(step.id).saved or {}
        changed = {name: value for name, value in overrides.items() if name in saved and saved[name] != value}
        if not changed:
            continue
        later = (each for each in book.steps[number + 1 :] if not isinstance(each, Ask | Confirm))
        if begun := next((each.id for each in later if run.state(each.id).begun), None):
            name, value = next(iter(changed.items()))
            raise RowbackError(
                ErrorId.USAGE,
                f"step '{begun}' of run {run.id} went by another {name.lower()}: {saved[name]}",
                state="nothing was done",
                help=f"do it and all behind it again: rowback runbook resume {run.id} --from {begun}"
                f" -p {name.lower()}={value}",
            )
        if changed.keys() < saved.keys():  # what else it found hangs on that
            run.take(journal.append("step.again", step=step.id))
        else:
            run.take(journal.append("step.done", step=step.id, data={"saved": {**saved, **changed}}))
