"""Undo what mode recreate made: drop exactly that, while it is as it was made, in one transaction."""

from __future__ import annotations

from guards.plain_text import shell_word
from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_report import Verification
from recovery.model.repair_plan import RepairPlan
from recovery.model.values import counted
from recovery.postgres.connect import Session
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.lock_watchdog import watched
from recovery.reload.drop_recreated import ROLLED_BACK, Removal, drop_recreated
from recovery.reload.load_job import Loaded
from recovery.workflow.approvals import refuse_undo_without_second_person
from recovery.workflow.case_lifecycle import terminate_like_interrupt
from recovery.workflow.recovery_run import UNTOUCHED, RecoveryRun
from recovery.workflow.steps.definitions import chosen_entries, definitions_at_target
from recovery.workflow.steps.load_records import recording, written_by_load
from recovery.workflow.steps.recreated_proof import came_along, not_as_at_target, there_now, without_statement
from recovery.workflow.steps.recreation import dropped_schemas, lost_parts, ordered, owners_of, rows_at_target


def is_recreation(recovery_run: RecoveryRun) -> bool:
    """Whether the case made something anew."""
    return recovery_run.case.request.reload_mode.anew


def removal_plan(recovery_run: RecoveryRun) -> RepairPlan:
    """What an undo would drop. Raises nothing-to-undo where it is gone, or not as it was made."""
    case = recovery_run.case
    if written_by_load(case) is None or case.taken_back or case.repair_plan is None:
        raise _nothing(recovery_run, "it has made nothing that is there" if case.taken_back else "it has made nothing")
    with recovery_run.original() as original:
        if differing := not_as_at_target(recovery_run, original) + came_along(recovery_run):
            raise _nothing(recovery_run, "what it made is not as it was made", *differing[:20])
    if lasting := without_statement(chosen_entries(recovery_run)):
        raise _nothing(recovery_run, "no statement of pg_dump's takes these back: by hand", *map(str, lasting[:20]))
    return case.repair_plan.model_copy(update={"notices": ("everything that is listed is dropped, with its rows",)})


def remove_recreated(recovery_run: RecoveryRun) -> Loaded:
    """Drop it. Raises nothing-to-undo where rows changed since, or something of others hangs on it.

    Raises approval-missing where a second person has to agree to undos.
    """
    plan_of_removal = removal_plan(recovery_run)
    refuse_undo_without_second_person(recovery_run.case)
    recovery_run.approve(plan_of_removal)
    entries, plan = chosen_entries(recovery_run), recovery_run.case.plan
    loaded = written_by_load(recovery_run.case)
    parts, schemas = lost_parts(recovery_run), dropped_schemas(recovery_run)
    first = {entry.number for entry in ordered(definitions_at_target(recovery_run), entries, parts).first}
    what = Removal(
        drops=tuple(entry.drop for entry in reversed(entries) if entry.drop and entry.number not in first),
        parts=tuple(parts),
        values=loaded.values_back if loaded else {},
        hanging=loaded.hanging if loaded else {},
        schemas=tuple(schemas),
        last_drops=tuple(entry.drop for entry in reversed(entries) if entry.drop and entry.number in first),
        owners=owners_of(entries, parts, schemas),
        truth=rows_at_target(recovery_run),
        lock_timeout_ms=plan.lock_timeout_ms,
        database=plan.database,
        case=recovery_run.case.id,
    )
    with (
        recovery_run.original() as original,
        terminate_like_interrupt(),
        watched(original, state=ROLLED_BACK, say=recovery_run.listener.notice),
    ):
        loaded = drop_recreated(original, what, before_commit=recording(recovery_run, "undo.intent"))
        recovery_run.record("undo.done", data=loaded.model_dump(mode="json"))
    return loaded


def prove_removed(recovery_run: RecoveryRun) -> Verification:
    """That nothing of it is there. Raises verify-differs."""
    with recovery_run.original() as original:
        verification = _removed(recovery_run, original)
    recovery_run.record("verified.again", data=verification.model_dump(mode="json"))
    if verification.proven:
        return verification
    raise RowbackError(
        ErrorId.VERIFY_DIFFERS,
        f"{counted(len(verification.objects_differ), 'object')} that case {recovery_run.case.id} took back"
        f" {'is' if len(verification.objects_differ) == 1 else 'are'} there",
        *verification.objects_differ[:20],
        state="the undo was committed",
        help="they were made again since: look at them before anything else",
    )


def _removed(recovery_run: RecoveryRun, original: Session) -> Verification:
    last = Loaded.model_validate(recovery_run.case.noted("undo.done")[-1])
    return Verification(
        tables=(),
        foreign_keys_checked=0,
        dangling_references=0,
        changed_outside_scope=(),
        definitions_altered_since=definitions_digest(original) != last.definitions,
        objects_differ=there_now(recovery_run, original),
    )


def _nothing(recovery_run: RecoveryRun, why: str, *facts: str) -> RowbackError:
    case = recovery_run.case
    again = case.restore_command("--mode recreate", f"--confirm {shell_word(case.plan.database)}")
    return RowbackError(
        ErrorId.NOTHING_TO_UNDO,
        f"case {case.id} cannot be taken back: {why}",
        *facts,
        state=UNTOUCHED,
        help=f"rowback status {case.id}; what was taken back comes again by a new case: {again}",
    )
