"""`rowback wait`: until an instance is available; polls by itself, for as long as RDS takes."""

from __future__ import annotations

import click

from recovery.commands.options import json_option, profile_option
from recovery.commands.parameter_types import seconds
from recovery.commands.shell_completion import complete_instance


@click.command(epilog="Example: rowback wait docs-staging-2 --for 6h")
@click.argument("instance", shell_complete=complete_instance)
@click.option("--for", "longest", default="24h", show_default=True, metavar="6h", help="Give up after this time.")
@profile_option
@json_option
def wait(instance: str, longest: str, profile: str | None, as_json: bool) -> None:
    """Wait until an instance is available: one that was restored, created or started by other means.

    A restore of terabytes takes many hours, and aws rds wait gives up after half of one. Ends at once where the
    instance enters a state that it does not leave by itself.
    """
    from recovery.aws.instances import Instances
    from recovery.config import load_profile

    shown = [""]

    def watch(status: str, waited_s: float) -> None:
        if status != shown[0]:
            click.echo(f"{instance}: {status} (after {waited_s:,.0f} s)", err=True)
        shown[0] = status

    instances = Instances.connect(load_profile(profile).region)
    facts = instances.wait_available(instance, deadline_s=seconds(longest), watch=watch)
    assert facts.endpoint
    where = f"{facts.endpoint.host}:{facts.endpoint.port}"
    click.echo(facts.model_dump_json(indent=1) if as_json else f"{instance} is available at {where}")
