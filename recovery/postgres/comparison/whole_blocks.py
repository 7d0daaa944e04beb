"""Read the blocks of a table, or its keys, for nothing but that they were read: with the values stored beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.comparison.table_scan import Field
from recovery.postgres.connect import Session, one

BLOCKS_AT_ONCE = 4_096
RANGES_SINCE = 140000  # the server reads a range of blocks as such

Piece = Callable[[Session], None]


def blocks(copy: Session, table: TableName) -> Iterator[Piece]:
    """All blocks of a table, a range at a time."""
    relation = sql.Identifier(*table.key)
    if copy.info.server_version < RANGES_SINCE:
        yield partial(_read, query=sql.SQL("select max(length(t::text)) from only {} t").format(relation))
        return
    size = sql.SQL("select pg_relation_size({}::regclass) / current_setting('block_size')::int")
    total = int(one(copy, size.format(sql.Literal(str(table)))))
    query = sql.SQL("select max(length(t::text)) from only {} t where ctid >= {}::tid and ctid < {}::tid")
    for begin in range(0, total, BLOCKS_AT_ONCE):
        ends = (sql.Literal(f"({block},0)") for block in (begin, begin + BLOCKS_AT_ONCE))
        yield partial(_read, query=query.format(relation, *ends))


def read_keys(session: Session, *, table: TableName, key: Sequence[Field]) -> None:
    """All keys of a table, from the index where it holds them."""
    columns = sql.SQL(", ").join(field.value for field in key)
    session.execute("set enable_seqscan = off")
    one(session, sql.SQL("select count(({})) from only {}").format(columns, sql.Identifier(*table.key)))
    session.execute("reset enable_seqscan")


def _read(session: Session, *, query: sql.Composed) -> None:
    one(session, query)
