"""The exchange itself: under the locks, in the open transaction, by statements that change nothing but the catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair, column_list
from recovery.postgres.swap.hidden_tables import drop_schema_with_tables, hidden_name
from recovery.postgres.swap.phase import Phase
from recovery.postgres.swap.statements import Statement

_NEIGHBOURS = """
select distinct n.nspname, c.relname from pg_constraint k
join unnest(%s::text[], %s::text[]) w (schema_name, name) on true
join pg_class t on t.relname = w.name join pg_namespace s on s.oid = t.relnamespace and s.nspname = w.schema_name
join pg_class c on c.oid = case when k.conrelid = t.oid then k.confrelid else k.conrelid end
join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and t.oid in (k.conrelid, k.confrelid)
"""
_COUNTERS = """
select attname, n.nspname, s.relname from pg_depend d
join pg_class s on s.oid = d.objid and s.relkind = 'S' join pg_namespace n on n.oid = s.relnamespace
join pg_attribute on attrelid = d.refobjid and attnum = d.refobjsubid
where d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass(%s) and d.classid = 'pg_class'::regclass
  and d.deptype = 'i'
"""


def tables_to_exchange_under_lock(original: Session, tables: Sequence[TableName]) -> list[TableName]:
    """The tables, and those at the other ends of their foreign keys, whose triggers come and go with them."""
    rows = original.execute(_NEIGHBOURS, ([t.schema_name for t in tables], [t.name for t in tables])).fetchall()
    neighbours = {TableName(schema_name=schema, name=name) for schema, name in rows}
    return sorted({*tables, *neighbours}, key=lambda table: table.key)


def rows_of_others(original: Session, tables: Sequence[TableName], *, at_most: int) -> Mapping[TableName, int]:
    """How many rows each table holds, counted no further than one beyond `at_most`."""
    counted = sql.SQL(" union all ").join(
        sql.SQL("select {}, count(*) from (select from only {} limit {}) r").format(
            sql.Literal(number), sql.Identifier(*table.key), sql.Literal(at_most + 1)
        )
        for number, table in enumerate(tables)
    )
    return {tables[number]: rows for number, rows in original.execute(counted).fetchall() if rows}


def take_along(original: Session, schema: str, pair: Pair) -> int:
    """Copy the rows that others wrote into the old table meanwhile; how many."""
    columns = [column.name for column in pair.original.columns if not column.generated]
    names = column_list(columns)
    listed = sql.SQL(" ({})").format(names) if columns else sql.SQL("")
    statement = sql.SQL("insert into {}{} overriding system value select {} from only {}").format(
        sql.Identifier(*hidden_name(schema, pair.name).key), listed, names, sql.Identifier(*pair.name.key)
    )
    return original.execute(statement).rowcount


def continue_identities(original: Session, schema: str, table: TableName) -> None:
    """Let the new table's identity sequences go on where the old one's stand."""
    here = {
        column: name for column, *name in original.execute(_COUNTERS, (str(hidden_name(schema, table)),)).fetchall()
    }
    for column, *sequence in original.execute(_COUNTERS, (str(table),)).fetchall():
        original.execute(
            sql.SQL("select setval({}::regclass, last_value, is_called) from {}").format(
                sql.Literal(sql.Identifier(*here[column]).as_string(original)), sql.Identifier(*sequence)
            )
        )


def exchange(
    original: Session, tables: Sequence[TableName], statements: Iterable[Statement], *, hidden: str, old: str
) -> None:
    """Give the new tables the names and all that hangs on the old ones, and drop those, in the open transaction.

    Call under ACCESS EXCLUSIVE locks on `tables_to_exchange_under_lock`.
    """
    statements = list(statements)
    original.execute(sql.SQL("create schema {}").format(sql.Identifier(old)))
    _execute(original, statements, Phase.BEFORE)
    for table in tables:
        _move(original, table, old)
    for table in tables:
        _move(original, hidden_name(hidden, table), table.schema_name)
    _execute(original, statements, Phase.AFTER)
    drop_schema_with_tables(original, old)
    drop_schema_with_tables(original, hidden)


def _execute(original: Session, statements: Iterable[Statement], phase: Phase) -> None:
    for statement in statements:
        if statement.phase is phase:
            original.execute(statement.sql)


def _move(original: Session, table: TableName, schema: str) -> None:
    original.execute(
        sql.SQL("/* rowback */ alter table {} set schema {}").format(sql.Identifier(*table.key), sql.Identifier(schema))
    )
