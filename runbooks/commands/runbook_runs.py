"""`rowback runbook runs`: all runs of this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from recovery.commands.options import json_option

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: rowback runbook runs")
@json_option
def runs(as_json: bool) -> None:
    """All runs on this machine, oldest first, and where each stands."""
    from runbooks.execution.run_store import all_runs, unreadable_runs

    for id, why in unreadable_runs():
        click.echo(f"{id} cannot be read: {why}", err=True)
    rows = [
        {"run": run.id, "book": run.book.name, "outcome": run.outcome, "driven": driven, "waiting_at": run.waiting_at}
        for run, driven in all_runs()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        at = f" at '{row['waiting_at']}'" if row["outcome"] == "open" else ""
        click.echo(
            f"{row['run']}  {row['book']}  {row['outcome']}{at}" + (", being driven now" if row["driven"] else "")
        )
    if not rows:
        click.echo("no runs yet")
