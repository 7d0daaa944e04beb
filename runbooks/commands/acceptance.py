"""`rowback acceptance`."""

from __future__ import annotations

import json

import click

from recovery.commands.options import json_option


@click.command(epilog="Example: rowback acceptance --profile staging --confirm 123456789012")
@click.option(
    "--profile", "profile_name", required=True, metavar="NAME", help="Region, tunnel and tags (rowback.toml)."
)
@click.option(
    "--instance", metavar="NAME", help="A disposable one, tagged rowback:disposable=true (default: make one)."
)
@click.option("--class", "instance_class", default="db.t4g.micro", show_default=True, help="Of the one that is made.")
@click.option("--subnet-group", metavar="NAME", help="Where it is made (default: RDS's own choice).")
@click.option("--security-group", "security_groups", multiple=True, metavar="ID", help="How it is reached.")
@click.option(
    "--policy-profile",
    metavar="NAME",
    help="A profile of the AWS configuration that may do what --iam-policy prints, and nothing else.",
)
@click.option("--data-mib", type=click.IntRange(1, 10_000), default=1024, show_default=True, help="To measure reads.")
@click.option(
    "--max-cost",
    "max_cost_usd",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="US dollars, at most.",
)
@click.option("--iam-policy", is_flag=True, help="Print the policy for --policy-profile, and do nothing.")
@click.option("--confirm", "confirmed", metavar="ACCOUNT", help="The number of the account in which it is done.")
@json_option
def acceptance(  # noqa: PLR0913, PLR0917 (one argument an option)
    profile_name: str,
    instance: str | None,
    instance_class: str,
    subnet_group: str | None,
    security_groups: tuple[str, ...],
    policy_profile: str | None,
    data_mib: int,
    max_cost_usd: float,
    iam_policy: bool,
    confirmed: str | None,
    as_json: bool,
) -> None:
    """Try on a real account what rowback assumes of AWS: confirmed, refuted or unknown, with what was seen.

    Makes a small instance and copies of it, and removes them. docs/aws-assumptions.md lists what is tried.
    """
    from recovery.aws.instances import Instances
    from recovery.config import load_profile
    from recovery.report.progress_listener import listener
    from runbooks.acceptance.acceptance_request import (
        AcceptanceRequest,
        Ground,
        cost_within,
        printed_policy,
        refuse_foreign_policy_profile,
        refuse_unconfirmed,
    )
    from runbooks.acceptance.findings import read_result, result_text
    from runbooks.acceptance.run_acceptance import accept

    request = AcceptanceRequest(
        profile=load_profile(profile_name),
        ground=Ground(instance_class, subnet_group, security_groups),
        instance=instance,
        policy_profile=policy_profile,
        max_cost_usd=max_cost_usd,
        data_mib=data_mib,
    )
    if iam_policy:
        click.echo(printed_policy(request))
        return
    instances = Instances.connect(request.profile.region)
    named = instances.get(instance) if instance else None
    cost = cost_within(request, named, instances.region)
    refuse_foreign_policy_profile(request)
    refuse_unconfirmed(request, confirmed, cost.most_usd)
    file = accept(request, cost, instances, listener())
    result = read_result(file)
    if as_json:
        click.echo(json.dumps(result.model_dump(mode="json"), indent=1))
    else:
        click.echo(result_text(result))
        click.echo(f"\nkept in {file}; it holds no account number: please send it in with an issue")
    raise SystemExit(0 if result.passed else 40)
