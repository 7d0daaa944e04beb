"""Undo what a case wrote, in the same way it was written: planned, approved, one transaction, proven."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guards.plain_text import shell_word
from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import changed_columns
from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.account import Partial
from recovery.model.catalog import Catalog, Trigger
from recovery.model.recovery_report import Verification
from recovery.model.repair_plan import RepairPlan
from recovery.model.row_class import RowClass
from recovery.model.values import counted
from recovery.postgres.connect import Session
from recovery.postgres.lock_watchdog import watched
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.reload.load_job import AtTarget, Job, Loaded, Repair
from recovery.reload.load_transaction import load
from recovery.reload.reverse_by_images import images_problem, invert_images
from recovery.reload.reverse_load import invert, plan_undo
from recovery.reload.verify_after_commit import verify
from recovery.store.case_directory import Case
from recovery.store.change_set_files import changes_problem, sweep_changes
from recovery.workflow.approvals import refuse_undo_without_second_person
from recovery.workflow.case_lifecycle import terminate_like_interrupt
from recovery.workflow.recovery_run import UNTOUCHED, RecoveryRun
from recovery.workflow.settle_undo import settle_undo, undoing
from recovery.workflow.steps.load_records import written_by_load
from recovery.workflow.steps.load_step import Load, job
from recovery.workflow.steps.recreated_proof import with_objects
from recovery.workflow.steps.verify_step import as_far_as_seen, differs
from recovery.workflow.undo_recreated import is_recreation, prove_removed, removal_plan, remove_recreated

ATTEMPTS = 5  # where people write to these rows all the time


class _ChangedMeanwhile(RowbackError):
    """Others changed rows between the plan of an undo and its locks."""


@dataclass(frozen=True)
class Undone:
    """What an undo proved, and how many rows stay because others changed them since, by table and reason."""

    verification: Verification
    stay: int
    reasons: tuple[str, ...] = ()


def undo(recovery_run: RecoveryRun) -> Undone:
    """Undo the last write of the case, a repair or an undo, for rows that were not changed since.

    An undo that was cut off in its commit is finished, not undone itself: only its proof is missing then. Raises
    nothing-to-undo when the case wrote nothing, or when no row can be undone any more, and undo-in-part when rows would
    stay and the run does not accept that.
    """
    case = recovery_run.case
    with undoing(case):
        unfinished = settle(recovery_run)
        if not case.load_done and (batches := written_by_load(case)):  # what was not put back so far, never will be
            recovery_run.record("step.done", step=Load.name, data=batches.model_dump(mode="json"))
        if unfinished:
            return Undone(prove(recovery_run, unfinished), unfinished.skipped)
        if is_recreation(recovery_run):
            remove_recreated(recovery_run)
            return Undone(prove_removed(recovery_run), 0)
        loaded, plan = _take_back_at_last(recovery_run)
        blocked = sum(table.count(RowClass.BLOCKED) for table in plan.tables)
        recovery_run.record("undo.stay", data={"rows": staying(plan)})
        return Undone(prove(recovery_run, loaded), blocked + loaded.skipped, tuple(staying(plan)))


def _take_back_at_last(recovery_run: RecoveryRun) -> tuple[Loaded, RepairPlan]:
    """The same as `_take_back`, planned anew when others changed rows while it began; the last time that is raised."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _take_back(recovery_run)
        except _ChangedMeanwhile as changed:
            recovery_run.listener.notice(f"{changed.fact}: planned anew")
    return _take_back(recovery_run)


def _take_back(recovery_run: RecoveryRun) -> tuple[Loaded, RepairPlan]:
    case = recovery_run.case
    with _turned(recovery_run) as (original, changes, plan):
        _refuse_half(recovery_run, plan)
        refuse_undo_without_second_person(case)
        recovery_run.approve(plan)
        assert plan.number is not None
        repair = Repair(
            changes, plan.number, before_image_schema(case.id), plan.lifted, plan.changes_digest, plan.columns
        )
        what = _job(recovery_run, original, repair, plan.held_triggers)
        rolled_back = "the transaction was rolled back: nothing was taken back"
        with terminate_like_interrupt(), watched(original, state=rolled_back, say=recovery_run.listener.notice):
            loaded = load(original, what, None, before_commit=lambda intended: _intend(recovery_run, intended))
            _note(recovery_run, "undo.done", loaded)
    return loaded, plan


def preview_undo(recovery_run: RecoveryRun) -> RepairPlan:
    """What an undo would take back and what would stay. Reads only. Raises nothing-to-undo."""
    settle(recovery_run)
    if is_recreation(recovery_run):
        return removal_plan(recovery_run)
    with _turned(recovery_run) as (_, _, plan):
        return plan


