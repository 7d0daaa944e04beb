"""`rowback close`: give a case up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.options import case_argument

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: rowback close 7f3a")
@case_argument
def close(case_id: str) -> None:
    """Give a case up: remove its copy, write nothing."""
    from recovery.aws.instances import Instances
    from recovery.commands.drive_case import shown
    from recovery.report.progress_listener import listener
    from recovery.store.case_directory import resume_case
    from recovery.workflow.case_lifecycle import give_up
    from recovery.workflow.recovery_run import RecoveryRun

    case, journal = resume_case(case_id)
    with shown(case), journal:
        if case.closed_at:
            click.echo(f"case {case.id} is closed already: {case.outcome}", err=True)
            return
        instances = Instances.connect(case.plan.source.region)
        outcome = give_up(RecoveryRun(case, journal, instances, listener()))
    click.echo(f"case {case.id}: {outcome}")
