"""`rowback guard mark|unmark`: what the owner of a database says of it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from guards.commands.guard_target import DurationParameter, connected, dsn_option, judged
from guards.refusal import GuardError
from guards.refusal_text import has_terminal, mark_help, quoted

if TYPE_CHECKING:
    import psycopg

    from guards.database_mark import Marker
    from guards.refusal_text import Judgement

confirm_option = click.option("--confirm", "confirmed", metavar="D", help="The database's name, for automation.")


@click.command(epilog="Example: rowback guard mark --dsn dbname=app_test --reason 'CI scratch' --confirm app_test")
@dsn_option
@click.option("--reason", required=True, help="Why nobody will miss it.")
@click.option("--for", "seconds", type=DurationParameter(), default="90d", show_default=True, help="30m, 12h, 90d.")
@click.option("--protected", is_flag=True, help="The opposite: never disposable, and it does not run out.")
@click.option("--once", is_flag=True, help="Not for databases that are made anew under its name on this machine.")
@confirm_option
def mark(dsn: str, reason: str, seconds: float, protected: bool, once: bool, confirmed: str | None) -> None:
    """Mark a database as disposable (or protected): by its owner, bound to this very server and database.

    On a server of this machine the mark is for the name as well, so that dropdb and createdb do not end it for this
    user.
    """
    from guards.database_mark import Marker, in_seconds, write_marker

    _refuse_unclear(reason, protected)
    with connected(dsn) as connection:
        judgement = judged(connection, dsn, "dev")
        identity = judgement.evidence.identity
        if not protected:
            _refuse_protected(judgement)
            for veto in judgement.verdict.vetoes:
                click.echo(f"this mark will outrank: {veto}", err=True)
        _confirm(judgement, confirmed, "mark")
        marker = Marker(
            "protected" if protected else "disposable",
            identity.system_identifier,
            identity.database_oid,
            by=f"{getpass.getuser()} as {judgement.evidence.role}",
            reason=reason,
            until=None if protected else in_seconds(seconds),
        )
        with _refused_by_server(judgement):
            write_marker(connection, marker)
    until = "" if protected else f" until {marker.until}"
    click.echo(f"{judgement.name}: marked {marker.state}{until}{_by_name(judgement, marker, once)}")


def _refuse_unclear(reason: str, protected: bool) -> None:
    by_hand = click.get_current_context().get_parameter_source("seconds") is ParameterSource.COMMANDLINE
    if not reason.strip() or (protected and by_hand):
        raise GuardError(
            "usage",
            "a protection does not run out" if reason.strip() else "a mark has a reason",
            state="nothing was done",
            help="leave --for out, or --protected" if reason.strip() else "--reason 'CI scratch'",
        )


def _by_name(judgement: Judgement, marker: Marker, once: bool) -> str:
    """Keep, or take back, what is said of the name; in words where it is kept."""
    from guards.allowance import NamedMark, take_back_named_mark, write_named_mark
    from guards.policy import policy_here

    identity = judgement.evidence.identity
    if marker.until is None or once or not judgement.evidence.on_this_kernel or policy_here().forbidden_by:
        take_back_named_mark(identity.system_identifier, identity.database)
        return ""
    named = NamedMark(identity.system_identifier, identity.database, marker.by, marker.reason, marker.until)
    try:
        write_named_mark(named)
    except OSError as error:
        return f"; for this database alone, since nothing can be kept on this machine: {error.strerror}"
    return "; for this user on this machine also when it is made anew under this name (--once: not)"


def _refuse_protected(judgement: Judgement) -> None:
    marker = judgement.evidence.comment_marker
    if judgement.verdict.by_owner and marker is not None and marker.state == "protected":
        raise GuardError(
            "mark-refused",
            f"{judgement.name} is {judgement.verdict.vetoes[0]}",
            state="nothing was done",
            help=mark_help(judgement),
        )


@click.command(epilog="Example: rowback guard unmark --dsn dbname=app_test")
@dsn_option
@click.option("--reason", help="Why a protection is over; kept with the database.")
@confirm_option
def unmark(dsn: str, reason: str | None, confirmed: str | None) -> None:
    """Take the mark off.

    The database's own comment stays. A protection is taken off by its owner, with a reason and the database's name, and
    leaves a trace that `rowback guard show` prints.
    """
    from guards.allowance import take_back_named_mark
    from guards.database_mark import remove_marker

    with connected(dsn) as connection:
        judgement = judged(connection, dsn, "dev")
        identity, marker = judgement.evidence.identity, judgement.evidence.comment_marker
        by_name = marker is None and take_back_named_mark(identity.system_identifier, identity.database)
        if marker is None and not by_name:
            raise GuardError(
                "mark-refused",
                f"{judgement.name} bears no mark",
                state="nothing was done",
                help=f"look at it: rowback guard show --dsn {quoted(judgement.conninfo)}",
            )
        if marker and marker.state == "protected" and judgement.verdict.by_owner:
            _take_protection_off(connection, judgement, marker, reason, confirmed)
        elif marker:
            with _refused_by_server(judgement):
                remove_marker(connection)
            take_back_named_mark(identity.system_identifier, identity.database)
    click.echo(f"{judgement.name}: no mark any more")


def _take_protection_off(
    connection: psycopg.Connection[Any], judgement: Judgement, marker: Marker, reason: str | None, confirmed: str | None
) -> None:
    from guards.database_mark import take_protection_off

    if not (reason or "").strip():
        raise GuardError(
            "usage",
            f"{judgement.name} is {judgement.verdict.vetoes[0]}: say why that is over",
            state="nothing was done",
            help=f"rowback guard unmark --dsn {quoted(judgement.conninfo)} --reason …"
            + ("" if has_terminal() else f" --confirm {quoted(judgement.evidence.identity.database)}"),
        )
    _confirm(judgement, confirmed, "take the protection off")
    with _refused_by_server(judgement):
        take_protection_off(connection, marker, f"{getpass.getuser()} as {judgement.evidence.role}", str(reason))


@contextmanager
def _refused_by_server(judgement: Judgement) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise GuardError(
            "mark-refused",
            f"{judgement.name}: {str(error).strip().splitlines()[0]}",
            state="nothing was done",
            help=f"only its owner may mark it; you are '{judgement.evidence.role}'",
        ) from error


def _confirm(judgement: Judgement, confirmed: str | None, what: str) -> None:
    name = judgement.evidence.identity.database
    if confirmed is None and not has_terminal():
        raise GuardError(
            "usage",
            f"nobody is here to type the name of {judgement.name}",
            state="nothing was done",
            help=f"add --confirm {quoted(name)}",
        )
    typed = confirmed if confirmed is not None else click.prompt(f"type the database's name to {what} {judgement.name}")
    if typed != name:
        raise GuardError(
            "usage",
            f"the database is '{name}', not '{typed}'",
            state="nothing was done",
            help=f"--confirm {quoted(name)}",
        )
