"""`rowback runbook abort`: give a run up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.options import profile_option
from recovery.config import load_profile
from recovery.errors import EXIT_CODES, ErrorId
from runbooks.commands.runbook_arguments import run_argument

if TYPE_CHECKING:
    pass

from runbooks.commands.runbook_run_options import refuse_finished


@click.command(epilog="Example: rowback runbook abort 7f3a")
@run_argument
@profile_option
def abort(run_id: str, profile: str | None) -> None:
    """Give a run up: takes back what its steps did, the last one first."""
    from recovery.workflow.case_lifecycle import terminate_like_interrupt
    from runbooks.execution.perform_book import Performance, give_up
    from runbooks.execution.run_store import resume_run
    from runbooks.execution.step_answers import PresetAnswers, StepLines

    opened, journal = resume_run(run_id)
    loaded = load_profile(profile or opened.how.profile)
    with journal, terminate_like_interrupt():
        refuse_finished(opened)
        not_undone, doubtful = give_up(Performance(opened, journal, PresetAnswers({}), StepLines(), loaded))
    click.echo(f"run {opened.id} is given up")
    for each in (*not_undone, *doubtful):
        click.echo(f"  not taken back: {each}")
    if doubtful:
        raise SystemExit(EXIT_CODES[ErrorId.RUN_PAUSED])
