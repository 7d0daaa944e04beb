"""The files of a case's change sets: whether they are what was recorded, and which are not needed any more."""

from __future__ import annotations

from recovery.changeset.change_set import ChangeSet
from recovery.errors import RowbackError
from recovery.store.case_directory import Case


def changes_problem(case: Case, number: int, digest: str) -> str:
    """Why change set `number` cannot be trusted, or an empty text: it is there, and its digest is the recorded one."""
    path = case.changes_path(number)
    if path.is_symlink() or not path.is_file():
        return f"the change set {path} is missing"
    try:
        with ChangeSet(path) as changes:
            return "" if changes.digest() == digest else f"the change set {path} was altered"
    except RowbackError:
        return f"the change set {path} cannot be read"


def sweep_changes(case: Case) -> None:
    """Remove change sets of a case that nothing refers to, and roll back what a killed process left of the others.

    They hold rows, and a process that was killed left them behind.
    """
    plan = case.repair_plan
    used = {note["number"] for event in ("undo.intent", "undo.done") for note in case.noted(event)}
    used |= {plan.number} if plan else set()
    for path in sorted(case.directory.glob("changes-*.sqlite*")):
        number = path.name.removeprefix("changes-").partition(".")[0]
        if not number.isdecimal() or int(number) not in used:
            path.unlink(missing_ok=True)
        elif path.suffix != ".sqlite" and case.changes_path(int(number)).is_file():
            with ChangeSet(case.changes_path(int(number))) as changes:
                changes.shapes()  # SQLite takes a journal back when it reads; one that stays holds nothing of use
            path.unlink(missing_ok=True)
