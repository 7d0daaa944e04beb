"""The exchange itself: under the locks, in the open transaction, by statements that change nothing but the catalogs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.swap.hidden_tables import drop_schema_with_tables, hidden_name, identity_sequences
from recovery.postgres.swap.phase import SwapPhase
from recovery.postgres.swap.statements import SwapStatement

_NEIGHBOURS = """
select distinct n.nspname, c.relname from pg_constraint k
join pg_class c on c.oid in (k.conrelid, k.confrelid) join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and array[k.conrelid, k.confrelid] && %s::text[]::regclass[]::oid[]
"""


def tables_to_lock(original: Session, tables: Sequence[TableName]) -> list[TableName]:
    """The tables, and those at the other ends of their foreign keys, whose triggers come and go with them."""
    rows = original.execute(_NEIGHBOURS, ([str(table) for table in tables],)).fetchall()
    neighbours = {TableName(schema_name=schema, name=name) for schema, name in rows}
    return sorted({*tables, *neighbours}, key=lambda table: table.key)


def relations_of(original: Session, tables: Collection[TableName]) -> int:
    """How many tables and indexes they are together."""
    names = [str(table) for table in tables]
    query = "select count(*) from pg_index where indrelid = any(%s::text[]::regclass[])"
    return len(tables) + int(one(original, query, (names,)))


def exchange(
    original: Session, tables: Sequence[TableName], statements: Iterable[SwapStatement], *, hidden: str, old: str
) -> None:
    """Give the new tables the names and all that depends on the old ones, and drop those, in the open transaction.

    Call under ACCESS EXCLUSIVE locks on `tables_to_lock`.
    """
    statements = list(statements)
    original.execute(sql.SQL("create schema {}").format(sql.Identifier(old)))
    _execute(original, statements, SwapPhase.BEFORE)
    for table in tables:
        _move(original, table, old)
        _continue_identities(original, hidden_name(old, table), hidden_name(hidden, table))
    for table in tables:
        _move(original, hidden_name(hidden, table), table.schema_name)
    _execute(original, statements, SwapPhase.AFTER)
    drop_schema_with_tables(original, old)
    drop_schema_with_tables(original, hidden)


def _execute(original: Session, statements: Iterable[SwapStatement], phase: SwapPhase) -> None:
    for statement in statements:
        if statement.phase is phase:
            original.execute(statement.sql)


def _move(original: Session, table: TableName, schema: str) -> None:
    original.execute(
        sql.SQL("/* rowback */ alter table {} set schema {}").format(sql.Identifier(*table.key), sql.Identifier(schema))
    )


def _continue_identities(original: Session, old: TableName, new: TableName) -> None:
    """Let the new table's identity sequences go on where the old one's stand, which are locked by now."""
    here = identity_sequences(original, new)
    for column, sequence in identity_sequences(original, old).items():
        original.execute(
            sql.SQL("select setval({}::regclass, last_value, is_called) from {}").format(
                sql.Literal(str(here[column])), sql.Identifier(*sequence.key)
            )
        )
