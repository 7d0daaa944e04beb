"""The guard's own connections: what a statement would have hit, and whether two databases are the same.

They are always psycopg 3's, read-only, short, and not judged themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from guards.blast_radius import radius
from guards.guard_session import Guard
from guards.policy import Policy
from guards.refusal import GuardError
from guards.server_evidence import Evidence
from guards.server_identity import ServerIdentity, identify
from guards.statements import Finding

ASKING: ContextVar[bool] = ContextVar("the guard's own questions", default=False)
_IDENTITIES: dict[str, ServerIdentity] = {}
_OURS = "rowback guard"  # application_name of these connections
NOT_ASKED: str | None = "what it would have hit could not be asked"


@contextmanager
def asking() -> Iterator[None]:
    """Exempt the connections that this thread or asyncio task opens inside the block; all others stay guarded."""
    token = ASKING.set(True)
    try:
        yield
    finally:
        ASKING.reset(token)


def radius_of(parameters: Mapping[str, Any], findings: Sequence[Finding]) -> str | None:
    """What `findings` would have hit, asked through a connection of our own: the refused one may be amid anything.

    None when nothing of what they name is there.
    """
    import psycopg

    try:
        with asking(), connected(parameters) as ours:
            return radius(ours, findings)
    except psycopg.Error:
        return NOT_ASKED


def same_as_application(policy: Policy, evidence: Evidence) -> str | None:
    """Which configured database of the application this one is, by what the servers say of themselves; None: none.

    One that cannot be reached, or that is not configured here, is not compared.
    """
    for configured in policy.application:
        dsn = resolved(configured)
        application = _identity(dsn) if dsn else None
        ours = evidence.identity
        if application and (application.system_identifier, application.database_oid) == (
            ours.system_identifier,
            ours.database_oid,
        ):
            return configured
    return None


def _identity(dsn: str) -> ServerIdentity | None:
    import psycopg

    if dsn not in _IDENTITIES:
        try:
            with asking(), connected(psycopg.conninfo.conninfo_to_dict(dsn)) as ours:
                _IDENTITIES[dsn] = identify(ours)
        except psycopg.Error:
            return None  # perhaps the next time
    return _IDENTITIES[dsn]


def verdict_on(guard: Guard, configured: str) -> str:
    """What `guard` thinks of a database that is said as in `resolved`, in one line."""
    import psycopg

    dsn = resolved(configured)
    if dsn is None:
        return "not configured here"
    try:
        with psycopg.connect(dsn, connect_timeout=5) as judged:
            identity = identify(judged)
    except psycopg.ProgrammingError:
        return "this is no DSN"  # its own words would repeat it, password and all
    except psycopg.Error as error:
        return (str(error).strip().splitlines() or ["no connection"])[0]
    judgement = guard.judged.get(identity)
    return judgement.summary if judgement else "not judged"


def resolved(configured: str) -> str | None:
    """A DSN as it is said in a policy: itself, `$NAME` of the environment, `FILE:NAME` of a .env file, `django:ALIAS`.

    None where that is not set. Of a URL the driver's name (postgresql+asyncpg://) and what libpq does not know behind
    the question mark are left out. Raises GuardError(policy-invalid) for what is set and is no DSN.
    """
    if configured.startswith("$"):
        dsn = os.environ.get(configured[1:])
    elif configured.startswith("django:"):
        dsn = _of_django(configured.removeprefix("django:"))
    elif "://" in configured or "=" in configured:
        dsn = configured
    else:
        dsn = _in_file(*configured.rsplit(":", 1)) if ":" in configured else None
    return _readable(configured, dsn) if dsn else None


def _readable(configured: str, dsn: str) -> str:
    import psycopg

    scheme, separator, rest = dsn.partition("://")
    if separator:
        place, _, query = rest.partition("?")
        supported = [each for each in query.split("&") if each.partition("=")[0] in KNOWN_TO_LIBPQ]
        dsn = f"postgresql://{place}" + (f"?{'&'.join(supported)}" if supported else "")
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError) as error:
        raise GuardError(
            "policy-invalid",
            f"what {configured if configured[0] in '$.' else 'a database setting'} says is no DSN",
            state="nothing was connected to, nothing was sent",
            help="say it as libpq reads it: postgresql://user@host/dbname, or dbname=…",
        ) from error
    return dsn


KNOWN_TO_LIBPQ = frozenset(
    {
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "passfile",
        "connect_timeout",
        "options",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "service",
        "target_session_attrs",
        "application_name",
        "channel_binding",
    }
)


def _in_file(path: str, name: str) -> str | None:
    """The last value of a name in a .env file: quoted, or up to the comment behind it."""
    try:
        text = Path(path).read_text()
    except (OSError, ValueError):  # not there, no text, or no name of a file
        return None
    value = r"""(?:"([^"]*)"|'([^']*)'|(\S*))"""
    matches = re.findall(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=[ \t]*{value}", text, re.MULTILINE)
    return next((part for part in matches[-1] if part), None) if matches else None


def _of_django(alias: str) -> str | None:
    from django.conf import settings
    from psycopg.conninfo import make_conninfo

    database = settings.DATABASES.get(alias, {})
    names = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    return make_conninfo(**{ours: database[theirs] for theirs, ours in names.items() if database.get(theirs)})


@contextmanager
def connected(parameters: Mapping[str, Any], *, read_only: bool = True) -> Iterator[Any]:
    """A connection of the guard's own, in autocommit and UTF-8, whose statements end after 5 s.

    Read-only unless it is to write a mark. Behind a pooler nothing is set. Raises psycopg.Error.
    """
    import psycopg

    # In SQL_ASCII psycopg would give bytes, and no name would be the one that a text names.
    options = {**parameters, "connect_timeout": 5, "application_name": _OURS, "client_encoding": "utf8"}
    with psycopg.connect(**options, autocommit=True) as ours:
        row = ours.execute("select pg_backend_pid()").fetchone()
        if row and row[0] == ours.info.backend_pid:  # behind a pooler the settings would stay with another client
            read_only_setting = "set default_transaction_read_only = on; " if read_only else ""
            ours.execute(f"{read_only_setting}set statement_timeout = '5s'")
        yield ours
