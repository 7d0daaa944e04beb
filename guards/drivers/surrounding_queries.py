"""What the guard asks about the surroundings of a session, through connections of its own.

Other databases and roles of the server, where connection strings lead, tables of other servers; and the mark that it
writes for a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

from guards.blast_radius import foreign_tables
from guards.connection_words import shown
from guards.cross_database_reach import Neighbourhood, Sibling
from guards.database_mark import KEY, as_comment
from guards.drivers.driver_hooks import conducted
from guards.drivers.guard_connection import KNOWN_TO_LIBPQ, NOT_ASKED, asking, connected, radius_of, same_as_application
from guards.drivers.open_connection import wire_of
from guards.guard_session import ConnectionEnds, Guard, Row, active
from guards.own_databases import mark_of_run
from guards.policy import Policy
from guards.refusal_text import Judgement
from guards.server_evidence import Evidence
from guards.server_identity import ServerIdentity
from guards.statements import Finding

# Another database of the same server is reached by the same way; sessions of clients alone can be ended by mistake.
_DATABASES = """
select d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database'),
       (select count(*) from pg_stat_activity a where a.datid = d.oid and a.pid <> pg_backend_pid()
        and coalesce(a.backend_type, 'client backend') = 'client backend')
from pg_database d
"""
ANSWERED_WITHIN_S = 5.0

T = TypeVar("T")


class OwnQuestions:
    """guards.guard_session.Questions through psycopg 3."""

    def radius(self, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """What the findings would have hit: the refused connection may be amid anything, so another one is asked."""
        return _in_time(lambda: radius_of(ends.parameters, findings), NOT_ASKED)

    def application(self, policy: Policy, evidence: Evidence) -> str | None:
        """See same_as_application."""
        return same_as_application(policy, evidence)

    def neighbourhood(self, ends: ConnectionEnds) -> Neighbourhood | None:
        """All databases and roles of the server, if it answers."""
        return _in_time(lambda: _neighbourhood(ends.parameters), None)

    def at(self, guard: Guard, ends: ConnectionEnds, conninfo: str) -> str | None:
        """Judge where a connection string leads, as the session's server would follow it.

        What it leaves out is not guessed.
        """
        unknown: str | None = f"a server that could not be asked ({shown_conninfo(conninfo)})"
        return _in_time(lambda: _at(guard, ends.parameters, conninfo), unknown)

    def abroad(self, guard: Guard, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """Judge the servers of all foreign tables that the findings write to, through views, partitions and CASCADE."""
        unknown: str | None = "its foreign tables could not be asked"
        return _in_time(lambda: _abroad(guard, ends.parameters, findings), unknown)


def _at(guard: Guard, parameters: Mapping[str, Any], conninfo: str) -> str | None:
    import psycopg

    if "=" not in conninfo and "://" not in conninfo:
        with asking(), connected(parameters) as ours:
            row = ours.execute("select srvoptions from pg_foreign_server where srvname = %s", (conninfo,)).fetchone()
        return _of_options(guard, parameters, row[0] or ()) if row else None  # a connection that was judged when made
    try:
        parsed = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        return "what is no connection string"
    return _of_way(guard, parameters, parsed)


def _abroad(guard: Guard, parameters: Mapping[str, Any], findings: Sequence[Finding]) -> str | None:
    with asking(), connected(parameters) as ours:
        tables = foreign_tables(ours, findings)
    for name, options in tables:
        if objection := _of_options(guard, parameters, options):
            return f"{name} is a table of {objection}"
    return None


def _of_options(guard: Guard, parameters: Mapping[str, Any], options: Sequence[str]) -> str | None:
    pairs = {key: value for key, _, value in (option.partition("=") for option in options)}
    return _of_way(guard, parameters, {key: value for key, value in pairs.items() if key in KNOWN_TO_LIBPQ})


def _of_way(guard: Guard, parameters: Mapping[str, Any], parsed: Mapping[str, Any]) -> str | None:
    """The server reads services, and fills in what is missing, by files and variables that are not seen here."""
    import psycopg

    complete = parsed.get("dbname") and (parsed.get("host") or parsed.get("hostaddr")) and not parsed.get("service")
    if not complete:
        where = f"where its server's own settings say, which are not seen here ({shown(parsed)})"
        return f"{where}: name host, port and dbname"
    ours = {key: parameters[key] for key in ("user", "password") if parameters.get(key)}
    try:
        judgement = judgement_at({**ours, **parsed}, guard)
    except psycopg.Error:
        return f"a server that could not be asked ({shown(parsed)})"
    return None if judgement.verdict.disposable else f"{judgement.name}: {judgement.summary}"


def _neighbourhood(parameters: Mapping[str, Any]) -> Neighbourhood | None:
    import psycopg

    try:
        with asking(), connected(parameters) as ours:
            siblings = [Sibling(*row) for row in ours.execute(_DATABASES)]
            roles = frozenset(str(name) for (name,) in ours.execute("select rolname from pg_roles"))
            slots = dict(ours.execute("select slot_name::text, database::text from pg_replication_slots").fetchall())
            subscriptions = _subscriptions(ours)
    except psycopg.Error:
        return None
    return Neighbourhood({each.name: each for each in siblings}, roles, slots, subscriptions)


def _subscriptions(ours: Any) -> dict[str, str | None]:
    """A superuser alone sees where they lead."""
    import psycopg

    query = "select s.subname::text, {} from pg_subscription s where s.subdbid = (select oid from pg_database where"
    query += " datname = current_database())"
    try:
        return dict(ours.execute(query.format("s.subconninfo")).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        return dict(ours.execute(query.format("null")).fetchall())


def _in_time(ask: Callable[[], T], otherwise: T) -> T:
    """An answer within ANSWERED_WITHIN_S: behind a pooler a question may wait for the session that it is about."""
    import psycopg

    answers: list[T] = []

    def answer() -> None:
        with suppress(psycopg.Error):
            answers.append(ask())

    asks = Thread(target=answer, daemon=True)
    asks.start()
    asks.join(ANSWERED_WITHIN_S)
    return answers[0] if answers else otherwise


def shown_conninfo(conninfo: str) -> str:
    """A connection string as it may be printed."""
    import psycopg

    try:
        return shown(psycopg.conninfo.conninfo_to_dict(conninfo))
    except psycopg.Error:
        return "what is no connection string"


def judgement_at(parameters: Mapping[str, Any], guard: Guard) -> Judgement:
    """The verdict on the database that is reached so, by a connection of the guard's own. Raises psycopg.Error."""
    parameters = dict(parameters)
    if str(parameters.pop("replication", "database")).lower() != "database":
        parameters["dbname"] = "postgres"  # a session that follows the whole server is in none
    with asking(), connected(parameters) as ours:
        wire = wire_of(ours)
        ends = ConnectionEnds(wire.link, parameters, asked_for=shown(parameters), conninfo=wire.conninfo)

        def ask(text: str) -> Row:
            row = ours.execute(text).fetchone()
            return [None if value is None else str(value) for value in row or ()]

        return conducted(guard.judge_connection(wire.link, lambda: ends), ask)


def mark_as_own(ends: ConnectionEnds, name: str) -> None:
    """Mark a database that this run has just created or commented on.

    A database that has a mark keeps it. One that cannot be marked is reported at the end of the run, because it will be
    refused as unproven.
    """
    import psycopg

    try:
        _mark_as_own(ends, name)
    except psycopg.Error as error:
        if guard := active():
            why = (str(error).strip().splitlines() or ["no connection"])[0]
            guard.warnings.append(f"database '{name}' could not be marked as this run's own: {why}")


def _mark_as_own(ends: ConnectionEnds, name: str) -> None:
    from psycopg import sql

    with asking(), connected(ends.parameters, read_only=False) as ours:
        row = ours.execute(
            "select (select system_identifier from pg_control_system())::text, oid::bigint, datname,"
            " current_setting('server_version_num')::int, extract(epoch from pg_postmaster_start_time())::text,"
            " shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            (name,),
        ).fetchone()
        if row and KEY not in (row[5] or ""):
            comment = as_comment(mark_of_run(ServerIdentity(*row[:5])), row[5])
            ours.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(comment)))
