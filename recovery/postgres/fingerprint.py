"""Row count and order-independent checksum of a table, with text-exact semantics.

`hash_record_extended` follows equality (1.0 = 1.00, -0 = 0, '1 mon' = '30 days'; sources: ROWS-equality), which is too
weak for a proof. So a column is hashed as it is only where equal means identical; every other one as its text, which
the session's pinned settings (connect.SETTINGS) make exact. Sums, not xor: xor cancels duplicate rows.
Values are compared within one run, between servers of any two versions from 14 on, and never stored as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.recovery_report import Fingerprint
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.row_versions import written_by

# Types whose equality is identity of the stored value and whose hash is the same on 14-18.
EXACT_TYPES = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "uuid",
        "bytea",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
        "oid",
    }
)
HASH_RECORD_SINCE = 140000


def fingerprint(session: Session, table: Table, *, oldest_version_num: int, only: Sequence[int] = ()) -> Fingerprint:
    """Count and checksum of `table`'s own rows (not its children's), or of those the transactions `only` wrote.

    `oldest_version_num`: the older of the two servers to be compared; before 14 there is no record hash.
    """
    # Generated columns follow from the others; both sides must list the same columns in the same order.
    columns = [column for column in sorted(table.columns, key=lambda c: c.name) if not column.generated]
    values = [(sql.Identifier(column.name), column.base_type) for column in columns]
    statement = sql.SQL("select count(*), coalesce(sum({}), 0)::text from only {}{}").format(
        row_hash(values, version_num=oldest_version_num),
        sql.Identifier(*table.name.key),
        sql.SQL(" where {}").format(written_by(only)) if only else sql.SQL(""),
    )
    row = session.execute(statement).fetchone()
    assert row is not None
    return Fingerprint(rows=row[0], checksum=row[1])


def written_by_others(session: Session, table: TableName, xids: Sequence[int]) -> int:
    """How many rows of `table` were last written by other transactions than `xids`."""
    statement = sql.SQL("select count(*) from only {} where not {}").format(
        sql.Identifier(*table.key), written_by(xids)
    )
    count: int = one(session, statement)
    return count


def row_hash(values: Iterable[tuple[sql.Composable, str]], *, version_num: int) -> sql.Composable:
    """The hash of one row: its values with their base types, as they are where equal means identical, else as text."""
    if version_num < HASH_RECORD_SINCE:
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(value) for value, _ in values)
        return sql.SQL("hashtextextended(row({})::text, 0)").format(texts)
    parts = [value if kind in EXACT_TYPES else sql.SQL("{}::text").format(value) for value, kind in values]
    return sql.SQL("hash_record_extended(row({}), 0)").format(sql.SQL(", ").join(parts))
