"""The guard's own connections: what a statement would have hit, and whether two databases are the same.

They are always psycopg 3's, read-only, short, and not judged themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from guards.blast import radius
from guards.drivers.contract import conducted
from guards.drivers.wire import wire_of
from guards.evidence import Evidence
from guards.identity import ServerIdentity, identify
from guards.making import mark_of_run
from guards.marker import as_comment
from guards.policy import Policy
from guards.reach import Neighbourhood, Sibling
from guards.refusal import GuardError
from guards.session import Ends, Guard, Row
from guards.statements import Finding
from guards.telling import Known
from guards.words import shown

ASKING: ContextVar[bool] = ContextVar("the guard's own questions", default=False)
_IDENTITIES: dict[str, ServerIdentity] = {}
# Another database of the same server is reached by the same way; sessions of clients alone can be ended by mistake.
_DATABASES = """
select d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database'),
       (select count(*) from pg_stat_activity a where a.datid = d.oid and a.pid <> pg_backend_pid()
        and coalesce(a.backend_type, 'client backend') = 'client backend')
from pg_database d where not d.datistemplate or d.datname not in ('template0', 'template1')
"""
_OURS = "rowback guard"  # application_name of these connections
ANSWERED_WITHIN_S = 5.0
NOT_ASKED: str | None = "what it would have hit could not be asked"

T = TypeVar("T")


@contextmanager
def asking() -> Iterator[None]:
    """Exempt the connections that this thread or asyncio task opens inside the block; all others stay guarded."""
    token = ASKING.set(True)
    try:
        yield
    finally:
        ASKING.reset(token)


class OwnQuestions:
    """guards.session.Questions through psycopg 3."""

    def radius(self, ends: Ends, findings: Sequence[Finding]) -> str | None:
        """What the findings would have hit: the refused connection may be amid anything, so another one is asked."""
        return _in_time(lambda: radius_of(ends.parameters, findings), NOT_ASKED)

    def application(self, policy: Policy, evidence: Evidence) -> str | None:
        """See same_as_application."""
        return same_as_application(policy, evidence)

    def neighbourhood(self, ends: Ends) -> Neighbourhood | None:
        """All databases and roles of the server, if it answers."""
        return _in_time(lambda: _neighbourhood(ends.parameters), None)

    def at(self, guard: Guard, ends: Ends, way: str) -> str | None:
        """Judge where a connection string leads from the session's server. A host that it does not name is that
        server's own; who connects there is not known here, so our own role and password are tried first."""
        import psycopg

        try:
            said = psycopg.conninfo.conninfo_to_dict(way)
            base = {key: value for key, value in ends.parameters.items() if key not in ("service", "replication")}
            if "host" in said or "hostaddr" in said:
                base = {key: base.get(key) for key in ("user", "password") if base.get(key)}
            known = known_at({**base, **said}, guard)
        except psycopg.Error:
            return f"a server that could not be asked ({shown_way(way)})"
        return None if known.verdict.disposable else f"{known.name}: {known.told}"


def _neighbourhood(parameters: Mapping[str, Any]) -> Neighbourhood | None:
    import psycopg

    try:
        with asking(), _connected(parameters) as ours:
            siblings = [Sibling(*row) for row in ours.execute(_DATABASES)]
            roles = frozenset(str(name) for (name,) in ours.execute("select rolname from pg_roles"))
    except psycopg.Error:
        return None
    return Neighbourhood({each.name: each for each in siblings}, roles)


def _in_time(ask: Callable[[], T], otherwise: T) -> T:
    """An answer within ANSWERED_WITHIN_S: behind a pooler a question may wait for the session that it is about."""
    answers: list[T] = []
    asks = Thread(target=lambda: answers.append(ask()), daemon=True)
    asks.start()
    asks.join(ANSWERED_WITHIN_S)
    return answers[0] if answers else otherwise


def shown_way(way: str) -> str:
    """A connection string as it may be printed."""
    import psycopg

    try:
        return shown(psycopg.conninfo.conninfo_to_dict(way))
    except psycopg.Error:
        return "what is no connection string"


def known_at(parameters: Mapping[str, Any], guard: Guard) -> Known:
    """The verdict on the database that is reached so, by a connection of the guard's own. Raises psycopg.Error."""
    parameters = dict(parameters)
    if str(parameters.pop("replication", "database")).lower() != "database":
        parameters["dbname"] = "postgres"  # a session that follows the whole server is in none
    with asking(), _connected(parameters) as ours:
        wire = wire_of(ours)
        ends = Ends(wire.link, parameters, asked_for=shown(parameters), way=wire.way)

        def ask(text: str) -> Row:
            row = ours.execute(text).fetchone()
            return [None if value is None else str(value) for value in row or ()]

        return conducted(guard.meeting(wire.link, lambda: ends), ask)


def mark_as_own(ends: Ends, name: str) -> None:
    """Mark a database that this run has just made. One that cannot be marked stays as it is: unproven."""
    import psycopg
    from psycopg import sql

    with suppress(psycopg.Error), asking(), _connected(ends.parameters, read_only=False) as ours:
        row = ours.execute(
            "select (select system_identifier from pg_control_system())::text, oid::bigint, datname,"
            " current_setting('server_version_num')::int, extract(epoch from pg_postmaster_start_time())::text"
            " from pg_database where datname = %s", (name,),
        ).fetchone()  # fmt: skip
        if row:
            comment = as_comment(mark_of_run(ServerIdentity(*row)))
            ours.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(comment)))


