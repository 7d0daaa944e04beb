"""Where rows of a table may stand now without being lost: partitions of its root, and tables that were split off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from recovery.changeset.row_change import Texts
from recovery.model.catalog import Catalog, Table
from recovery.model.values import TableName
from recovery.postgres.comparison.key_lookup import rows_by_key
from recovery.postgres.comparison.table_scan import Field, Side, distinct_values
from recovery.postgres.connect import Session
from recovery.postgres.read_catalog import nonempty
from recovery.postgres.staging.row_obstacles import Elsewhere

CHUNK = 5_000


def elsewhere_of(
    original: Session, then: Catalog, now: Catalog, tables: Iterable[Table], excepted: Iterable[TableName]
) -> dict[TableName, list[Elsewhere]]:
    """Where rows of each table may stand now without being lost.

    Other partitions of its root, and tables made since T with the same columns, of which no row is still in the table
    itself (a table that was split, not a backup of it).
    """
    before, left_alone = {table.oid for table in then.tables}, set(excepted)
    new = [
        table
        for table in now.tables
        if table.oid not in before
        and then.table(table.name) is None
        and table.name not in left_alone
        and table.name not in now.hidden
    ]
    filled = nonempty(original, [table.name for table in new])
    made = [table for table in new if table.name in filled]
    return {table.name: [*_partitions(table, now), *_splits(original, table, made, now)] for table in tables}


def _partitions(table: Table, now: Catalog) -> Iterator[Elsewhere]:
    roots = [part for part in now.partitioned if table.name in part.leaves]
    if table.partition_key and roots and not now.hidden & set(roots[0].leaves):
        root = max(roots, key=lambda part: len(part.leaves))
        names = frozenset(column.name for column in table.columns)
        yield Elsewhere(root.name, names, bool(root.key) and set(root.key) <= set(table.key))


def _splits(original: Session, table: Table, made: Iterable[Table], now: Catalog) -> Iterator[Elsewhere]:
    types = {column.name: column.value_type for column in table.columns}
    family = {leaf for part in now.partitioned if table.name in part.leaves for leaf in part.leaves}
    for other in made:
        theirs = {column.name: column.value_type for column in other.columns}
        if not table.key or other.name == table.name or other.name in family or not types.items() <= theirs.items():
            continue
        if not holds_rows_of(original, other, table):
            yield Elsewhere(other.name, frozenset(types), key_is_unique=False, made_since=True)


def holds_rows_of(original: Session, other: Table, table: Table) -> bool:
    """Whether some row of `table` that is there now stands in `other` as well."""
    by_name = {column.name: Field(column.name, column) for column in other.columns}
    key = tuple(by_name[name] for name in table.key)
    side = Side(original, table.name, tuple(Field(name, by_name[name].column) for name in table.key), ())
    return any(
        next(rows_by_key(side, values), None)
        for values in chunks(distinct_values(Side(original, other.name, key, ()), key))
    )


def chunks(values: Iterator[Texts]) -> Iterator[list[Texts]]:
    """Values in lists of at most CHUNK."""
    while chunk := list(islice(values, CHUNK)):
        yield chunk
