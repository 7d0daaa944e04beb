"""Take a load back: the same machinery with the change set turned round, and the same check of every row.

A row is taken back only if its live version is still the one that the load wrote: xmin says so. Undoing an undo is the
same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from recovery.changeset.block_rows import blocked
from recovery.changeset.change_set import ChangeSet
from recovery.changeset.planned_account import account_of
from recovery.changeset.preflight import WriteOutlook, foresee
from recovery.changeset.row_change import Shape, column_numbers, json_array
from recovery.changeset.row_lines import WrittenLine
from recovery.model.catalog import Catalog, ForeignKey, Table
from recovery.model.repair_plan import DetectionMethod, RepairPlan, RepairRequest, TableRepair
from recovery.model.row_class import Op, RowClass
from recovery.postgres.change_consumers import who_notices
from recovery.postgres.comparison.table_scan import Field, Side, lines_written
from recovery.postgres.connect import Session
from recovery.postgres.copy_line import values_of
from recovery.postgres.row_versions import xmin_of
from recovery.postgres.staging.row_constraints import read_rules
from recovery.reload.load_job import Loaded


def invert(original: Session, catalog: Catalog, loaded: Loaded, source: ChangeSet | None, into: ChangeSet) -> None:
    """Fill `into` with what takes `loaded` back: written rows leave or become what they were, deleted ones return."""
    tables = {str(table.name): table for table in catalog.tables}
    if source is not None:
        for shape in source.shapes():
            if str(shape.table) in loaded.written and str(shape.table) in tables:
                turned = into.add_table(shape.table, shape.key, shape.columns)
                for xid in loaded.xids:
                    into.lines.add_reversed(turned.no, xmin_of(xid), source.lines.written(shape.no, xid))
    for name in loaded.rows:
        if table := tables.get(name):
            side = _whole(original, table)
            shape = into.add_table(table.name, table.key, [field.name for field in side.fields])
            writer = loaded.writers_of(table.name)[0]
            into.lines.add_reversed(shape.no, xmin_of(writer), _leaving(lines_written(side, [writer]), shape))


def plan_undo(
    original: Session, catalog: Catalog, changes: ChangeSet, *, case: str, number: int, request: RepairRequest
) -> RepairPlan:
    """What the undo will write, with the rows that cannot be taken back any more marked as blocked."""
    shapes = changes.shapes()
    tables = {table.name: table for table in catalog.tables}
    rules = read_rules(original, [tables[shape.table] for shape in shapes])
    lifted = foresee(original, catalog, changes, WriteOutlook(rules, rules, (), {}))
    _keep_families(catalog, changes)
    table_plans = tuple(_counted(changes, shape) for shape in shapes)
    written = {table.name for table in table_plans if table.writes}
    return RepairPlan(
        case=case,
        number=number,
        request=request,
        tables=table_plans,
        filled=(),
        writers=(),
        held_triggers=tuple(t for name in written for t in tables[name].triggers if t.state != "D"),
        notices=tuple(who_notices(original, written)),
        lifted=lifted,
        wal_bytes_estimated=sum(changes.bytes_wanted(s.no) for s in shapes) + 100 * sum(t.writes for t in table_plans),
        changes_digest=changes.digest(),
        columns=column_numbers(catalog, shapes),
    )


def _keep_families(catalog: Catalog, changes: ChangeSet) -> None:
    """A row that stays keeps the children that came back with it, and theirs: nothing is left without its parts."""
    shapes = {shape.table: shape for shape in changes.shapes()}
    links = [
        (shapes[key.child], shapes[parent], key)
        for key in catalog.visible_keys
        for parent in key.parent_tables
        if key.child in shapes and parent in shapes
    ]
    while sum(_keep_children(changes, child, parent, key) for child, parent, key in links):
        pass


def _keep_children(changes: ChangeSet, child: Shape, parent: Shape, key: ForeignKey) -> int:
    up = [parent.columns.index(name) for name in key.parent_columns if name in parent.columns]
    down = [child.columns.index(name) for name in key.columns if name in child.columns]
    if len(up) != len(key.columns) or len(down) != len(key.columns):
        return 0
    staying = {
        tuple(change.original[i] for i in up)
        for change in changes.changes(parent.no, kinds=[RowClass.BLOCKED])
        if change.original is not None
    }
    retained = [
        blocked(change, f"its parent in {parent.table} stays")
        for change in (changes.changes(child.no, ops=[Op.DELETE]) if staying else ())
        if change.original is not None and tuple(change.original[i] for i in down) in staying
    ]
    changes.update(retained)
    return len(retained)


def _leaving(lines: Iterator[str], shape: Shape) -> Iterator[WrittenLine]:
    """Rows that were loaded whole, as rows that were inserted."""
    positions = [shape.columns.index(name) for name in shape.key]
    for count, line in enumerate(lines):
        values = values_of(line)
        key = [values[i] for i in positions] if positions else [*values, str(count)]
        yield WrittenLine(json_array(key), RowClass.LOST, Op.INSERT, line, None, line)


def _whole(original: Session, table: Table) -> Side:
    fields = tuple(Field(c.name, c) for c in table.columns if not c.generated or c.name in table.key)
    by_name: Mapping[str, Field] = {field.name: field for field in fields}
    return Side(original, table.name, tuple(by_name[name] for name in table.key), fields)


def _counted(changes: ChangeSet, shape: Shape) -> TableRepair:
    ops = changes.planned(shape.no)
    return TableRepair(
        name=shape.table,
        engine=DetectionMethod.FOLLOWED,
        because="it was written by the repair",
        rows_at_target=0,
        classes=changes.classes(shape.no),
        inserts=ops[Op.INSERT],
        updates=ops[Op.UPDATE],
        deletes=ops[Op.DELETE],
        account=account_of(changes, shape, unchanged=0),
    )