def radius_of(parameters: Mapping[str, Any], findings: Sequence[Finding]) -> str | None:
    """What `findings` would have hit, asked through a connection of our own: the refused one may be amid anything.

    None when nothing of what they name is there.
    """
    import psycopg

    try:
        with asking(), _connected(parameters) as ours:
            return radius(ours, findings)
    except psycopg.Error:
        return NOT_ASKED


def same_as_application(policy: Policy, evidence: Evidence) -> str | None:
    """Which configured database of the application this one is, by what the servers say of themselves; None: none.

    One that cannot be reached, or that is not configured here, is not compared.
    """
    for said in policy.application:
        dsn = resolved(said)
        found = _identity(dsn) if dsn else None
        ours = evidence.identity
        if found and (found.system_identifier, found.database_oid) == (ours.system_identifier, ours.database_oid):
            return said
    return None


def _identity(dsn: str) -> ServerIdentity | None:
    import psycopg

    if dsn not in _IDENTITIES:
        try:
            with asking(), _connected(psycopg.conninfo.conninfo_to_dict(dsn)) as ours:
                _IDENTITIES[dsn] = identify(ours)
        except psycopg.Error:
            return None  # perhaps the next time
    return _IDENTITIES[dsn]


def verdict_on(guard: Guard, said: str) -> str:
    """What `guard` thinks of a database that is said as in `resolved`, in one line."""
    import psycopg

    dsn = resolved(said)
    if dsn is None:
        return "not configured here"
    try:
        with psycopg.connect(dsn, connect_timeout=5) as judged:
            identity = identify(judged)
    except psycopg.ProgrammingError:
        return "this is no DSN"  # its own words would repeat it, password and all
    except psycopg.Error as error:
        return (str(error).strip().splitlines() or ["no connection"])[0]
    known = guard.met.get(identity)
    return known.told if known else "not judged"


def resolved(said: str) -> str | None:
    """A DSN as it is said in a policy: itself, `$NAME` of the environment, `FILE:NAME` of a .env file, `django:ALIAS`.

    None where that is not set. Of a URL the driver's name (postgresql+asyncpg://) and what libpq does not know behind
    the question mark are left out. Raises GuardError(policy-invalid) for what is set and is no DSN.
    """
    if said.startswith("$"):
        found = os.environ.get(said[1:])
    elif said.startswith("django:"):
        found = _of_django(said.removeprefix("django:"))
    elif "://" in said or "=" in said:
        found = said
    else:
        found = _in_file(*said.rsplit(":", 1)) if ":" in said else None
    return _readable(said, found) if found else None


def _readable(said: str, found: str) -> str:
    import psycopg

    scheme, separator, rest = found.partition("://")
    if separator:
        place, _, query = rest.partition("?")
        known = [each for each in query.split("&") if each.partition("=")[0] in _KNOWN_TO_LIBPQ]
        found = f"postgresql://{place}" + (f"?{'&'.join(known)}" if known else "")
    try:
        psycopg.conninfo.conninfo_to_dict(found)
    except psycopg.Error as error:
        raise GuardError(
            "policy-invalid", f"what {said if said[0] in '$.' else 'a database setting'} says is no DSN",
            state="nothing was connected to, nothing was sent",
            help="say it as libpq reads it: postgresql://user@host/dbname, or dbname=…",
        ) from error  # fmt: skip
    return found


_KNOWN_TO_LIBPQ = frozenset({
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "connect_timeout", "options", "sslmode",
    "sslrootcert", "sslcert", "sslkey", "service", "target_session_attrs", "application_name", "channel_binding",
})  # fmt: skip


def _in_file(path: str, name: str) -> str | None:
    """The last value of a name in a .env file: quoted, or up to the comment behind it."""
    try:
        text = Path(path).read_text()
    except OSError:
        return None
    value = r"""(?:"([^"]*)"|'([^']*)'|(\S*))"""
    found = re.findall(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=[ \t]*{value}", text, re.MULTILINE)
    return next((part for part in found[-1] if part), None) if found else None


def _of_django(alias: str) -> str | None:
    from django.conf import settings
    from psycopg.conninfo import make_conninfo

    given = settings.DATABASES.get(alias, {})
    names = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    return make_conninfo(**{ours: given[theirs] for theirs, ours in names.items() if given.get(theirs)})


@contextmanager
def _connected(parameters: Mapping[str, Any], *, read_only: bool = True) -> Iterator[Any]:
    import psycopg

    given = {**parameters, "connect_timeout": 5, "application_name": _OURS}
    with psycopg.connect(**given, autocommit=True) as ours:
        row = ours.execute("select pg_backend_pid()").fetchone()
        if row and row[0] == ours.info.backend_pid:  # behind a pooler the settings would stay with somebody else
            held = "set default_transaction_read_only = on; " if read_only else ""
            ours.execute(f"{held}set statement_timeout = '5s'")
        yield ours
