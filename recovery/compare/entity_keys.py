"""What tells one entity of a table from another, by its definitions and by what happened to it since T."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.row_change import Texts, json_array
from recovery.compare.classify_row import Entity
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.row_class import RowClass
from recovery.postgres.comparison.key_buckets import extent
from recovery.postgres.comparison.row_lineage import writers_since
from recovery.postgres.comparison.table_scan import Side, holds_between, some_keys
from recovery.postgres.staging.row_constraints import Rules

ROWS_LOOKED_AT = 1_000  # of a table with a new file, to tell a rewrite from new rows
LOGGED_AHEAD = 32  # SEQ_LOG_VALS: a restored sequence stands up to so many numbers ahead


@dataclass(frozen=True)
class Reissued:
    """A sequence that stands behind numbers which T had.

    Place of the key, the last number it gave out, and whether it was further at T for certain.
    """

    place: int
    last: int
    certain: bool


def entity_of_table(comparison: Comparison, compared: ComparedTable) -> Entity:
    """What tells one entity of a compared table from another. Reads both servers."""
    rules, again = comparison.rules[compared.columns.original.name], reissued(comparison, compared.columns)
    return replace(
        entity_by_rules(compared.columns, rules),
        reissued=(again.place, again.last) if again and again.certain else None,
        renumbered=again is not None,
        renewed=renewed(comparison, compared),
        rewriters=_rewriters(comparison, compared),
    )


def entity_by_rules(columns: ColumnMapping, rules: Rules) -> Entity:
    """What tells one entity from another by the table's unique keys alone."""
    at = {name: i for i, name in enumerate(columns.columns)}
    distinct = []
    for rule in rules.distinct:
        plain = len(rule.columns) == len(rule.expressions) and set(rule.columns) <= at.keys()
        if rule.predicate is None and plain and set(rule.columns) != set(columns.original.key):
            distinct.append(tuple(at[name] for name in rule.columns))
    own = tuple(i for i in range(len(columns.columns)) if i not in columns.key)
    return Entity(own, tuple(distinct))


def renewed(comparison: Comparison, compared: ComparedTable) -> bool:
    """Whether the table was emptied since T.

    Its file is a new one, every row in it was written since, and none is as it was. An ALTER TABLE that rewrites the
    table does the first two as well, and its rows are those of T.
    """
    columns = compared.columns
    if comparison.lineage is None or columns.at_target.file_node == columns.original.file_node or columns.retyped:
        return False
    now = comparison.sides(columns).now
    if sum(writers_since(now, comparison.lineage).values()) != extent(now)[0]:
        return False
    return not _some_are_as_at_target(comparison, compared, now)


def _some_are_as_at_target(comparison: Comparison, compared: ComparedTable, now: Side) -> bool:
    if not compared.columns.key:
        lost = comparison.changes.classes(compared.shape.no).get(RowClass.LOST, 0)
        return comparison.rows_at_target(compared.columns.original.name) > lost
    keys = [json_array(key) for key in some_keys(now, ROWS_LOOKED_AT)]
    return bool(keys) and len(keys) > sum(1 for _ in comparison.look_up(compared, keys))


def reissued(comparison: Comparison, columns: ColumnMapping) -> Reissued | None:
    """Where the key's sequence gives numbers out for a second time.

    T had rows with numbers that it still has before it. Where it stood at T says too much: a restored one stands up to
    32 ahead.
    """
    then = comparison.sides(columns).then
    for counter in comparison.now.sequences:
        places = [i for i in columns.key if columns.columns[i] not in columns.original.partition_key]
        if counter.table != columns.original.name or not counter.integers or counter.increment <= 0:
            continue
        if [columns.columns[i] for i in places] != [counter.column]:
            continue
        at_target = next((c for c in comparison.then.sequences if c.name == counter.name), None)
        last = counter.last_value or counter.minimum - 1
        beyond = (at_target.last_value if at_target else None) or last
        field = columns.then[places[0]]
        if beyond > last and holds_between(then, field, last + 1, beyond):
            return Reissued(places[0], last, certain=beyond - LOGGED_AHEAD * counter.increment > last)
    return None


def _rewriters(comparison: Comparison, compared: ComparedTable) -> frozenset[int]:
    """Transactions that left the same values in several rows, as an UPDATE does and new entities do not.

    Of the incident it is not asked.
    """
    incident = comparison.request.incident_xids
    written_values: dict[int, set[Texts]] = {}
    rows: Counter[int] = Counter()
    own = [i for i in range(len(compared.columns.columns)) if i not in compared.columns.key]
    for batch in comparison.changes.lines.changed(compared.shape.no, [RowClass.CHANGED], but=incident):
        for row in batch:
            rows[row.xmin] += 1
            if len(values := written_values.setdefault(row.xmin, set())) < 2:
                values.add(tuple(row.original[i] for i in own))
    return frozenset(xid for xid, values in written_values.items() if len(values) == 1 and rows[xid] > 1)
