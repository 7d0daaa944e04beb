"""`rowback plan`: reads only; prints what would happen and writes the plan file."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from recovery.commands.options import Asked, json_option, request_of, request_options, write_new


@click.command(epilog="Example: rowback plan docs-staging --at 2026-11-22T14:20:00Z --database docs")
@request_options
@click.option("--out", type=click.Path(path_type=Path), help="Plan file (default: plan-<digest>.json here).")
@json_option
def plan(out: Path | None, as_json: bool, **asked: Unpack[Asked]) -> None:
    """What would happen: restore window, temporary instance, tables, order, locks. Reads only."""
    from recovery.aws.instances import Instances
    from recovery.report.text import plan_text
    from recovery.workflow.planning import make_plan

    request = request_of(asked)
    made = make_plan(request, Instances.connect(request.profile.region), say=lambda text: click.echo(text, err=True))
    path = out or Path(f"plan-{made.digest[:8]}.json")
    write_new(path, made.to_file())
    click.echo(made.to_file().rstrip() if as_json else plan_text(made))
    click.echo(f"\nnothing was created; written to {path}\nnext: rowback restore --plan {path}", err=True)
