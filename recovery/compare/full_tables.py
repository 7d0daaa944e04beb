"""Tables all of whose rows were lost may be loaded whole, if no row of them can meet an obstacle.

The same questions that single rows are asked, asked in sets beforehand. A table with an open question is compared row
by row instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.move_targets import chunks
from recovery.changeset.row_change import Texts
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.catalog import Catalog, ForeignKey
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.key_lookup import rows_by_key
from recovery.postgres.comparison.row_lineage import keys_written_by, writers_since
from recovery.postgres.comparison.table_scan import Field, Side, distinct_values
from recovery.postgres.connect import Session
from recovery.postgres.staging.row_constraints import Rules, mentioned_tables
from recovery.postgres.staging.row_obstacles import Elsewhere


def open_questions(
    comparison: Comparison,
    whole: Mapping[TableName, ColumnMapping],
    rules_then: Mapping[TableName, Rules],
    elsewhere: Mapping[TableName, Sequence[Elsewhere]],
) -> dict[TableName, str]:
    """The tables of `whole` of which not every row is sure to fit as it was at T, each with the reason."""
    reasons: dict[TableName, str] = {}
    for name, columns in whole.items():
        rules, then = comparison.rules[name], rules_then[name]
        keys = [key for key in comparison.now.foreign_keys if key.child == name]
        questions = (
            _stricter(rules, then),
            _reads_others(comparison.original, rules, comparison.now),
            _moved(comparison, columns, elsewhere.get(name, ())),
            *(_parents(comparison, columns, key, whole.keys() - reasons.keys()) for key in keys),
        )
        if reason := next(filter(None, questions), None):
            reasons[name] = reason
    return reasons


def _stricter(now: Rules, then: Rules) -> str | None:
    """Rules that the rows at T need not satisfy: newer ones, and those that were NOT VALID."""
    checks_at_target = {(check.name, check.expression) for check in then.checks if check.validated}
    for check in now.checks:
        if (check.name, check.expression) not in checks_at_target:
            return f"{check.name} did not hold for every row at T"
    keys = {(rule.expressions, rule.operators, rule.predicate, rule.nulls_distinct) for rule in then.distinct}
    for rule in now.distinct:
        if (rule.expressions, rule.operators, rule.predicate, rule.nulls_distinct) not in keys:
            return f"unique key {rule.name} did not exist at T"
    return None


def _reads_others(original: Session, rules: Rules, now: Catalog) -> str | None:
    functions = {oid for check in rules.checks for oid in check.functions}
    read = mentioned_tables(original, functions, [table.name for table in now.tables]) if functions else set()
    return f"a check of it reads {', '.join(sorted(map(str, read)))}" if read else None


def _moved(comparison: Comparison, columns: ColumnMapping, elsewhere: Sequence[Elsewhere]) -> str | None:
    for other in elsewhere:
        leaves = next((part.leaves for part in comparison.now.partitioned if part.name == other.name), None)
        if leaves is None:
            return f"its rows may have moved to {other.name}"
        by = [i for i in columns.key if columns.columns[i] not in columns.original.partition_key] or list(columns.key)
        for leaf in leaves:
            if leaf != columns.original.name and (not by or _shares_rows(comparison, columns, leaf, by)):
                return f"its rows may have moved to {leaf}"
    return None


def _shares_rows(comparison: Comparison, columns: ColumnMapping, leaf: TableName, by: Sequence[int]) -> bool:
    """Whether a row that was written since T into another partition was a row of this one at T."""
    fields = tuple(columns.now[i] for i in by)
    other = Side(comparison.original, leaf, fields, fields)
    if comparison.lineage is None:
        keys = distinct_values(other, fields)
    elif written := writers_since(other, comparison.lineage):
        keys = keys_written_by(other, list(written))
    else:
        return False
    then, at = comparison.sides(columns).then, tuple(columns.then[i] for i in by)
    shared = [next(rows_by_key(then, values, by=at), None) for values in chunks(keys)]  # all: the keys are streamed
    return any(shared)


def _parents(comparison: Comparison, columns: ColumnMapping, key: ForeignKey, whole: Iterable[TableName]) -> str | None:
    """Whether every row finds the very parent that it had."""
    if key not in comparison.now.visible_keys:
        return f"this role cannot see the parents in {key.parent}"
    places = {name: i for i, name in enumerate(columns.columns)}
    if not set(key.columns) <= places.keys():
        return f"its reference to {key.parent} is not compared"
    fields = tuple(columns.then[places[name]] for name in key.columns)
    then = comparison.sides(columns).then
    for values in chunks(distinct_values(then, fields)):
        orphans: list[Texts] | None = values
        for parent in key.parent_tables:
            orphans = _without_parent(comparison, key, parent, orphans or [], whole)
            if orphans is None:
                return f"keys of {key.parent} that it references name other rows now"
        if orphans:
            return f"parents in {key.parent} that it references do not come back"
    return None


def _without_parent(
    comparison: Comparison, key: ForeignKey, parent: TableName, values: list[Texts], whole: Iterable[TableName]
) -> list[Texts] | None:
    """Those of `values` of which no row of `parent` will be there. None where one names another row than at T."""
    compared = comparison.tables.get(parent)
    table = comparison.now.table(parent)
    if not values or table is None:
        return values
    by_name = {column.name: Field(column.name, column) for column in table.columns}
    by = tuple(by_name[name] for name in key.parent_columns)
    if parent in whole and parent not in comparison.tables:
        present = {place for place, _, _ in rows_by_key(Side(comparison.copy, parent, by, ()), values)}
        return [value for place, value in enumerate(values) if place not in present]
    present = {place for place, _, _ in rows_by_key(Side(comparison.original, parent, by, ()), values)}
    missing = [value for place, value in enumerate(values) if place not in present]
    if compared is None:
        return missing
    if set(key.parent_columns) != set(compared.columns.original.key):
        return None if comparison.changes.tally(compared.shape.no) else missing
    return _not_planned(comparison, key, compared, values, missing)


def _not_planned(
    comparison: Comparison, key: ForeignKey, parent: ComparedTable, values: list[Texts], missing: list[Texts]
) -> list[Texts] | None:
    changes, no = comparison.changes, parent.shape.no
    order = [key.parent_columns.index(name) for name in parent.columns.original.key]
    change_by_value = {value: changes.find(no, tuple(value[i] for i in order)) for value in values}
    if any(change and change.kind is RowClass.REUSED and change.op is Op.KEEP for change in change_by_value.values()):
        return None
    planned = {value for value, change in change_by_value.items() if change and change.op is Op.INSERT}
    return [value for value in missing if value not in planned]
