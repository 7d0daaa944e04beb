"""`rowback cases`: all cases of this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from recovery.commands.options import json_option

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: rowback cases")
@json_option
def cases(as_json: bool) -> None:
    """List all cases on this machine, oldest first."""
    from recovery.report.report_text import cases_text
    from recovery.workflow.case_report import listed_cases

    listed, unreadable = listed_cases()
    if as_json:
        click.echo(json.dumps([report.model_dump(mode="json") for _, report in listed], indent=1))
    elif listed or not unreadable:
        click.echo(cases_text(case for case, _ in listed))
    for name, why in unreadable:
        click.echo(f"case {name} is left out: {why}", err=True)
