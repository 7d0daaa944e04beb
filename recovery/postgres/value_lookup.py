"""Do values exist in a column of another database? The two have no common snapshot: the answer is of this moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.row_versions import written_by
from recovery.postgres.trusted_sql import trusted_sql

CHUNK = 5_000


def column_type(session: Session, table: TableName, column: str) -> str | None:
    """The column's type, or None when there is no such column."""
    row = session.execute(
        "select format_type(a.atttypid, a.atttypmod) from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s and a.attname = %s and a.attnum > 0 and not a.attisdropped",
        (*table.key, column),
    ).fetchone()
    return str(row[0]) if row else None


def existing(session: Session, table: TableName, column: str, values: Sequence[str]) -> set[str]:
    """Those of `values` that occur in the column. Raises LookupError when there is no such column."""
    kind = column_type(session, table, column)
    if kind is None:
        raise LookupError(f"{table} has no column {column}")
    present: set[str] = set()
    remaining = iter(values)
    while chunk := list(islice(remaining, CHUNK)):
        statement = sql.SQL(
            "select v from unnest({}::text[]) v where exists (select from {} as t where t.{} = v::{})"
        ).format(sql.Literal(chunk), sql.Identifier(*table.key), sql.Identifier(column), trusted_sql(kind))
        present |= {row[0] for row in session.execute(statement)}
    return present


def values_written_by(session: Session, table: TableName, column: str, xids: Sequence[int]) -> Iterator[str]:
    """The distinct values that the transactions `xids` left in a column."""
    statement = sql.SQL("select distinct {0}::text from {1} where {2} and {0} is not null").format(
        sql.Identifier(column), sql.Identifier(*table.key), written_by(xids)
    )
    return (row[0] for row in session.execute(statement))
