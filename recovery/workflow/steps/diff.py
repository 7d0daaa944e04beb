"""Compare T with now, row by row, and write down exactly what will be written."""

from __future__ import annotations

from recovery.compare.changes import ChangeSet
from recovery.compare.decisions import parse_decisions
from recovery.compare.repair import Inquiry, make_repair_plan
from recovery.errors import ErrorId, RowbackError
from recovery.model.repair import Mode, RepairPlan, RowClass
from recovery.workflow.errand import UNTOUCHED, Errand, Outcome
from recovery.workflow.steps.base import Step
from recovery.workflow.steps.copy import SecureCopy
from recovery.workflow.steps.rows import ReadTarget, filled_tables


class Diff(Step):
    """Every row of the tables that hold rows, classified; the repair plan that follows."""

    name, title = "diff", "compare T with now, row by row"
    undo = "reads only"

    def do(self, errand: Errand) -> Outcome:
        """A change set per attempt: one that was cut short is never mistaken for a whole one."""
        case, filled = errand.case, filled_tables(errand)
        if case.plan.request.mode is Mode.BESIDE or len(filled) == len(case.plan.tables):
            return {"repair": None}
        number = case.new_number()
        case.changes_path(number).unlink(missing_ok=True)
        chosen = case.request.decisions
        decisions = parse_decisions((case.directory / chosen).read_text()) if chosen else []
        inquiry = Inquiry(case.id, case.plan, case.request, filled, number, self._boundary(errand), decisions)
        with errand.live() as live, errand.copy() as copy, ChangeSet(case.changes_path(number)) as changes:
            errand.record("changes.begun", data={"number": number})
            found = make_repair_plan(live, copy, inquiry, changes)
        self._refuse_nothing(errand, found)
        return {"repair": found.model_dump(mode="json")}

    def tell(self, outcome: Outcome) -> str:
        """What was found."""
        if outcome["repair"] is None:
            return "nothing to compare: all tables are loaded whole"
        found = RepairPlan.model_validate(outcome["repair"])
        if not any(any(table.classes.values()) for table in found.tables):
            return "nothing differs beyond the tables to be loaded whole"
        totals = {kind: sum(table.count(kind) for table in found.tables) for kind in RowClass}
        told = [f"{count:,} {kind}" for kind, count in totals.items() if count]
        return f"{', '.join(told) or 'no rows'}; {found.writes:,} rows to write"

    @staticmethod
    def _boundary(errand: Errand) -> int | None:
        secured = errand.case.outcome_of(SecureCopy.name)
        return secured.get("own_transactions_from") if secured else None

    @staticmethod
    def _refuse_nothing(errand: Errand, found: RepairPlan) -> None:
        """Zero effect is never success."""
        held = errand.case.outcome_of(ReadTarget.name)
        whole = sum(at_target["rows"] for at_target in held["fingerprints"].values()) if held else 0
        if found.writes or whole:
            return
        counts = [
            f"{table.name}: " + ", ".join(f"{count:,} {kind}" for kind, count in table.classes.items() if count)
            for table in found.tables if any(table.classes.values())
        ]  # fmt: skip
        raise RowbackError(
            ErrorId.NOTHING_TO_REPAIR,
            f"mode '{found.request.mode}' has no row to write in '{errand.case.plan.database}'",
            *counts, state=UNTOUCHED,
            help=_elsewhere(errand.case.id, found),
        )  # fmt: skip


def _elsewhere(case: str, found: RepairPlan) -> str:
    """Where the rows may be that somebody misses."""
    counts = {kind: sum(table.count(kind) for table in found.tables) for kind in RowClass}
    if counts[RowClass.BLOCKED]:
        return f"see why: rowback diff {case} --show blocked"
    if found.request.mode is Mode.MISSING and any(counts[kind] for kind in (RowClass.CHANGED, RowClass.NEWER)):
        return f"rows that were changed, not deleted, need: rowback diff {case} --mode repair"
    return f"nothing was lost there since T: rowback close {case}, then an earlier --at or other tables"
