"""`rowback open`: start a case and its copy, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Unpack

import click

from recovery.commands.options import json_option
from recovery.commands.request_options import Asked, objectives_of, profile_of, request_of, request_options

if TYPE_CHECKING:
    pass


@click.command("open", epilog="Example: rowback open docs-staging --at 2026-11-22T14:20:00Z --database docs")
@request_options
@json_option
def open_(as_json: bool, **asked: Unpack[Asked]) -> None:
    """Start a case: the copy at T, taken over and made inert. Writes nothing to the original."""
    from recovery.aws.instances import Instances
    from recovery.commands.drive_case import interruptible, watched
    from recovery.planning.make_plan import make_plan, refuse_second_copy
    from recovery.report.progress_listener import listener
    from recovery.store.case_directory import open_case
    from recovery.workflow.approvals import current_principal
    from recovery.workflow.case_lifecycle import run
    from recovery.workflow.recovery_run import RecoveryRun

    request, profile = request_of(asked), profile_of(asked)
    instances = Instances.connect(profile.region)
    plan = make_plan(request, instances, say=lambda text: click.echo(text, err=True))
    refuse_second_copy(plan, instances)
    opener = current_principal(plan.source.region) if profile.approvals.needed else None
    case, journal = open_case(plan, objectives_of(profile), profile, approved=False, opener=opener)
    recovery_run = RecoveryRun(case, journal, instances, listener())
    with watched(recovery_run, "copy"), journal, interruptible(case):
        run(recovery_run, until="secure-copy")
    click.echo(json.dumps({"case": case.id, "copy_instance": case.copy.identifier}) if as_json else case.id)
    click.echo(f"next: rowback diff {case.id}, or look first: rowback peek {case.id} 'select …'", err=True)
