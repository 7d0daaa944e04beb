"""Rows of a repair plan, listed: what `rowback diff --show` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from recovery.errors import ErrorId, RowbackError
from recovery.model.modes.reload_mode import NewRows
from recovery.model.repair_plan import RepairPlan
from recovery.model.row_class import RowClass
from recovery.model.values import counted

if TYPE_CHECKING:
    from recovery.changeset.change_set import ChangeSet
    from recovery.reload.load_job import Loaded
    from recovery.store.case_directory import Case


def show_rows(case: Case, plan: RepairPlan, kinds: list[RowClass], limit: int | None, form: str) -> None:
    """The rows of a repair plan on stdout, as text, csv, spreadsheet or json.

    Of a part of them, how many more there are. Raises plan-facts-changed where their file is not the one that was
    compared.
    """
    from recovery.changeset.change_set import ChangeSet
    from recovery.compare.table_diff import NEW_ROWS_SHOWN
    from recovery.report.repair_text import count_records, records_csv, records_text, row_records
    from recovery.report.spreadsheet import cells
    from recovery.store.change_set_files import changes_problem
    from recovery.workflow.steps.load_records import written_by_load

    if plan.number is None:
        click.echo("nothing was compared row by row: all tables are loaded whole", err=True)
        return
    listed, new_rows = NEW_ROWS_SHOWN, sum(table.count(RowClass.NEW) for table in plan.tables)
    stay = plan.request.reload_mode.new_rows is NewRows.STAY
    if new_rows > listed and stay and (not kinds or RowClass.NEW in kinds):
        click.echo(f"of {new_rows:,} new rows only the first {listed:,} of each table are kept to be listed", err=True)
    if problem := changes_problem(case, plan.number, plan.changes_digest):
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"{problem}, so its rows cannot be listed",
            state="nothing was done",
            help=f"compare again: rowback diff {case.id} --again",
        )
    with ChangeSet(case.changes_path(plan.number)) as changes:
        loaded = written_by_load(case)
        late = _left_at_load(changes, loaded) if loaded else {}
        records = row_records(changes, kinds, limit, late)
        match form:
            case "csv":
                click.echo(records_csv(records))
            case "spreadsheet":
                click.echo(records_csv(map(cells, records)))
            case "json":
                click.echo(json.dumps(list(records), indent=1, ensure_ascii=False))
            case _:
                click.echo(records_text(records))
        if limit is not None and (more := count_records(changes, kinds, late) - limit) > 0:
            click.echo(f"and {counted(more, 'row')} more: without --limit all are listed", err=True)


def _left_at_load(changes: ChangeSet, loaded: Loaded) -> dict[int, str]:
    """Rows that were planned and that the load, or every batch of it, left as they were: number → reason."""
    match loaded.xids:
        case (xid,):
            return changes.skipped(xid)
        case _:
            return changes.batches.skipped()


def form_of(*, as_csv: bool, as_json: bool, spreadsheet: bool) -> str:
    """How rows are printed."""
    return "spreadsheet" if spreadsheet else "csv" if as_csv else "json" if as_json else "text"
