"""`rowback resume`: continue a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.confirmation import approver
from recovery.commands.options import case_argument, json_option
from recovery.errors import ErrorId, RowbackError

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: rowback resume 7f3a")
@case_argument
@json_option
def resume(case_id: str, as_json: bool) -> None:
    """Continue a case: asks AWS and PostgreSQL what really happened, then does what is left."""
    from recovery.aws.instances import Instances
    from recovery.commands.drive_case import drive, show_report
    from recovery.report.progress_listener import listener
    from recovery.store.case_directory import resume_case
    from recovery.workflow.recovery_run import RecoveryRun

    case, journal = resume_case(case_id)
    if case.closed_at:
        journal.close()
        click.echo(f"case {case.id} is closed already: {case.outcome}", err=True)
        return show_report(case, as_json=as_json)
    if case.noted("case.closing"):
        journal.close()
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"case {case.id} is being given up: rowback close was begun and not finished",
            state="nothing was done",
            help=f"finish it: rowback close {case.id}",
        )
    approve = approver(case.plan.database, None, None)
    instances = Instances.connect(case.plan.source.region)
    return drive(RecoveryRun(case, journal, instances, listener(), approve), as_json=as_json)
