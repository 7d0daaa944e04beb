"""`rowback guard allow|disallow`: the escape hatch, for one database and a while."""

from __future__ import annotations

import getpass

import click

from guards.commands.guard_target import DurationParameter
from guards.refusal import GuardError

target_option = click.option(
    "--target", required=True, metavar="SYSTEM/OID/START", help="As the refusal, or `guard show`, names the database."
)


@click.command(epilog="Example: rowback guard allow --target 7300000000000000001/16400/1795790000.1 --reason mine")
@target_option
@click.option("--reason", required=True, help="Printed in every run.")
@click.option(
    "--for", "seconds", type=DurationParameter(), default="30m", show_default=True, help="30m, 12h; a day at most."
)
def allow(target: str, reason: str, seconds: float) -> None:
    """Let this user destroy one database for a while, whatever speaks against it but a protection."""
    from guards.allowance import LONGEST, Allowance, write_allowance
    from guards.database_mark import in_seconds
    from guards.policy import policy_here

    system, oid, started = _parsed(target)
    if forbidden_by := policy_here().forbidden_by:
        raise GuardError(
            "allow-forbidden",
            f"{forbidden_by} forbids allowances here",
            state="nothing was allowed",
            help="ask the database's owner for a mark: rowback guard mark --dsn … --reason …",
        )
    if seconds > LONGEST.total_seconds() or not reason.strip():
        raise GuardError(
            "usage",
            "an allowance has a reason and lasts a day at most",
            state="nothing was allowed",
            help=f"rowback guard allow --target {target} --reason '…' --for 30m; for longer the owner marks it",
        )
    allowance = Allowance(system, oid, started, by=getpass.getuser(), reason=reason, until=in_seconds(seconds))
    try:
        path = write_allowance(allowance)
    except OSError as error:
        raise GuardError(
            "usage",
            f"the allowance could not be kept: {error}",
            state="nothing was allowed",
            help="set ROWBACK_HOME to a directory of your own",
        ) from error
    click.echo(f"{allowance}\nkept in {path}; take it back: rowback guard disallow --target {target}")


@click.command(epilog="Example: rowback guard disallow --target 7300000000000000001/16400/1795790000.1")
@target_option
def disallow(target: str) -> None:
    """Take an allowance back before it runs out."""
    from guards.allowance import allowances, take_back

    _parsed(target)
    if not take_back(target):
        from guards import system_clock

        targets = ", ".join(each.target for each in allowances(system_clock.now())) or "none"
        raise GuardError(
            "usage", f"there is no allowance for {target}", state="nothing was done", help=f"there are: {targets}"
        )
    click.echo(f"{target} is allowed no more")


def _parsed(target: str) -> tuple[str, int, str]:
    from guards.allowance import parse_target

    parsed = parse_target(target)
    if parsed is None:
        raise GuardError(
            "usage",
            f"'{target}' names no database",
            state="nothing was done",
            help="SYSTEM/OID/START, as the refusal names it, or: rowback guard show --dsn …",
        )
    return parsed