@contextmanager
def _turned(recovery_run: RecoveryRun) -> Iterator[tuple[Session, ChangeSet, RepairPlan]]:
    """The last write turned round: a session on the original, the change set, and its plan. Raises nothing-to-undo."""
    case = recovery_run.case
    last = last_written(case)
    if last is None:
        raise _nothing_written(case)
    sweep_changes(case)
    number = case.new_number()
    case.changes_path(number).unlink(missing_ok=True)
    recovery_run.record("changes.begun", data={"number": number})
    try:
        with recovery_run.original() as original, ChangeSet(case.changes_path(number)) as changes:
            yield original, changes, _plan(recovery_run, original, last, changes, number)
    finally:
        sweep_changes(case)  # of a look, and of an undo that was refused, nothing stays


def staying(plan: RepairPlan) -> list[str]:
    """One line for each table and reason of rows that an undo leaves as they are."""
    lines = []
    for table in plan.tables:
        lines += [
            f"{table.name}  {counted(each.rows, 'row')} stay{'s' * (each.rows == 1)}: {each.reason}"
            for each in table.account.blocked
        ]
        if (more := table.count(RowClass.BLOCKED) - sum(each.rows for each in table.account.blocked)) > 0:
            lines.append(f"{table.name}  {counted(more, 'deleted row')} cannot be brought back")
    return lines


def _refuse_half(recovery_run: RecoveryRun, plan: RepairPlan) -> None:
    """An undo that leaves rows behind is made only by those who accept that. Raises undo-in-part."""
    stay, name = sum(table.count(RowClass.BLOCKED) for table in plan.tables), recovery_run.case.plan.database
    if not stay or recovery_run.partial is Partial.ACCEPT:
        return
    raise RowbackError(
        ErrorId.UNDO_IN_PART,
        f"{plan.writes:,} rows of case {plan.case} could be taken back, and {stay:,} would stay",
        *staying(plan),
        state=UNTOUCHED,
        help=[
            f"look: rowback undo {plan.case} --dry-run",
            f"take back that part: rowback undo {plan.case} --accept-partial --confirm {shell_word(name)}",
        ],
    )


def _nothing_written(case: Case) -> RowbackError:
    return RowbackError(
        ErrorId.NOTHING_TO_UNDO,
        f"case {case.id} has written nothing",
        state="nothing was done",
        help=f"rowback status {case.id}",
    )


def settle(recovery_run: RecoveryRun) -> Loaded | None:
    """Write down what a process that died could not: whether its load committed, and its undo; returns the undo."""
    case = recovery_run.case
    if case.load_unsettled and (outcome := Load().reconcile(recovery_run)) is not None:
        recovery_run.record("step.done", step=Load.name, data=outcome)
    return settle_undo(recovery_run)


def last_written(case: Case) -> Loaded | None:
    """The last write of a case that is known to have committed."""
    undone = case.noted("undo.done")
    return Loaded.model_validate(undone[-1]) if undone else written_by_load(case)


def verify_again(recovery_run: RecoveryRun) -> Verification:
    """The proof of the last write, made anew. Raises nothing-to-undo when nothing was written, verify-differs."""
    settle(recovery_run)
    last = last_written(recovery_run.case)
    if last is None:
        raise RowbackError(
            ErrorId.NOTHING_TO_UNDO,
            f"case {recovery_run.case.id} has written nothing that could be verified",
            state="nothing was done",
            help=f"rowback status {recovery_run.case.id}",
        )
    return prove(recovery_run, last)


def prove(recovery_run: RecoveryRun, last: Loaded) -> Verification:
    """Compare what the original holds with what `last` wrote, and record it. Raises verify-differs."""
    case = recovery_run.case
    if is_recreation(recovery_run) and case.noted("undo.done"):
        return prove_removed(recovery_run)
    with recovery_run.original() as original:
        if not case.noted("undo.done"):
            refuse_altered_changes(case, last)
            with job(recovery_run, original) as what:
                if is_recreation(recovery_run):
                    verification = verify(original, *as_far_as_seen(what, last))
                    if not verification.definitions_altered_since:  # else others may have altered what was made
                        verification = with_objects(recovery_run, original, verification)
                else:
                    verification = verify(original, what, last)
        else:
            assert last.number
            refuse_altered_changes(case, last)
            with ChangeSet(case.changes_path(last.number)) as changes:
                verification = verify(
                    original, _job(recovery_run, original, Repair(changes, last.number, ""), ()), last
                )
    recovery_run.record("verified.again", data=verification.model_dump(mode="json"))
    if not verification.proven:
        raise differs(recovery_run, verification)
    return verification


