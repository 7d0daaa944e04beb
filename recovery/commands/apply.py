"""`rowback apply`: write what a repair plan says."""

from __future__ import annotations

import click

from recovery.commands.confirmation import approver
from recovery.commands.locked_case import locked_case
from recovery.commands.options import case_argument, json_option
from recovery.commands.parameter_types import BYTES
from recovery.errors import ErrorId, RowbackError


@click.command(epilog="Example: rowback apply 7f3a 1b2c3d4e --confirm docs")
@case_argument
@click.argument("digest", metavar="DIGEST")
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@click.option("--confirm-loss", type=int, metavar="N", help="mode replace: how many rows lose what came after T.")
@click.option(
    "--max-wal-rate",
    type=BYTES,
    metavar="SIZE",
    help="In batches, each its own transaction, with at most so much WAL a second (8MiB).",
)
@click.option("--accept-partial", is_flag=True, help="End with 0 where rows stay lost that the plan names.")
@json_option
def apply(  # noqa: PLR0913, PLR0917 (one argument an option)
    case_id: str,
    digest: str,
    confirmed: str | None,
    confirm_loss: int | None,
    max_wal_rate: int | None,
    accept_partial: bool,
    as_json: bool,
) -> None:
    """Write what the repair plan with DIGEST says, and prove it. The copy stays until it is closed.

    One transaction, or with --max-wal-rate one after the other: writers then wait for one batch at most and replicas
    keep up, but the rows come back one batch after the other. resume goes on where a paced load was cut off. Tables
    that are swapped in still appear at once, but their rows are copied at that rate, their indexes built one by one.
    """
    from recovery.commands.drive_case import reported
    from recovery.model.account import Partial
    from recovery.workflow.case_lifecycle import run
    from recovery.workflow.case_requests import drop_pace, request_pace

    with locked_case(case_id, work="repair") as recovery_run, reported(recovery_run.case, as_json=as_json):
        case, plan = recovery_run.case, recovery_run.case.repair_plan
        if case.load_done:
            undone = " and taken them back" if case.taken_back else ""
            raise RowbackError(
                ErrorId.CASE_BUSY,
                f"case {case.id} has written its rows{undone} already",
                state="nothing was done",
                help=f"rowback verify {case.id}, or turn the last write round: rowback undo {case.id}",
            )
        if plan is None or len(digest) < 8 or not plan.digest.startswith(digest):
            now = f"its repair plan is {plan.digest[:8]}" if plan else "it has no repair plan"
            raise RowbackError(
                ErrorId.PLAN_FACTS_CHANGED,
                f"case {case.id} has no repair plan {digest}; {now}",
                state="nothing was written to the original",
                help=f"read it: rowback diff {case.id}",
            )
        if max_wal_rate:
            request_pace(recovery_run, plan, max_wal_rate)
        else:
            drop_pace(recovery_run)
        recovery_run.approver = approver(case.plan.database, confirmed, confirm_loss)
        recovery_run.partial = Partial.ACCEPT if accept_partial else Partial.KEEP_OPEN
        run(recovery_run, until="verify")
    click.echo(f"next: rowback close {case.id} (remove the copy), or rowback undo {case.id}", err=True)
