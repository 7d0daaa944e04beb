"""Damage the regression database and keep accounts of our own: nothing here uses what rowback thinks of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]
Checksum = tuple[int, str]

# Tables and partitions that hold rows themselves and survive a recovery (unlogged tables come back empty).
TABLES = """
select format('%I.%I', nspname, relname), nspname, relname, c.oid
from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind = 'r' and relpersistence = 'p' and c.oid >= 16384
  and nspname !~ '^(pg_|rowback_|recovered_)' and nspname <> 'information_schema'
order by 1
"""

# The text of a row is what its types print: it needs no binary output, and no order of its own.
CHECKSUM = """
select count(*), coalesce(md5(string_agg(line, '' order by line collate "C")), '')
from (select md5((whole_row.*)::text) from only {} whole_row) lines (line)
"""

# The first column that nothing else speaks of. pg_depend knows partition keys and the columns of unique indexes even
# where they stand inside an expression.
FREE_COLUMN = """
select attname from pg_attribute a
where attrelid = %(table)s and attnum > 0 and not attisdropped
  and not attnotnull and attgenerated = '' and attidentity = ''
  and not exists (select from pg_constraint where conrelid = attrelid and attnum = any (conkey))
  and not exists (
    select from pg_depend d join pg_index i on i.indexrelid = d.objid
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
      and d.refobjid = attrelid and d.refobjsubid = attnum and (indisunique or indisexclusion)
  )
  and not exists (
    select from pg_partition_ancestors(%(table)s) parent (relid)
    join pg_depend d on d.objid = parent.relid and d.refobjid = parent.relid
    join pg_attribute key on key.attrelid = parent.relid and key.attnum = d.objsubid
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
      and d.refobjsubid = 0 and d.deptype = 'i' and key.attname = a.attname
  )
order by attnum limit 1
"""


def checksums(connection: Connection) -> dict[str, Checksum]:
    """Count and md5 of every table with rows that this user can read in full."""
    found: dict[str, Checksum] = {}
    with connection.transaction():
        connection.execute("set local row_security = off")  # a policy that would hide rows is an error then
        for table, name, _ in _tables(connection):
            row = _behind_savepoint(connection, partial(_one, connection, sql.SQL(CHECKSUM).format(name)))
            if row and row[0]:
                found[table] = (row[0], row[1])
    return found


def halve(connection: Connection) -> dict[str, int]:
    """Delete about half the rows of each table in one transaction; how many rows went, by table.

    Which half hangs on where a row lies, not on what it says. A table that refuses stays whole.
    """
    gone: dict[str, int] = {}
    with connection.transaction():
        _as_replica(connection)
        for table, name, _ in _tables(connection):
            statement = sql.SQL("delete from only {} where hashtid(ctid) & 1 = 0").format(name)
            if count := _behind_savepoint(connection, partial(_count, connection, statement)):
                gone[table] = count
    return gone


def null_first_column(connection: Connection) -> tuple[int, dict[str, int]]:
    """Set the first free column of each table to NULL in one transaction: its xid, and the rows by table."""
    changed: dict[str, int] = {}
    with connection.transaction():
        _as_replica(connection)
        (xid,) = _one(connection, "select pg_current_xact_id()::text::bigint")
        for table, name, oid in _tables(connection):
            column = connection.execute(FREE_COLUMN, {"table": oid}).fetchone()
            if column is None:
                continue
            statement = sql.SQL("update only {} set {} = null").format(name, sql.Identifier(column[0]))
            if count := _behind_savepoint(connection, partial(_count, connection, statement)):
                changed[table] = count
    return xid, changed


def _tables(connection: Connection) -> Iterator[tuple[str, sql.Identifier, int]]:
    """Each table: its quoted name, the same for a statement, its oid."""
    for table, schema, name, oid in connection.execute(TABLES).fetchall():
        yield table, sql.Identifier(schema, name), oid


def _as_replica(connection: Connection) -> None:
    """No triggers, rules or foreign keys for this transaction: only what a statement says is changed."""
    connection.execute("set local session_replication_role = replica")
    connection.execute("set local row_security = off")


def _behind_savepoint(connection: Connection, step: Callable[[], Any]) -> Any:
    """What `step` returns, or None when the server refused; the transaction lives on either way."""
    try:
        with connection.transaction():
            return step()
    except psycopg.Error:
        return None


def _one(connection: Connection, statement: str | sql.Composed) -> tuple[Any, ...]:
    """The only row of a query."""
    row: tuple[Any, ...] | None = connection.execute(statement).fetchone()
    assert row is not None
    return row


def _count(connection: Connection, statement: sql.Composed) -> int:
    """The number of rows that a statement changed."""
    return connection.execute(statement).rowcount
