"""Compare T with now, row by row, and write down exactly what will be written."""

from __future__ import annotations

from recovery.compare.changes import ChangeSet
from recovery.compare.decisions import parse_decisions
from recovery.compare.repair import Inquiry, make_repair_plan
from recovery.model.repair import Mode, RepairPlan, RowClass
from recovery.model.values import TableName
from recovery.postgres.repair.remembered import Remembered
from recovery.postgres.watchers import who_notices
from recovery.workflow.errand import Errand, Outcome
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
            return {"repair": self._whole(errand, filled).model_dump(mode="json")}
        number = case.new_number()
        case.changes_path(number).unlink(missing_ok=True)
        chosen = case.request.decisions
        decisions = parse_decisions((case.directory / chosen).read_text()) if chosen else []
        inquiry = Inquiry(case.id, case.plan, case.request, filled, number, self._boundary(errand), decisions)
        with (
            errand.live() as live, errand.copy() as copy, ChangeSet(case.changes_path(number)) as changes,
            Remembered(case.directory / "copy-checksums.sqlite") as memory,
        ):  # fmt: skip
            errand.record("changes.begun", data={"number": number})
            found = make_repair_plan(live, copy, inquiry, changes, ask=memory.ask)
        return {"repair": found.model_dump(mode="json")}

    def tell(self, outcome: Outcome) -> str:
        """What was found."""
        found = RepairPlan.model_validate(outcome["repair"])
        if found.number is None:
            return "nothing to compare: all tables are loaded whole"
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
    def _whole(errand: Errand, filled: list[TableName]) -> RepairPlan:
        """Nothing is compared row by row; what is loaded whole is a plan to be approved all the same."""
        case, bytes_at_target = errand.case, errand.case.outcome_of(ReadTarget.name)
        assert bytes_at_target
        with errand.live() as live:
            notices = who_notices(live, filled)
        return RepairPlan(
            case=case.id, number=None, request=case.request, tables=(), filled=tuple(filled), writers=(),
            held_triggers=tuple(trigger for trigger in case.plan.held_triggers if trigger.table in filled),
            notices=tuple(notices), wal_bytes_estimated=bytes_at_target["bytes"], changes_digest="",
        )  # fmt: skip
