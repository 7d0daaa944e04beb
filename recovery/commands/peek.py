"""`rowback peek`: one query on the database as it was at T."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from recovery.commands.options import case_argument, json_option

if TYPE_CHECKING:
    pass

from recovery.commands.locked_case import locked_case, refuse_without_copy, spreadsheet_option


@click.command(epilog="""Example: rowback peek 7f3a "select count(*) from content.articles" """)
@case_argument
@click.argument("query", metavar="SQL")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@spreadsheet_option
@json_option
def peek(case_id: str, query: str, as_csv: bool, spreadsheet: bool, as_json: bool) -> None:
    """Run one read-only query on the copy: the database as it was at T."""
    from recovery.postgres.peek_query import peek as look
    from recovery.report.repair_text import table_csv, table_text
    from recovery.report.spreadsheet import cell

    with locked_case(case_id) as recovery_run:
        refuse_without_copy(recovery_run.case)
        with recovery_run.copy() as copy:
            names, rows = look(copy, query)
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, ensure_ascii=False))
    else:
        if spreadsheet:
            rows = [tuple(map(cell, row)) for row in rows]
        click.echo(table_csv(names, rows) if as_csv or spreadsheet else table_text(names, rows))
