"""`rowback plan`: reads only; prints what would happen and writes the plan file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Unpack

import click

from recovery.commands.options import json_option
from recovery.commands.plan_files import plan_file, refuse_other_file, write_plan
from recovery.commands.request_options import Asked, request_of, request_options


@click.command(epilog="Example: rowback plan docs-staging --at 2026-11-22T14:20:00Z --database docs")
@request_options
@click.option("--out", type=click.Path(path_type=Path), help="Plan file (default: in rowback's state directory).")
@click.option("--all", "every", is_flag=True, help="List every table, however many.")
@click.option("--find", "find_", is_flag=True, help="Look into the log as well: what happened after T?")
@json_option
def plan(out: Path | None, every: bool, find_: bool, as_json: bool, **asked: Unpack[Asked]) -> None:
    """What would happen: restore window, tables, order, locks, time, cost, who is in the way. Reads only."""
    from recovery.aws.instances import Instances
    from recovery.investigation.assess_outlook import look_ahead, with_incident
    from recovery.planning.make_plan import make_plan, second_copy
    from recovery.report.outlook_text import outlook_text
    from recovery.report.report_text import EVERY, MOST_SHOWN, plan_text
    from recovery.store.case_directory import second_case

    request = request_of(asked)
    if out:
        refuse_other_file(out)
    instances = Instances.connect(request.profile.region)
    made = make_plan(request, instances, say=lambda text: click.echo(text, err=True))
    path = out or plan_file(made.digest[:8])
    write_plan(path, made.to_file())
    outlook = look_ahead(made, instances, request.profile)
    if find_:
        outlook = with_incident(outlook, made, request.profile)
    if as_json:
        document = {**json.loads(made.to_file()), "outlook": outlook.model_dump(mode="json")}
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        click.echo(f"{plan_text(made, most=EVERY if every else MOST_SHOWN)}\n\nas of now:\n{outlook_text(outlook)}")
    click.echo(f"\nnothing was created; written to {path}", err=True)
    if another := second_copy(made, instances) or second_case(made):
        click.echo(f"{another.fact}; until it is ended, this plan is refused\nnext: {another.help}", err=True)
    else:
        click.echo(f"next: rowback restore --plan {path}", err=True)
