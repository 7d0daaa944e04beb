"""What the verbs of `rowback guard` share: connect, judge, and name what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from guards.refusal import GuardError

if TYPE_CHECKING:
    import psycopg

    from guards.refusal_text import Judgement

UNITS_S = {"m": 60, "h": 3600, "d": 86400}
LONGEST_S = 366 * 86400


class DurationParameter(click.ParamType[float]):
    """30m, 12h, 90d: in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is no duration, and what is longer than a year."""
        match = re.fullmatch(r"(\d+)([mhd])", str(value))
        seconds = float(match[1]) * UNITS_S[match[2]] if match else 0.0
        if not 0 < seconds <= LONGEST_S:
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 90d, of a year at most", param, ctx)
        return seconds


def _without_driver(_context: click.Context, _option: click.Parameter, dsn: str) -> str:
    """SQLAlchemy's URLs name a driver, which libpq does not know."""
    return re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", dsn)


dsn_option = click.option(
    "--dsn", default="", callback=_without_driver, help="How to connect; without it libpq's own variables say."
)
strictness_option = click.option(
    "--strictness",
    type=click.Choice(["dev", "ci"]),
    default="dev",
    show_default=True,
    help="dev: on this machine, and marked or an hour old. ci: made after this job began.",
)


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to `dsn`, closed at the end.

    Raises GuardError(server-unreachable), with the host names of the server's certificate where it sent one.
    """
    import psycopg

    with _in_words():
        named = _certificate(dsn)
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=10,
            application_name="rowback guard",
            client_encoding="utf8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=25000,
        )
    except (psycopg.Error, UnicodeError) as error:
        raise GuardError(
            "server-unreachable",
            (str(error).strip().splitlines() or ["no connection"])[0],
            *([f"its certificate names {named}"] if named else []),
            state="nothing was done",
            help="check --dsn, or PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD",
        ) from error
    with connection:
        yield connection


def _certificate(dsn: str) -> str | None:
    """Whose certificate is shown where `dsn` leads to first, before any password is sent there."""
    import os

    from psycopg.conninfo import conninfo_to_dict

    from guards.certificate import certified

    parts = conninfo_to_dict(dsn)
    if parts.get("service") or os.environ.get("PGSERVICE"):
        return None  # libpq alone knows where that leads
    host = parts.get("hostaddr") or parts.get("host") or os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST")
    port = str(parts.get("port") or os.environ.get("PGPORT") or 5432).split(",")[0]
    first = str(host or "").split(",")[0]
    usable = first and re.fullmatch(r"[0-9]{1,5}", port)
    return certified(first, int(port)) if usable else None


@contextmanager
def _in_words() -> Iterator[None]:
    import psycopg

    try:
        yield
    except (psycopg.Error, UnicodeError) as error:  # a host name that no resolver takes is one of them
        # libpq's own words would repeat it, password and all
        raise GuardError(
            "usage", "what --dsn says is no DSN", state="nothing was done", help="rowback guard show --dsn 'dbname=app'"
        ) from error


def judged(connection: psycopg.Connection[Any], dsn: str, strictness: str) -> Judgement:
    """The evidence, certificate and application's databases included, and the verdict."""
    from psycopg.conninfo import conninfo_to_dict

    from guards import system_clock
    from guards.certificate import certified
    from guards.connection_words import shown
    from guards.drivers.guard_connection import same_as_application
    from guards.drivers.open_connection import wire_of
    from guards.policy import policy_here
    from guards.refusal_text import Judgement
    from guards.same_kernel import peer_of
    from guards.server_location import gather
    from guards.verdict import judge

    policy = policy_here("ci" if strictness == "ci" else "dev")
    wire = wire_of(connection)
    evidence = gather(wire)
    evidence = replace(
        evidence, certified=certified(*peer_of(wire.link.fd)), application=same_as_application(policy, evidence)
    )
    conninfo = shown(conninfo_to_dict(dsn)) if dsn else wire.conninfo
    return Judgement(evidence, judge(evidence, policy, system_clock.now()), asked_for=conninfo, conninfo=conninfo)
