"""`rowback restore`: plan, approval, the run, the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from recovery.commands.confirmation import approver, confirm
from recovery.commands.options import json_option
from recovery.commands.request_options import Asked, objectives_of, profile_of, request_of, request_options

if TYPE_CHECKING:
    from recovery.model.recovery_plan import RecoveryPlan


@click.command(epilog="Example: rowback restore docs-staging --at 2026-11-22T14:20:00Z --database docs --confirm docs")
@request_options
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="A plan file instead of INSTANCE and --at.")
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@click.option("--confirm-loss", type=int, metavar="N", help="mode replace: how many rows lose what came after T.")
@click.option(
    "--accept-partial",
    is_flag=True,
    help="End with exit code 0 though lost rows stay lost (default: 47, and the copy stays).",
)
@click.option("--find", "find_", is_flag=True, help="Look into the log as well, and keep what it says for the report.")
@click.option("--dry-run", is_flag=True, help="Do all the reads, print the plan, create nothing.")
@json_option
def restore(  # noqa: PLR0913, PLR0917 (one argument an option)
    plan_file: Path | None,
    confirmed: str | None,
    confirm_loss: int | None,
    accept_partial: bool,
    find_: bool,
    dry_run: bool,
    as_json: bool,
    **asked: Unpack[Asked],
) -> None:
    """Put the lost rows back: make a copy, compare, reload, prove, remove the copy. Asks before it writes."""
    from recovery.aws.instances import Instances
    from recovery.commands.drive_case import drive
    from recovery.investigation.assess_outlook import look_ahead, with_incident
    from recovery.model.account import Partial
    from recovery.planning.make_plan import check_facts, make_plan, refuse_second_copy
    from recovery.report.outlook_text import outlook_text
    from recovery.report.progress_listener import listener
    from recovery.report.report_text import plan_text
    from recovery.store.case_directory import open_case
    from recovery.workflow.approvals import approvals_beside, current_principal
    from recovery.workflow.case_requests import record_confirmed
    from recovery.workflow.recovery_run import RecoveryRun

    if plan_file:
        refuse_beside_a_plan(asked)
    planned = read_plan(plan_file) if plan_file else None
    profile = profile_of({**asked, "profile": asked["profile"] or (planned.profile if planned else None)})
    instances = Instances.connect(profile.region or (planned.source.region if planned else None))
    if planned:
        made = planned
        check_facts(made, instances, profile)
    else:
        request = request_of(asked)
        made = make_plan(request, instances, say=lambda text: click.echo(text, err=True))
    if dry_run:
        click.echo(made.to_file().rstrip() if as_json else plan_text(made))
        click.echo("\ndry run: nothing was created, nothing was written", err=True)
        return
    refuse_second_copy(made, instances)
    outlook = look_ahead(made, instances, profile)
    if find_:
        outlook = with_incident(outlook, made, profile)
    click.echo(f"{plan_text(made)}\n\nas of now:\n{outlook_text(outlook)}\n", err=True)
    confirm(made.database, confirmed)
    approvals = approvals_beside(plan_file) if plan_file else []
    opener = current_principal(made.source.region) if made.approvals.or_stricter(profile.approvals).needed else None
    case, journal = open_case(made, objectives_of(profile), profile, approved=True, opener=opener)
    record_confirmed(case, journal, outlook, approvals)
    click.echo(f"case {case.id}", err=True)
    approve = approver(made.database, confirmed, confirm_loss)
    partial = Partial.ACCEPT if accept_partial else Partial.KEEP_OPEN
    drive(RecoveryRun(case, journal, instances, listener(), approve, partial), as_json=as_json)


def refuse_beside_a_plan(options: Asked) -> None:
    """Raise usage when `--plan` comes with options that the plan already decides: they would be ignored."""
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    arguments = {
        "INSTANCE": options["instance"],
        "--at": options["at"],
        "--database": options["database"],
        "--table": options["tables"],
        "--except": options["leave_out"],
        "--where": options["where"],
        "--incident-xid": options["incident_xids"],
        "--max-cost": options["max_cost_usd"],
    }
    named = [name for name, value in arguments.items() if value]
    if named:
        raise RowbackError(
            ErrorId.USAGE,
            f"--plan says what to restore; {', '.join(named)} beside it would be ignored",
            state=NOTHING_CREATED,
            help="use either a plan file or INSTANCE, --at and --database",
        )


def read_plan(path: Path) -> RecoveryPlan:
    """A plan file as a plan. Raises plan-unreadable."""
    from pydantic import ValidationError

    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
    from recovery.model.recovery_plan import RecoveryPlan

    try:
        return RecoveryPlan.from_file(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    except FileNotFoundError as error:
        raise RowbackError(
            ErrorId.PLAN_UNREADABLE,
            f"there is no file {path}",
            state=NOTHING_CREATED,
            help="make a plan, which says where it is written: rowback plan",
        ) from error
    except (OSError, ValueError) as error:
        why = str(error)
    raise RowbackError(
        ErrorId.PLAN_UNREADABLE,
        f"{path} is no plan of this version",
        why,
        state=NOTHING_CREATED,
        help="make one with: rowback plan",
    )
