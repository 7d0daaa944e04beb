"""Statements for what is made anew beside its definitions: sequences, filled views, statistics, a limit on waiting."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from recovery.model.catalog import Sequence as Counter
from recovery.model.values import TableName
from recovery.postgres.connect import Session


def wait_for_locks_at_most(session: Session, timeout_ms: int) -> None:
    """Until the open transaction ends."""
    session.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(timeout_ms)))


def set_counters(session: Session, counters: Iterable[Counter]) -> None:
    """Have sequences that were just made stand where they stood; one that was never used stays so."""
    for counter in counters:
        if counter.last_value is not None:
            name = sql.Identifier(*counter.name.key).as_string(session)
            session.execute("select setval(%s::regclass, %s)", (name, counter.last_value))


def fill_views(session: Session, views: Iterable[TableName]) -> None:
    """Refresh materialized views, in their order."""
    for view in views:
        session.execute(sql.SQL("refresh materialized view {}").format(sql.Identifier(*view.key)))


def analyze(session: Session, tables: Iterable[TableName]) -> None:
    """Gather statistics: the planner knows nothing of a table that was just made."""
    for table in tables:
        session.execute(sql.SQL("analyze {}").format(sql.Identifier(*table.key)))


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
