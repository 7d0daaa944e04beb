"""Undo what a case wrote, in the same way it was written: planned, approved, one transaction, proven."""

from __future__ import annotations

from recovery.compare.changes import ChangeSet
from recovery.errors import ErrorId, RowbackError
from recovery.model.report import Verification
from recovery.postgres.catalog import read_catalog
from recovery.postgres.connect import Session
from recovery.postgres.repair.stage import before_image_schema
from recovery.reload.load import AtTarget, Job, Loaded, Repair, load
from recovery.reload.undo import invert, plan_undo
from recovery.reload.verify import verify
from recovery.workflow.cases import Case
from recovery.workflow.errand import UNTOUCHED, Errand
from recovery.workflow.steps.load import differs, settled_status


def undo(errand: Errand) -> Verification:
    """Take the last write of the case back, a repair or an undo, as far as nobody has changed its rows since.

    Raises nothing-to-undo when the case wrote nothing, or when no row is left that could be taken back.
    """
    case = errand.case
    with errand.live() as live:
        _settle(errand, live)
        last = last_written(case)
        if last is None:
            raise RowbackError(
                ErrorId.NOTHING_TO_UNDO, f"case {case.id} has written nothing",
                state="nothing was done", help=f"rowback status {case.id}",
            )  # fmt: skip
        number = case.new_number()
        case.changes_path(number).unlink(missing_ok=True)
        errand.record("changes.begun", data={"number": number})
        with ChangeSet(case.changes_path(number)) as changes:
            job = _plan(errand, live, last, changes, number)
            done = load(live, job, None, before_commit=lambda d: _note(errand, "undo.intent", d))
            _note(errand, "undo.done", done)
            return _verified(errand, live, job, done)


def last_written(case: Case) -> Loaded | None:
    """The last write of a case that is known to have committed."""
    undone = case.noted("undo.done")
    found = undone[-1] if undone else case.outcome_of("load")
    return Loaded.model_validate(found) if found else None


def _plan(errand: Errand, live: Session, last: Loaded, changes: ChangeSet, number: int) -> Job:
    case, catalog = errand.case, read_catalog(live)
    if last.number is None:
        invert(live, catalog, last, None, changes)
    else:
        with ChangeSet(case.changes_path(last.number)) as source:
            invert(live, catalog, last, source, changes)
    plan = plan_undo(live, catalog, changes, case=case.id, number=number, request=case.request)
    if not plan.writes:
        raise RowbackError(
            ErrorId.NOTHING_TO_UNDO, f"none of the rows that case {case.id} wrote can be taken back",
            *sorted({change.reason for change in changes.changes() if change.reason}),
            state=UNTOUCHED, help=f"look at them in {changes.path} and in schema {before_image_schema(case.id)}",
        )  # fmt: skip
    errand.approve(plan)
    nowhere = AtTarget(fingerprints={}, sequences=catalog.sequences, oldest_version_num=live.info.server_version)
    repair = Repair(changes, number, before_image_schema(case.id))
    return Job(
        case.plan.database, catalog, [], nowhere, plan.held_triggers, case.plan.lock_timeout_ms,
        case.plan.lock_attempts, repair,
    )  # fmt: skip


def _settle(errand: Errand, live: Session) -> None:
    """An undo that was cut off in its commit: the server knows whether it happened."""
    done = {note["xid"] for note in errand.case.noted("undo.done")}
    for intent in errand.case.noted("undo.intent"):
        if intent["xid"] not in done and settled_status(live, intent["xid"], errand) == "committed":
            errand.record("undo.done", data=intent)


def _note(errand: Errand, event: str, done: Loaded) -> None:
    errand.record(event, data=done.model_dump(mode="json"))


def _verified(errand: Errand, live: Session, job: Job, done: Loaded) -> Verification:
    found = verify(live, job, done)
    errand.record("undo.verification", data=found.model_dump(mode="json"))
    if not found.proven:
        raise differs(errand, found)
    return found
