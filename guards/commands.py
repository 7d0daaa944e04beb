"""`rowback guard show|check|mark|unmark`: is this database proven disposable, and who says so."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from guards.refusal import GuardError

if TYPE_CHECKING:
    import psycopg

    from guards.evidence import Evidence
    from guards.verdict import Verdict

UNITS_S = {"m": 60, "h": 3600, "d": 86400}
LONGEST_S = 366 * 86400


class Duration(click.ParamType[float]):
    """30m, 12h, 90d: in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is no duration, and what is longer than a year."""
        found = re.fullmatch(r"(\d+)([mhd])", str(value))
        seconds = float(found[1]) * UNITS_S[found[2]] if found else 0.0
        if not 0 < seconds <= LONGEST_S:
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 90d, of a year at most", param, ctx)
        return seconds


dsn_option = click.option("--dsn", default="", help="How to connect; without it libpq's own variables say.")
strictness_option = click.option(
    "--strictness", type=click.Choice(["dev", "ci"]), default="dev", show_default=True,
    help="dev: on this machine, and marked or an hour old. ci: made after this job began.",
)  # fmt: skip


@click.group(epilog="Example: rowback guard show --dsn 'dbname=app_test'")
def guard() -> None:
    """Nothing destructive runs against a database that is not proven disposable."""


@guard.command(epilog="Example: rowback guard show --dsn 'host=localhost dbname=app'")
@dsn_option
@strictness_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def show(dsn: str, strictness: str, as_json: bool) -> None:
    """What the server is, what speaks for it and against it. Reads only."""
    with _connected(dsn) as connection:
        evidence, verdict = _judged(connection, strictness)
    if as_json:
        click.echo(json.dumps({**asdict(verdict), "evidence": asdict(evidence)}, indent=1, default=str))
    else:
        click.echo(_text(evidence, verdict))


@guard.command(epilog='Example: rowback guard check --dsn "$TEST_DSN" --strictness ci && pytest')
@dsn_option
@strictness_option
def check(dsn: str, strictness: str) -> None:
    """End with exit code 21 unless the database is proven disposable. Reads only."""
    with _connected(dsn) as connection:
        evidence, verdict = _judged(connection, strictness)
    if not verdict.disposable:
        raise GuardError(
            "not-disposable", f"{_named(evidence)} is not proven disposable", *verdict.vetoes, *verdict.missing,
            state="nothing was sent to it but one question",
            help=f"use a throw-away database; or, if this one is: rowback guard mark --dsn '{_shown(dsn)}' --reason …",
        )  # fmt: skip
    click.echo(_text(evidence, verdict))


@guard.command(epilog="Example: rowback guard mark --dsn dbname=app_test --reason 'CI scratch' --confirm app_test")
@dsn_option
@click.option("--reason", required=True, help="Why nobody will miss it.")
@click.option("--for", "seconds", type=Duration(), default="90d", show_default=True, help="30m, 12h, 90d.")
@click.option("--protected", is_flag=True, help="The opposite: never disposable, and it does not run out.")
@click.option("--confirm", "confirmed", metavar="D", help="The database's name, for automation.")
def mark(dsn: str, reason: str, seconds: float, protected: bool, confirmed: str | None) -> None:
    """Mark a database as disposable (or protected): by its owner, bound to this very server and database."""
    from guards.marker import Marker, in_seconds, write_marker

    with _connected(dsn) as connection:
        evidence, verdict = _judged(connection, "dev")
        identity = evidence.identity
        if not protected:
            for veto in verdict.vetoes:
                click.echo(f"this mark will outrank: {veto}", err=True)
        _confirm(evidence, confirmed)
        marker = Marker(
            "protected" if protected else "disposable", identity.system_identifier, identity.database_oid,
            by=f"{getpass.getuser()} as {evidence.role}", reason=reason,
            until=None if protected else in_seconds(seconds),
        )  # fmt: skip
        with _refused_by_server(evidence):
            write_marker(connection, marker)
    until = "" if protected else f" until {marker.until}"
    click.echo(f"{_named(evidence)}: marked {marker.state}{until}")


@guard.command(epilog="Example: rowback guard unmark --dsn dbname=app_test")
@dsn_option
def unmark(dsn: str) -> None:
    """Take the mark off. The database's own comment stays."""
    from guards.marker import remove_marker

    with _connected(dsn) as connection:
        evidence, _ = _judged(connection, "dev")
        if evidence.comment_marker is None:
            raise GuardError(
                "mark-refused", f"{_named(evidence)} bears no mark", state="nothing was done",
                help=f"look at it: rowback guard show --dsn '{_shown(dsn)}'",
            )  # fmt: skip
        with _refused_by_server(evidence):
            remove_marker(connection)
    click.echo(f"{_named(evidence)}: no mark any more")


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    import psycopg

    try:
        connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10, application_name="rowback guard")
    except psycopg.Error as error:
        raise GuardError(
            "server-unreachable", (str(error).strip().splitlines() or ["no connection"])[0],
            state="nothing was done", help="check --dsn, or PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD",
        ) from error  # fmt: skip
    with connection:
        yield connection


def _judged(connection: psycopg.Connection[Any], strictness: str) -> tuple[Evidence, Verdict]:
    from datetime import UTC, datetime

    from guards.evidence import gather
    from guards.same_kernel import started_at
    from guards.verdict import Policy, judge

    began = started_at()
    policy = Policy("ci" if strictness == "ci" else "dev", datetime.fromtimestamp(began, UTC) if began else None)
    evidence = gather(connection)
    return evidence, judge(evidence, policy, datetime.now(UTC))


@contextmanager
def _refused_by_server(evidence: Evidence) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise GuardError(
            "mark-refused", f"{_named(evidence)}: {str(error).strip().splitlines()[0]}", state="nothing was done",
            help=f"only its owner may mark it; you are '{evidence.role}'",
        ) from error  # fmt: skip


def _confirm(evidence: Evidence, confirmed: str | None) -> None:
    name = evidence.identity.database
    typed = confirmed if confirmed is not None else click.prompt(f"type the database's name to mark {_named(evidence)}")
    if typed != name:
        raise GuardError(
            "usage", f"the database is '{name}', not '{typed}'", state="nothing was done", help=f"--confirm {name}"
        )


def _shown(dsn: str) -> str:
    """The DSN as it may be printed: without its password."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(dsn)
    shown = ("service", "host", "hostaddr", "port", "dbname", "user")
    return " ".join(f"{key}={parts[key]}" for key in shown if parts.get(key))


def _named(evidence: Evidence) -> str:
    return f"'{evidence.identity.database}' on {evidence.server}"


def _text(evidence: Evidence, verdict: Verdict) -> str:
    identity = evidence.identity
    lines = [
        f"{_named(evidence)}: {'disposable' if verdict.disposable else 'NOT proven disposable'}", "",
        f"  server   PostgreSQL {identity.server_version_num // 10000}, system identifier {identity.system_identifier},"
        f" database oid {identity.database_oid}",
        f"  made     {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}",
        f"  size     {evidence.size_bytes / 2**20:,.1f} MiB",
    ]  # fmt: skip
    for word, said in (("for", verdict.proofs), ("against", verdict.vetoes), ("missing", verdict.missing)):
        lines += [f"  {word:<8} {line}" for line in said]
    return "\n".join(lines)
