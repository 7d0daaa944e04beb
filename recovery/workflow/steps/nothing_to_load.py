"""A load that would write nothing, or not all of what must come back whole: refused, with the way on."""

from __future__ import annotations

from collections.abc import Mapping

from guards.plain_text import shell_word
from recovery.errors import ErrorId, RowbackError
from recovery.model.repair_plan import RepairPlan
from recovery.model.row_class import RowClass
from recovery.model.values import counted, leading_name
from recovery.postgres.staging.row_obstacles import CHANGED_SINCE
from recovery.store.case_directory import Case, earlier_repairs
from recovery.workflow.recovery_run import UNTOUCHED, RecoveryRun
from recovery.workflow.steps.load_records import written_by_load
from recovery.workflow.steps.row_steps import truth


def refuse_nothing(recovery_run: RecoveryRun, repair: RepairPlan) -> None:
    """Zero effect is never success. Raises nothing-to-repair, with where the rows may be that are missed."""
    fingerprints = truth(recovery_run).fingerprints
    if repair.writes or repair.made_anew or any(fingerprints[str(name)].rows for name in repair.filled):
        return
    target = recovery_run.case.outcome_of("read-target") or {}
    dropped_tables = target.get("gone", {})
    counts = [
        f"{table.name}: " + ", ".join(f"{count:,} {kind}" for kind, count in table.classes.items() if count)
        for table in repair.tables
        if any(table.classes.values())
    ]
    blocked = [
        f"{table.name}: {each.rows:,} row{'s' * (each.rows != 1)} blocked: {each.reason}"
        for table in repair.tables
        for each in table.account.blocked
    ]
    blocked += [
        f"{table.name}: {counted(each.rows, 'row')} not deleted: {each.reason}"
        for table in repair.tables
        for each in table.account.not_deleted
    ]
    raise RowbackError(
        ErrorId.NOTHING_TO_REPAIR,
        f"mode '{repair.request.mode}' has no row to write in '{recovery_run.case.plan.database}'",
        *counts,
        *blocked,
        *repair.notices,
        *repair.unexamined,
        state=UNTOUCHED,
        help=_elsewhere(recovery_run.case, repair, dropped_tables),
    )


def refuse_part(recovery_run: RecoveryRun, repair: RepairPlan) -> None:
    """With --all-or-nothing one row that cannot be written keeps all others away. Raises load-refused."""
    blocked = sum(each.rows for table in repair.tables for each in table.account.blocked)
    stay = sum(each.rows for table in repair.tables for each in table.account.not_deleted)
    if recovery_run.case.plan.all_or_nothing and (blocked or stay):
        numbers = ((blocked, "cannot come back"), (stay, "cannot be deleted"))
        rows_left = " and ".join(f"{counted(rows, 'row')} {what}" for rows, what in numbers if rows)
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            f"{rows_left}, and --all-or-nothing was asked for",
            state=UNTOUCHED,
            help=f"see which and why: rowback diff {recovery_run.case.id} --show blocked",
        )


def _elsewhere(case: Case, repair: RepairPlan, dropped_tables: Mapping[str, int]) -> str:
    """Where the rows may be that are missed."""
    counts = {kind: sum(table.count(kind) for table in repair.tables) for kind in RowClass}
    close = f"rowback close {case.id}, then"
    if dropped_tables:
        tables = " ".join(f"--table {shell_word(name)}" for name in dropped_tables)
        return f"make what was dropped anew: {close} {case.restore_command('--mode recreate', tables)}"
    if dropped := [leading_name(line) for line in repair.notices if "was dropped since T" in line]:
        tables = " ".join(f"--table {shell_word(name)}" for name in dict.fromkeys(dropped))
        anew = case.restore_command("--mode recreate", tables)
        return f"bring the dropped columns back with their values: {close} {anew}"
    if repair.possible_incident:
        xids = sorted({*case.request.incident_xids, *(writer.xid for writer in repair.possible_incident)})
        named = " ".join(f"--incident-xid {xid}" for xid in xids)
        return f"if those are its savepoints: rowback diff {case.id} --mode repair {named}"
    if counts[RowClass.BLOCKED]:
        return f"see why: rowback diff {case.id} --show blocked"
    return _unchanged(case, repair, counts)


def _unchanged(case: Case, repair: RepairPlan, counts: Mapping[RowClass, int]) -> str:
    if repair.unexamined:
        names = " ".join(f"--table {shell_word(leading_name(line))}" for line in repair.unexamined)
        beside = case.restore_command("--mode beside", names)
        return f"see what the tables that were not compared held: rowback close {case.id}, then {beside}"
    if not repair.request.reload_mode.set_back and any(counts[kind] for kind in (RowClass.CHANGED, RowClass.NEWER)):
        return f"rows that were changed, not deleted, need: rowback diff {case.id} --mode repair"
    if earlier := _left_by_earlier(case):
        return earlier
    return f"nothing was lost in these tables since T: rowback close {case.id}, then an earlier --at or other tables"


def _left_by_earlier(case: Case) -> str | None:
    """Rows that an earlier case of the same database left, because the incident and others changed them.

    It repaired the others, so nothing tells any more what the incident wrote, and here they count as newer.
    """
    for other in earlier_repairs(case):
        plan = other.repair_plan
        if plan is None or not set(plan.request.incident_xids) & set(case.request.incident_xids):
            continue
        conflict = (plan.conflicts, "both versions of each", "conflict")
        changed = (_changed_meanwhile(other), "what each was at T", "blocked")
        for rows, versions, kind in (conflict, changed):
            if rows:
                return (
                    f"case {other.id} repaired these tables and left {counted(rows, 'row')} that the incident and"
                    f" others changed, which count as newer now; {versions}:"
                    f" rowback diff {other.id} --show {kind}"
                )
    return None


def _changed_meanwhile(case: Case) -> int:
    """Rows that others changed between the comparison and the load."""
    loaded = written_by_load(case)
    reasons = (reason for each in loaded.set_aside.values() for reason in each) if loaded else ()
    return sum(reason.rows for reason in reasons if reason.reason == CHANGED_SINCE)
