"""`rowback reap`: remove copies that no running case needs."""

from __future__ import annotations

import json
from functools import partial

import click

from recovery.commands.options import json_option, profile_option, region_option
from recovery.config import load_profile


@click.command(epilog="Example: rowback reap --dry-run")
@profile_option
@region_option
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@json_option
def reap(profile: str | None, region: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove copies of dead cases (closed, or expired and with no process running them); refuse everything else."""
    from recovery.aws.instances import Instances
    from recovery.workflow.reap_copies import reap as reap_copies
    from runbooks.acceptance.parameter_group import remove_parameter_group

    instances = Instances.connect(region or load_profile(profile).region)
    remove_group = partial(remove_parameter_group, instances)
    rows = list(reap_copies(instances, remove=not dry_run, remove_group=remove_group))
    if as_json:
        click.echo(
            json.dumps([{each.kind.replace(" ", "_"): each.name, "result": each.outcome} for each in rows], indent=1)
        )
        return
    for each in rows:
        click.echo(f"{'' if each.kind == 'instance' else each.kind + ' '}{each.name}: {each.outcome}")
    if not rows:
        click.echo("no copies exist")
