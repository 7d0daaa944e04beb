"""Rows outside the scope that share the fate of rows in it.

Children of lost rows, and what the incident changed there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from recovery.compare.attribution import Incident
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.account import Reason, TableAccount
from recovery.model.catalog import ForeignKey, Table
from recovery.model.repair_plan import DetectionMethod
from recovery.model.row_class import RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.key_buckets import extent
from recovery.postgres.comparison.key_lookup import rows_by_key
from recovery.postgres.comparison.predicates import all_filled
from recovery.postgres.comparison.row_lineage import keys_written_by
from recovery.postgres.comparison.table_scan import Field, Side, Values

CHUNK = 5_000
LARGEST_LOOKED_AT_BYTES = 2**30  # of a table outside the scope, for rows that the incident wrote there
OUTSIDE_SCOPE = "the incident wrote them last, and the table is outside the scope: bring it in with --table"
HIDDEN = "they referenced lost rows of {parent}, and this role cannot see the table's rows (row security or privileges)"
EXCEPTED = "they referenced lost rows of {parent}, and the table is not in the scope"


def children_outside(
    comparison: Comparison, scope: Collection[TableName], filled: Collection[TableName]
) -> Iterator[TableAccount]:
    """Tables that are not compared, with the rows of them that at T referenced rows which were lost.

    By their foreign keys they cannot have stayed as they were. `filled`: tables all of whose rows were lost.
    """
    for table in comparison.then.tables:
        if table.name in scope or comparison.now.table(table.name) is None or not _readable(table):
            continue
        keys = [key for key in comparison.then.foreign_keys if key.child == table.name]
        for key in keys:
            if rows := sum(_referencing(comparison, table, key, parent, filled) for parent in key.parent_tables):
                text = HIDDEN if table.name in comparison.now.hidden else EXCEPTED
                reason = Reason(reason=text.format(parent=key.parent), rows=rows)
                yield TableAccount(table=str(table.name), at_target=rows, left_out=(reason,))
                break


def _referencing(
    comparison: Comparison, child: Table, key: ForeignKey, parent: TableName, filled: Collection[TableName]
) -> int:
    by_name = {column.name: Field(column.name, column) for column in child.columns}
    by = tuple(by_name[name] for name in key.columns)
    if parent in filled:
        return extent(Side(comparison.copy, child.name, (), (), all_filled(key.columns)))[0]
    compared = comparison.tables.get(parent)
    if compared is None or not set(key.parent_columns) <= set(compared.columns.columns):
        return 0
    places = [compared.columns.columns.index(name) for name in key.parent_columns]
    side, count = Side(comparison.copy, child.name, by, ()), 0
    lost = (
        tuple(change.target[i] for i in places)
        for change in comparison.changes.changes(compared.shape.no, kinds=[RowClass.LOST, RowClass.BLOCKED])
        if change.target is not None and change.original is None
    )
    while values := list(islice(lost, CHUNK)):
        count += sum(1 for _ in rows_by_key(side, [value for value in values if None not in value]))
    return count


def written_outside(
    comparison: Comparison, incident: Incident, scope: Collection[TableName]
) -> tuple[list[TableAccount], list[str]]:
    """Rows at T that the incident wrote last in tables that were not compared whole.

    And the tables too large to look at.
    """
    accounts: list[TableAccount] = []
    unseen: list[str] = []
    for table in comparison.now.tables if incident.xids else ():
        compared = comparison.tables.get(table.name)
        if (
            table.name in scope
            or (compared and compared.engine is not DetectionMethod.FOLLOWED)
            or not _readable(table)
        ):
            continue
        if table.bytes > LARGEST_LOOKED_AT_BYTES:
            unseen.append(str(table.name))
        elif rows := _were_there(comparison, table, compared, incident):
            reason = Reason(reason=OUTSIDE_SCOPE, rows=rows)
            accounts.append(TableAccount(table=str(table.name), at_target=rows, left_out=(reason,)))
    return accounts, unseen


def _were_there(comparison: Comparison, table: Table, compared: ComparedTable | None, incident: Incident) -> int:
    """Rows of a table that the incident wrote last, that were there at T, and that are not in the comparison."""
    at_target = next((t for t in comparison.then.tables if t.oid == table.oid), None)
    names = {column.name for column in at_target.columns} if at_target else set()
    if at_target is None or not table.key or not set(table.key) <= names:
        return 0
    by_name = {column.name: Field(column.name, column) for column in table.columns}
    key = tuple(by_name[name] for name in table.key)
    compared_keys: set[Values] = set()
    if compared:
        changes = comparison.changes.changes(compared.shape.no)
        compared_keys = {change.key for change in changes if change.original is not None}
    written = keys_written_by(Side(comparison.original, table.name, key, key), sorted(incident.xids))
    keys = (each for each in written if each not in compared_keys)
    rows_at_target = Side(comparison.copy, at_target.name, key, ())
    count = 0
    while values := list(islice(keys, CHUNK)):
        count += sum(1 for _ in rows_by_key(rows_at_target, values))
    return count


def _readable(table: Table) -> bool:
    return table.readable and not table.row_security
