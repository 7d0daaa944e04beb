"""`rowback guard mark|unmark`: what the owner of a database says of it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from guards.commands.asking import Duration, connected, dsn_option, judged
from guards.refusal import GuardError

if TYPE_CHECKING:
    from guards.telling import Known


@click.command(epilog="Example: rowback guard mark --dsn dbname=app_test --reason 'CI scratch' --confirm app_test")
@dsn_option
@click.option("--reason", required=True, help="Why nobody will miss it.")
@click.option("--for", "seconds", type=Duration(), default="90d", show_default=True, help="30m, 12h, 90d.")
@click.option("--protected", is_flag=True, help="The opposite: never disposable, and it does not run out.")
@click.option("--confirm", "confirmed", metavar="D", help="The database's name, for automation.")
def mark(dsn: str, reason: str, seconds: float, protected: bool, confirmed: str | None) -> None:
    """Mark a database as disposable (or protected): by its owner, bound to this very server and database."""
    from guards.marker import Marker, in_seconds, write_marker

    with connected(dsn) as connection:
        known = judged(connection, dsn, "dev")
        identity = known.evidence.identity
        if not protected:
            for veto in known.verdict.vetoes:
                click.echo(f"this mark will outrank: {veto}", err=True)
        _confirm(known, confirmed)
        marker = Marker(
            "protected" if protected else "disposable", identity.system_identifier, identity.database_oid,
            by=f"{getpass.getuser()} as {known.evidence.role}", reason=reason,
            until=None if protected else in_seconds(seconds),
        )  # fmt: skip
        with _refused_by_server(known):
            write_marker(connection, marker)
    until = "" if protected else f" until {marker.until}"
    click.echo(f"{known.name}: marked {marker.state}{until}")


@click.command(epilog="Example: rowback guard unmark --dsn dbname=app_test")
@dsn_option
def unmark(dsn: str) -> None:
    """Take the mark off. The database's own comment stays."""
    from guards.marker import remove_marker

    with connected(dsn) as connection:
        known = judged(connection, dsn, "dev")
        if known.evidence.comment_marker is None:
            raise GuardError(
                "mark-refused", f"{known.name} bears no mark", state="nothing was done",
                help=f"look at it: rowback guard show --dsn '{known.way}'",
            )  # fmt: skip
        with _refused_by_server(known):
            remove_marker(connection)
    click.echo(f"{known.name}: no mark any more")


@contextmanager
def _refused_by_server(known: Known) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise GuardError(
            "mark-refused", f"{known.name}: {str(error).strip().splitlines()[0]}", state="nothing was done",
            help=f"only its owner may mark it; you are '{known.evidence.role}'",
        ) from error  # fmt: skip


def _confirm(known: Known, confirmed: str | None) -> None:
    name = known.evidence.identity.database
    typed = confirmed if confirmed is not None else click.prompt(f"type the database's name to mark {known.name}")
    if typed != name:
        raise GuardError(
            "usage", f"the database is '{name}', not '{typed}'", state="nothing was done", help=f"--confirm {name}"
        )
