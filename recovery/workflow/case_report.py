"""The report is a fold over the journal: nothing in it comes from anywhere else."""

from __future__ import annotations

from collections.abc import Iterator

from recovery import __version__
from recovery.errors import RowbackError
from recovery.model.recovery_report import Phase, Report, Verification
from recovery.model.repair_plan import RepairPlan
from recovery.model.values import counted
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.reload.load_job import Loaded
from recovery.store.case_directory import Case, all_cases, unreadable_cases
from recovery.store.journal import reading
from recovery.workflow.approvals import approvals_in
from recovery.workflow.case_account import account_of
from recovery.workflow.steps.load_records import written_by_load


def listed_cases() -> tuple[list[tuple[Case, Report]], list[tuple[str, str]]]:
    """Every case that can be read with its report, oldest first; and those that cannot, with the reason."""
    listed, unreadable = [], unreadable_cases()
    for case in all_cases():
        try:
            with reading(case.directory):
                listed.append((case, report_of(case)))
        except RowbackError as error:
            unreadable.append((case.id, error.fact))
    return listed, unreadable


def report_of(case: Case) -> Report:
    """What a case did, proved and cost in time, as far as its journal goes."""
    loaded = written_by_load(case)
    verifications = case.noted("verification")
    removed = case.outcome_of("remove-copy")
    target = case.outcome_of("read-target")
    account = account_of(case)
    return Report(
        case=case.id,
        outcome=case.outcome,
        instance=case.plan.source.identifier,
        database=case.plan.database,
        target_time=case.plan.target_time,
        window=case.plan.window,
        plan_digest=case.plan.digest,
        transport=case.plan.transport,
        opened_at=case.opened_at,
        closed_at=case.closed_at,
        verification=Verification.model_validate(verifications[-1]) if verifications else None,
        sequence_moves=loaded.sequence_moves if loaded else (),
        held_triggers=tuple(f"{t.table}: {t.name}" for t in case.plan.held_triggers),
        phases=tuple(
            Phase(step=name, seconds=round(step.seconds, 3), attempts=step.attempts)
            for name, step in case.steps.items()
        ),
        recovery_time_s=_recovery_time(case),
        objectives=case.objectives,
        copy_instance=case.copy.identifier,
        copy_removed=removed is not None,
        not_put_back=tuple(target["gone"]) if target else (),
        before_images=before_image_schema(case.id) if loaded and loaded.written else None,
        taken_back=case.taken_back,
        skipped=loaded.skipped if loaded else 0,
        account=account.tables,
        unexamined=account.unexamined,
        values_lost=account.values_lost,
        differing=account.differing,
        notices=tuple(_notices(case, loaded)),
        stopped_before=tuple(case.stops),
        approvals=tuple(approvals_in(case)),
        tool_version=__version__,
    )


def _notices(case: Case, loaded: Loaded | None) -> Iterator[str]:
    """What a person should know of the result beside its rows."""
    plan = case.repair_plan
    yield from case.plan.notices
    if plan:
        yield from plan.notices
        yield from (f"{table.name}: {note}" for table in plan.tables for note in table.mapped)
    yield from (f"{out.name} is left as it is: {out.reason}" for out in case.plan.left_out)
    if stay := case.noted("undo.stay"):
        yield from (f"after the undo: {line}" for line in stay[-1]["rows"])
    yield from _values_back(plan, loaded) if plan and loaded else ()
    yield from (
        f"event triggers wrote {rows:,} rows of {name}, because of our definitions"
        for name, rows in (loaded.by_event_triggers if loaded else {}).items()
    )


def _values_back(plan: RepairPlan, loaded: Loaded) -> Iterator[str]:
    for lost in plan.parts:
        if back := loaded.values_back.get(str(lost.table)):
            names = ", ".join(column.name for column in lost.stored)
            yield f"{counted(back.rows, 'row')} of {lost.table} got their values of {names} back"


def _recovery_time(case: Case) -> float | None:
    """Wall-clock seconds from the opening of the case until the rows were proven back; pauses count, teardown not."""
    verified = case.steps.get("verify")
    if verified is None or verified.done_at is None:
        return None
    return round((verified.done_at - case.opened_at).total_seconds(), 3)
