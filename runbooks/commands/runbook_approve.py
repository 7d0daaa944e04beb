"""`rowback runbook approve`: agree to a step of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.errors import ErrorId, RowbackError
from runbooks.commands.runbook_arguments import run_argument

if TYPE_CHECKING:
    from runbooks.execution.run_store import BookRun

from runbooks.commands.runbook_run_options import refuse_finished


@click.command(epilog="Example: rowback runbook approve 7f3a go --by ann")
@run_argument
@click.argument("step")
@click.option("--by", required=True, metavar="NAME", help="Who approves. Account and AWS identity are kept as well.")
@click.option("--note", default="", help="What the approver wants to have said.")
def approve(run_id: str, step: str, by: str, note: str) -> None:
    """Agree to a step of a run that waits for another person."""
    from runbooks.execution.run_moves import approve_step
    from runbooks.execution.run_store import resume_run
    from runbooks.steps.person_steps import Approve

    opened, journal = resume_run(run_id)
    with journal:
        refuse_finished(opened)
        if not isinstance(opened.book.step(step), Approve):
            waits = [each.id for each in opened.book.steps if isinstance(each, Approve)]
            raise RowbackError(
                ErrorId.USAGE,
                f"'{step}' is no approval of run {opened.id}",
                f"it has: {', '.join(waits) or 'none'}",
                state="nothing was approved",
                help=f"rowback runbook show {opened.directory / 'book.md'}",
            )
        _refuse_early(opened, step, by)
        approved = approve_step(opened, journal, step, by, note)
    click.echo(f"'{step}' of run {opened.id} is approved by '{by}' ({approved.person})")
    click.echo(f"next: rowback runbook resume {opened.id}", err=True)


def _refuse_early(opened: BookRun, step: str, by: str) -> None:
    """Who agrees has a name, and can have seen what the run made up to there."""
    if not by.strip():
        raise RowbackError(
            ErrorId.USAGE,
            "--by names nobody",
            state="nothing was approved",
            help=f"rowback runbook approve {opened.id} {step} --by NAME",
        )
    if opened.waiting_at != step:
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"run {opened.id} stands at '{opened.waiting_at}', not at '{step}'",
            state="nothing was approved",
            help=f"once it is there: rowback runbook approve {opened.id} {step} --by NAME",
        )
