"""Compare T with now, row by row, and write down exactly what will be written."""

from __future__ import annotations

from guards.plain_text import shell_word
from recovery.aws.settling import is_loading
from recovery.changeset.change_set import ChangeSet
from recovery.compare.edited_csv import parse_decisions
from recovery.compare.inquiry import Inquiry
from recovery.compare.make_repair_plan import make_repair_plan
from recovery.compare.read_ahead import ReadAhead, read_ahead
from recovery.model.load_strategy import is_worth_a_swap
from recovery.model.plain_index import counted_indexes
from recovery.model.plan_options import table_options
from recovery.model.repair_plan import RepairPlan
from recovery.model.row_class import RowClass
from recovery.model.values import TableName, counted
from recovery.postgres.change_consumers import who_notices
from recovery.postgres.comparison.scan_cache import Remembered
from recovery.postgres.connect import Session
from recovery.reload.load_by_swap import why_no_swap
from recovery.reload.load_in_place import choose_indexes
from recovery.store.case_directory import Case, earlier_repairs
from recovery.workflow.recovery_run import Outcome, RecoveryRun
from recovery.workflow.steps.copy_steps import SecureCopy
from recovery.workflow.steps.recreate_objects import plan_recreation
from recovery.workflow.steps.row_steps import ReadTarget, empty_tables, truth
from recovery.workflow.steps.step import Step

CHECKSUMS = "copy-checksums.sqlite"


class Diff(Step):
    """Every row of the tables that hold rows, classified; the repair plan that follows."""

    name, title = "diff", "compare T with now, row by row"
    undo = "reads only"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """A change set per attempt: one that was cut short is never mistaken for a whole one."""
        case = recovery_run.case
        if case.plan.request.reload_mode.anew:
            return {"repair": plan_recreation(recovery_run).model_dump(mode="json")}
        empty = empty_tables(recovery_run)
        if not case.plan.request.reload_mode.in_place:
            return {"repair": self._beside(recovery_run, empty).model_dump(mode="json")}
        number = case.new_number()
        case.changes_path(number).unlink(missing_ok=True)
        inquiry = inquiry_of(recovery_run, empty, number)
        self._read_ahead(recovery_run, inquiry)
        with (
            recovery_run.original() as original,
            recovery_run.copy() as copy,
            ChangeSet(case.changes_path(number)) as changes,
            Remembered(case.directory / CHECKSUMS) as memory,
        ):
            recovery_run.record("changes.begun", data={"number": number})
            repair = make_repair_plan(original, copy, inquiry, changes, ask=memory.ask)
            repair = _with_load_strategy(recovery_run, original, repair)
        if not repair.tables:  # all that is to be written is loaded whole, and nothing else was compared
            case.changes_path(number).unlink()
            repair = repair.model_copy(update={"number": None, "changes_digest": ""})
        return {"repair": repair.model_dump(mode="json")}

    @staticmethod
    def _read_ahead(recovery_run: RecoveryRun, inquiry: Inquiry) -> None:
        """Only where the copy's blocks are still loaded: else it would be read twice for nothing."""
        if not is_loading(recovery_run.copy_facts()):
            return
        with recovery_run.original() as original, recovery_run.copy() as copy:
            read_ahead(original, copy, inquiry, ReadAhead(recovery_run.copy, recovery_run.listener.progress))

    def tell(self, outcome: Outcome) -> str:
        """What was found."""
        repair = RepairPlan.model_validate(outcome["repair"])
        if repair.made_anew:
            tried = "tried and rolled back"
            tried = tried if repair.rehearsed == repair.made_anew else f"{repair.rehearsed:,} of them {tried}"
            return f"{counted(repair.made_anew, 'object')} to be made anew, {tried}"
        if not any(any(table.classes.values()) for table in repair.tables):
            how = f" without {counted_indexes(len(repair.rebuilt))}" if repair.rebuilt else ""
            how = " and swapped in" if repair.swapped else how
            return f"{counted(len(repair.filled), 'table')} to be loaded whole{how}, nothing else differs"
        totals = {kind: sum(table.count(kind) for table in repair.tables) for kind in RowClass}
        counts = [f"{count:,} {kind}" for kind, count in totals.items() if count]
        return f"{', '.join(counts) or 'no rows'}; {counted(repair.writes, 'row')} to write"

    @staticmethod
    def _beside(recovery_run: RecoveryRun, filled: list[TableName]) -> RepairPlan:
        """Nothing is compared; what is loaded beside is a plan to be approved all the same."""
        case, bytes_at_target = recovery_run.case, recovery_run.case.outcome_of(ReadTarget.name)
        assert bytes_at_target
        with recovery_run.original() as original:
            notices = who_notices(original, filled)
        return RepairPlan(
            case=case.id,
            number=None,
            request=case.request,
            tables=(),
            filled=tuple(filled),
            writers=(),
            held_triggers=tuple(trigger for trigger in case.plan.held_triggers if trigger.table in filled),
            notices=tuple(notices),
            wal_bytes_estimated=bytes_at_target["bytes"],
            changes_digest="",
        )


def _with_load_strategy(recovery_run: RecoveryRun, original: Session, repair: RepairPlan) -> RepairPlan:
    """The plan with how its whole tables are loaded: swapped, or without which of their indexes, and why not others."""
    prints = truth(recovery_run).fingerprints
    rows = {name: prints[str(name)].rows for name in repair.filled}
    indexes, notices = choose_indexes(original, rows, recovery_run.case.plan.load)
    held = {name: count for name, count in rows.items() if count}  # a table that was empty at T stays as it is
    if is_worth_a_swap(recovery_run.case.plan.load, sum(held.values())):
        why_not = "rows of other tables are written in the same transaction" if repair.writes else ""
        if not (why_not := why_not or why_no_swap(original, held)):  # in place stays the way out
            return repair.model_copy(update={"swapped": tuple(held), "rebuilt": tuple(indexes)})
        notices = [f"loaded in place, not swapped: {why_not}", *notices]
    return repair.model_copy(update={"rebuilt": tuple(indexes), "notices": (*repair.notices, *notices)})


def _anew(case: Case) -> str:
    """The command that makes anew what was dropped since T: tables, else columns of the plan's."""
    gone = (case.outcome_of(ReadTarget.name) or {}).get("gone", {})
    names = [f"--table {shell_word(name)}" for name in gone] or table_options(case.plan)
    return case.restore_command("--mode recreate", *names)


def inquiry_of(recovery_run: RecoveryRun, filled: list[TableName], number: int = 0) -> Inquiry:
    """What a case compares. `filled`: tables that may be loaded whole, or were."""
    case, chosen = recovery_run.case, recovery_run.case.request.decisions
    secured = case.outcome_of(SecureCopy.name) or {}
    return Inquiry(
        case.id,
        case.plan,
        case.request,
        filled,
        number,
        secured.get("own_transactions_from"),
        parse_decisions((case.directory / chosen).read_text()) if chosen else [],
        (case.outcome_of(ReadTarget.name) or {}).get("gone", {}),
        f"rowback close {case.id}, then {case.restore_command('--mode beside', *table_options(case.plan))}",
        f"rowback close {case.id}, then {_anew(case)}",
        frozenset(
            xid
            for other in earlier_repairs(case)
            for xid in (other.repair_plan.request.incident_xids if other.repair_plan else ())
        ),
    )
