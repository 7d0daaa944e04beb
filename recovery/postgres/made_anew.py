"""Statements for what is made anew beside its definitions: sequences, filled views, statistics, a limit on waiting."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import psycopg
from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Sequence as Counter
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.archive.table_of_contents import ArchiveEntry
from recovery.postgres.connect import Session

# What the server says of objects that superusers alone may make, such as aggregates over internal states.
CONTAINERS = frozenset({"TABLE", "SCHEMA", "SEQUENCE"})  # for these a privilege is granted, and no row is left away
FOR_SUPERUSERS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidFunctionDefinition)


def wait_for_locks_at_most(session: Session, timeout_ms: int) -> None:
    """Until the open transaction ends."""
    session.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(timeout_ms)))


def set_counters(session: Session, counters: Iterable[Counter]) -> None:
    """Have sequences that were just made stand where they stood, or past the values that their columns hold by now.

    One that was never used stays so.
    """
    counters = list(counters)
    furthest = furthest_in_column(session, counters)
    for counter in counters:
        values = [value for value in (counter.last_value, furthest.get(counter.name)) if value is not None]
        if values:
            name = sql.Identifier(*counter.name.key).as_string(session)
            value = max(values) if counter.increment > 0 else min(values)
            session.execute("select setval(%s::regclass, %s)", (name, value))


def fill_views(session: Session, views: Iterable[TableName]) -> None:
    """Refresh materialized views, in their order."""
    for view in views:
        session.execute(sql.SQL("refresh materialized view {}").format(sql.Identifier(*view.key)))


def analyze(session: Session, tables: Iterable[TableName]) -> None:
    """Gather statistics: the planner knows nothing of a table that was just made."""
    for table in tables:
        session.execute(sql.SQL("analyze {}").format(sql.Identifier(*table.key)))


def run_definitions(session: Session, script: bytes, *, state: str) -> None:
    """Many statements at once. Raises privilege-missing for a role that is gone, load-refused where rows do not fit."""
    try:
        session.execute(script)
    except psycopg.errors.UndefinedObject as error:
        if role := re.match(r'role "(.*)" does not exist', str(error)):
            raise RowbackError(
                ErrorId.PRIVILEGE_MISSING,
                f"role {role[1]} does not exist any more, and had privileges on what was dropped, or a policy of it",
                state=state,
                help=f'make it again: create role "{role[1]}"; then rowback resume CASE',
            ) from error
        raise
    except FOR_SUPERUSERS as error:
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"'{session.info.user}' may not make all that is missing: {str(error).splitlines()[0]}",
            state=state,
            help=f'as a role that may: grant it to "{session.info.user}"; then rowback resume CASE',
        ) from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            "rows of tables that are there do not fit to what is made anew",
            *str(error).splitlines(),
            state=state,
            help="put back the rows that they reference, by a case of --mode missing for their table, or delete those"
            " that reference nothing; then rowback resume CASE",
        ) from error


def unmakeable(
    session: Session, header: bytes, entries: Sequence[ArchiveEntry], schemas: Iterable[str]
) -> dict[int, str]:
    """Those that the server lets only superusers make, or that belong to one, and what needs them; each with why.

    All of them are tried one by one in a transaction that is rolled back. `header`: what every script begins with;
    `schemas`: that are made beside.
    """
    refused: dict[int, str] = {}
    superusers = {row[0] for row in session.execute("select rolname from pg_roles where rolsuper")}
    superusers.discard(session.info.user)
    by_number = {entry.number: entry for entry in entries}
    with session.transaction(force_rollback=True):
        session.execute(header)
        if not _make_schemas(session, schemas):
            return {}  # which stands in the way of everything, and is what the first try said
        for entry in entries:
            if entry.owner in superusers:
                refused[entry.number] = f"it belongs to {entry.owner}, a superuser"
            elif need := next((number for number in entry.dependencies if number in refused), None):
                refused[entry.number] = f"it needs {by_number[need]}"
            elif why := _refusal(session, entry):
                refused[entry.number] = why
    return refused


def _make_schemas(session: Session, schemas: Iterable[str]) -> bool:
    try:
        with session.transaction():
            for schema in schemas:
                session.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _refusal(session: Session, entry: ArchiveEntry) -> str:
    """Empty for any other error than a missing privilege: by itself a definition may lack what comes with others."""
    try:
        with session.transaction():
            session.execute(entry.definition.encode("utf-8", "surrogateescape"))
    except psycopg.errors.InvalidFunctionDefinition as error:
        return str(error).splitlines()[0]
    except psycopg.errors.InsufficientPrivilege as error:
        may_be_granted = entry.kind in CONTAINERS or not _may_create_in(session, entry.schema)
        return "" if may_be_granted else str(error).splitlines()[0]
    except psycopg.Error:
        pass
    return ""


def _may_create_in(session: Session, schema: str) -> bool:
    query = "select has_schema_privilege(oid, 'CREATE') from pg_namespace where nspname = %s"
    row = session.execute(query, (schema,)).fetchone()
    return row is None or bool(row[0])


def privileges(session: Session, relations: Collection[TableName]) -> dict[TableName, tuple[str, ...]]:
    """What is granted on relations and sequences, in an order of its own."""
    rows = session.execute(
        "select nspname, relname, array(select item::text from unnest(coalesce(relacl,"
        "  acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))) as item order by 1)"
        " from pg_class c join pg_namespace n on n.oid = relnamespace where relkind in ('r', 'p', 'v', 'm', 'S', 'f')"
        " and (nspname, relname) in (select * from unnest(%s::text[], %s::text[]))",
        ([name.schema_name for name in relations], [name.name for name in relations]),
    ).fetchall()
    return {TableName(schema_name=schema, name=name): tuple(items) for schema, name, items in rows}


def furthest_in_column(session: Session, counters: Iterable[Counter]) -> dict[TableName, int]:
    """Of sequences whose column belongs to a table that is there: the value that is furthest along."""
    return {
        counter.name: value
        for counter in counters
        if (value := load_statements.furthest_in_column(session, counter)) is not None
    }


def run_drops(session: Session, drops: Iterable[str]) -> str:
    """Run DROP statements one after the other, none of them with CASCADE; what others have that needs one, else ''."""
    for drop in drops:
        try:
            session.execute(drop.encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            return " ".join(str(error).split())
    return ""


def filled_views(session: Session) -> set[TableName]:
    """Materialized views that can be read: they were filled, if only with no row."""
    rows = session.execute(
        "select nspname, relname from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relkind = 'm' and relispopulated"
    )
    return {TableName(schema_name=schema, name=name) for schema, name in rows}
