"""`rowback doctor`: could this instance be recovered now? Reads only."""

from __future__ import annotations

import click

from recovery.commands.options import instance_argument, json_option, profile_option, region_option
from recovery.config import Profile, load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

FORMS = ("json", "terraform", "cloudformation")


@click.command(epilog="Example: rowback doctor docs-staging --database docs")
@instance_argument
@click.option("--database", metavar="D", help="The database to look into (default: the profile's, or postgres).")
@click.option(
    "--iam-policy",
    "form",
    type=click.Choice(FORMS),
    is_flag=False,
    flag_value="json",
    help="Instead: print the least policy that rowback needs for this instance and profile.",
)
@profile_option
@region_option
@json_option
def doctor(
    instance: str | None,
    database: str | None,
    form: str | None,
    profile: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Could it be recovered now: permissions, backups, network, programs, privileges, tables. Reads only.

    The tables' counters are kept on this machine: run it now and then, and find can tell what they lost since.
    """
    loaded = load_profile(profile)
    loaded = loaded.model_copy(update={"region": region or loaded.region})
    name = instance or loaded.instance
    if name is None:
        raise RowbackError(
            ErrorId.USAGE,
            "INSTANCE is missing",
            state=NOTHING_CREATED,
            help="rowback doctor INSTANCE; which there are: aws rds describe-db-instances",
        )
    if form:
        _show_policy(name, loaded, form)
        return
    _run_checks(name, database or loaded.database or "postgres", loaded, as_json=as_json)


def _run_checks(instance: str, database: str, profile: Profile, *, as_json: bool) -> None:
    from recovery.doctor.checks import run_checks
    from recovery.report.health_text import health_text

    health = run_checks(instance, database, profile)
    click.echo(health.model_dump_json(indent=1) if as_json else health_text(health))
    if health.problems:
        names = ", ".join(check.name for check in health.problems)
        raise RowbackError(
            ErrorId.NOT_RECOVERABLE,
            f"a recovery of '{instance}' would fail now: {names}",
            state=NOTHING_CREATED,
            help="the fixes are above; then: rowback doctor " + instance,
        )


def _show_policy(instance: str, profile: Profile, form: str) -> None:
    from recovery.aws.permissions import as_cloudformation, as_json, as_terraform
    from recovery.doctor.policy_scope import place_of

    place, unseen = place_of(instance, profile.region)
    if unseen:
        click.echo(f"written without having seen '{instance}': {unseen}", err=True)
    forms = {"json": as_json, "terraform": as_terraform, "cloudformation": as_cloudformation}
    click.echo(forms[form](place, profile))
