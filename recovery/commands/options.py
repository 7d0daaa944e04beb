"""Options that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.shell_completion import complete_case, complete_instance, complete_profile

if TYPE_CHECKING:
    pass


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")

region_option = click.option("--region", help="AWS region (default: boto3's own).")

profile_option = click.option(
    "--profile", metavar="NAME", help="Profile in rowback.toml.", shell_complete=complete_profile
)

instance_argument = click.argument("instance", required=False, shell_complete=complete_instance)

case_argument = click.argument("case_id", metavar="CASE", shell_complete=complete_case)