def _plan(recovery_run: RecoveryRun, original: Session, last: Loaded, changes: ChangeSet, number: int) -> RepairPlan:
    case, catalog = recovery_run.case, read_catalog(original)
    notices = _invert(case, original, catalog, last, changes)
    plan = plan_undo(original, catalog, changes, case=case.id, number=number, request=case.request)
    missing = sorted({*last.rows, *last.written} - {str(table.name) for table in catalog.tables})
    notices += [f"table {name} does not exist any more: its rows are not taken back" for name in missing]
    if not plan.writes:
        raise RowbackError(
            ErrorId.NOTHING_TO_UNDO,
            f"none of the rows that case {case.id} wrote can be taken back",
            *notices,
            *sorted({change.reason for change in changes.changes() if change.reason}),
            state=UNTOUCHED,
            help=f"what they were before is in schema {before_image_schema(case.id)} of '{case.plan.database}'",
        )
    return plan.model_copy(update={"notices": (*notices, *plan.notices)})


def _invert(case: Case, original: Session, catalog: Catalog, last: Loaded, into: ChangeSet) -> list[str]:
    """The last write turned round: by its change set, or, where that is gone or altered, by the before-images.

    Returns what the person has to know. Raises plan-facts-changed where neither can be used.
    """
    if last.number is None:
        invert(original, catalog, last, None, into)
        return []
    _refuse_changed_columns(catalog, last)
    if not (problem := changes_problem(case, last.number, last.changes_digest)):
        with ChangeSet(case.changes_path(last.number)) as source:
            invert(original, catalog, last, source, into)
        return []
    if unusable := images_problem(original, last):
        raise _no_record(case, problem, unusable)
    invert(original, catalog, last, None, into)
    invert_images(original, catalog, last, into)
    return [f"{problem}: rows are taken back by the before-images in schema {before_image_schema(case.id)}"]


def _refuse_changed_columns(catalog: Catalog, last: Loaded) -> None:
    """Values go back into the columns they came from, by whatever name, or nowhere. Raises schema-drift."""
    tables = {str(table.name): table for table in catalog.tables}
    lines = [
        f"{name}: {what}"
        for name in last.written
        if name in tables
        for what in changed_columns(tables[name], last.columns.get(name, {}))
    ]
    if lines:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "columns changed since the rows were written, so their values have no place to go to",
            *lines,
            state=UNTOUCHED,
            help="give the columns the names they had, then undo; or take the rows back by hand, out of the"
            " before-images",
        )


def refuse_altered_changes(case: Case, last: Loaded) -> None:
    """Nothing is proven by a change set that is not the one that was written. Raises plan-facts-changed."""
    if last.number is not None and (problem := changes_problem(case, last.number, last.changes_digest)):
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"{problem}, so what was written cannot be compared with it",
            state="nothing was done",
            help=f"bring it back from a backup of {case.directory}; what was written can still be taken back:"
            f" rowback undo {case.id} --dry-run",
        )


def _no_record(case: Case, problem: str, unusable: str) -> RowbackError:
    return RowbackError(
        ErrorId.PLAN_FACTS_CHANGED,
        f"there is no record of what case {case.id} wrote that could be trusted",
        problem,
        f"before-images: {unusable}",
        state=UNTOUCHED,
        help=f"bring the change set back from a backup of {case.directory}, then: rowback undo {case.id} --dry-run",
    )


def _job(recovery_run: RecoveryRun, original: Session, repair: Repair, triggers_to_hold: tuple[Trigger, ...]) -> Job:
    """The undo as a load: no table is loaded whole, no sequence moves."""
    plan, catalog = recovery_run.case.plan, read_catalog(original)
    state_now = AtTarget(fingerprints={}, sequences=catalog.sequences, oldest_version_num=original.info.server_version)
    return Job(
        plan.database, catalog, [], state_now, triggers_to_hold, plan.lock_timeout_ms, plan.lock_attempts, repair
    )


def _intend(recovery_run: RecoveryRun, intended: Loaded) -> None:
    """Called before the commit. Rows that changed since the plan was shown would stay without their parts."""
    if intended.skipped:
        raise _ChangedMeanwhile(
            ErrorId.PLAN_FACTS_CHANGED,
            f"{counted(intended.skipped, 'row')} changed by others while the undo began",
            state=ROLLED_BACK,
            help=f"see what would stay now: rowback undo {recovery_run.case.id} --dry-run",
        )
    _note(recovery_run, "undo.intent", intended)


def _note(recovery_run: RecoveryRun, event: str, loaded: Loaded) -> None:
    recovery_run.record(event, data=loaded.model_dump(mode="json"))
