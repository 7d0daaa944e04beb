"""Follow lost rows along foreign keys, as they were at T and as they are now.

Children that cascades hit, parents that rows to be put back need. Only tables that are not compared as a whole are
followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, islice

from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.row_change import Change, Texts, json_array
from recovery.compare.entity_keys import entity_of_table
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.catalog import Catalog, ForeignKey
from recovery.model.repair_plan import DetectionMethod
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.key_lookup import rows_by_key
from recovery.postgres.comparison.predicates import Predicate, condition, either, hangs_on
from recovery.postgres.comparison.table_scan import Field, Side, distinct_values

CHUNK = 5_000
LOST_REFERENCE = (
    "its reference {columns} to a lost row of {parent} is gone: mode repair with the incident's id gives it back"
)


@dataclass(frozen=True)
class ForeignKeyLink:
    """A foreign key, at T or now, by positions in both tables' compared columns. `on_delete`: confdeltype."""

    child: TableName
    parent: TableName
    child_at: tuple[int, ...]
    parent_at: tuple[int, ...]
    on_delete: str = ""


def links(then: Catalog, now: Catalog, tables: Mapping[TableName, ColumnMapping]) -> list[ForeignKeyLink]:
    """The foreign keys of both times between `tables`, without duplicates.

    A key dropped since T counts as well: what hung together then is put back together.
    """
    links_found: dict[ForeignKeyLink, None] = {}
    by_name_then = {columns.at_target.name: name for name, columns in tables.items()}
    for key in now.visible_keys:
        for parent in key.parent_tables:
            _add_link(links_found, key, key.child, parent, tables, at_target=False)
    for key in then.visible_keys:
        for parent in key.parent_tables:
            child, up = by_name_then.get(key.child), by_name_then.get(parent)
            if child and up:
                _add_link(links_found, key, child, up, tables, at_target=True)
    return list(links_found)


def follow(comparison: Comparison, followed: Mapping[TableName, ColumnMapping], ways: Iterable[ForeignKeyLink]) -> None:
    """Add rows of `followed` tables that lost rows lead to, and what they lead to in turn, until nothing is added."""
    ways, last = list(ways), -1
    if not followed or not ways:
        return
    # Rows found on the way are appended behind the others, so one pass over the growing list is the whole closure.
    while rows := list(comparison.changes.changes(kinds=[RowClass.LOST, RowClass.CHANGED], after=last, limit=CHUNK)):
        last = rows[-1].n or 0
        names = {compared.shape.no: name for name, compared in comparison.tables.items()}
        for no, group in groupby(rows, key=lambda change: change.table):
            _follow_rows(comparison, followed, ways, names[no], list(group))


def follow_whole(
    comparison: Comparison,
    followed: Mapping[TableName, ColumnMapping],
    whole: Mapping[TableName, ColumnMapping],
    ways: Iterable[ForeignKeyLink],
) -> None:
    """What tables loaded whole lead to.

    Parents that they need and that are gone since, found by the keys their rows hold at T; and of the tables that
    reference them, every row that did so at T and differs now.
    """
    for way in ways:
        if way.child in whole and (parent := _followed(comparison, followed, way.parent, way.child)):
            side = comparison.sides(whole[way.child]).then
            values = distinct_values(side, _fields(whole[way.child].then, way.child_at))
            while parent_keys := list(islice(values, CHUNK)):
                _missing_parents(comparison, way, parent, parent_keys)
        if way.parent in whole and (child := _followed(comparison, followed, way.child, way.parent)):
            if child.columns.key:
                comparison.compare_referencing(child, way.child_at)
            else:
                _tell_keyless(comparison, child)


def note_lost_references(comparison: Comparison, whole: Iterable[TableName], ways: Iterable[ForeignKeyLink]) -> None:
    """Say of rows that stay as they are now that they lost their reference to a row that was lost: that is no edit."""
    whole = set(whole)
    for way in ways:
        child, parent = comparison.tables.get(way.child), comparison.tables.get(way.parent)
        if child is None or (parent is None and way.parent not in whole):
            continue
        changes, no = comparison.changes, child.shape.no
        names = ", ".join(child.columns.columns[i] for i in way.child_at)
        changes.update(
            change._replace(reason=LOST_REFERENCE.format(parent=way.parent, columns=names))
            for change in changes.changes(no, kinds=[RowClass.CHANGED, RowClass.NEWER], ops=[Op.KEEP])
            if _lost_reference(comparison, change, way, parent)
        )


def _lost_reference(comparison: Comparison, change: Change, way: ForeignKeyLink, parent: ComparedTable | None) -> bool:
    assert change.target is not None
    assert change.original is not None
    then = tuple(change.target[i] for i in way.child_at)
    now = tuple(change.original[i] for i in way.child_at)
    emptied = None in now or way.on_delete == "d"  # SET NULL, or SET DEFAULT
    if None in then or then == now or not emptied:
        return False
    if parent is None or set(way.parent_at) != set(parent.columns.key):
        return True
    at = dict(zip(way.parent_at, then, strict=True))
    parent_row = comparison.changes.find(parent.shape.no, tuple(at[i] for i in parent.columns.key))
    return (
        parent_row is not None
        and parent_row.target is not None
        and (parent_row.original is None or parent_row.kind is RowClass.REUSED)
    )


def _follow_rows(
    comparison: Comparison,
    followed: Mapping[TableName, ColumnMapping],
    ways: list[ForeignKeyLink],
    name: TableName,
    rows: list[Change],
) -> None:
    for way in ways:
        if way.child == name and (parent := _followed(comparison, followed, way.parent, name)):
            _parents(comparison, way, parent, rows)
        if way.parent == name and (child := _followed(comparison, followed, way.child, name)):
            _children(comparison, way, child, rows)


def _followed(
    comparison: Comparison, followed: Mapping[TableName, ColumnMapping], name: TableName, source: TableName
) -> ComparedTable | None:
    """The table's place in the comparison, made when its first row is looked for; None when it is not followed."""
    if name not in followed:
        return None
    if name not in comparison.tables:
        columns = followed[name]
        because = f"rows of {source} lead to it"
        comparison.add_table(columns, comparison.sides(columns), DetectionMethod.FOLLOWED, because)
    compared = comparison.tables[name]
    return compared if compared.engine is DetectionMethod.FOLLOWED else None


def _parents(comparison: Comparison, way: ForeignKeyLink, parent: ComparedTable, rows: list[Change]) -> None:
    """Parents that the rows had at T and that are gone: they were lost, too."""
    if parent_keys := _values(rows, way.child_at):
        _missing_parents(comparison, way, parent, parent_keys)


def _missing_parents(
    comparison: Comparison, way: ForeignKeyLink, parent: ComparedTable, parent_keys: list[Texts]
) -> None:
    by_now, by_then = _fields(parent.columns.now, way.parent_at), _fields(parent.columns.then, way.parent_at)
    present = {place for place, _, _ in rows_by_key(parent.sides.now, parent_keys, by=by_now)}
    if missing := [values for place, values in enumerate(parent_keys) if place not in present]:
        _settle(comparison, parent, parent.sides.then, missing, by_then)
    if parent.columns.key and comparison.rules and comparison.written_since(parent.columns):
        _note_strangers(
            comparison, way, parent, [values for place, values in enumerate(parent_keys) if place in present]
        )


def _note_strangers(comparison: Comparison, way: ForeignKeyLink, parent: ComparedTable, values: list[Texts]) -> None:
    """Of parents whose keys are there: those that are another entity now, or whose keys another one has.

    What else became of such a row is not asked: its table is not in the scope.
    """
    # A row that was not lost is taken for another entity only on evidence of its own.
    positions, entity = parent.columns.key, replace(entity_of_table(comparison, parent), renumbered=False)
    by_then = _fields(parent.columns.then, way.parent_at)
    rows = rows_by_key(parent.sides.then, values, by=by_then) if values else iter(())
    keys = [json_array(tuple(row[i] for i in positions)) for _, _, row in rows]
    for start in range(0, len(keys), CHUNK):
        for row in comparison.look_up(parent, keys[start : start + CHUNK]):
            change = row.change(parent.shape.no)
            if change.target is None or change.original is None:
                comparison.changes.add([change] if change.target else [])
            elif entity.replaced(change.target, change.original):
                comparison.changes.add([change._replace(kind=RowClass.REUSED)])
            elif any(change.target[i] != change.original[i] for i in way.parent_at if i not in positions):
                comparison.changes.add([change._replace(kind=RowClass.NEWER)])


def _children(comparison: Comparison, way: ForeignKeyLink, child: ComparedTable, rows: list[Change]) -> None:
    """Rows that hung on the lost ones at T."""
    lost = _values([row for row in rows if row.kind is RowClass.LOST], way.parent_at)
    if lost:
        _settle(comparison, child, child.sides.then, lost, _fields(child.columns.then, way.child_at))


def _settle(
    comparison: Comparison, table: ComparedTable, side: Side, values: list[Texts], by: tuple[Field, ...]
) -> None:
    positions = table.columns.key
    if not positions:
        if next(rows_by_key(side, values, by=by), None):
            _tell_keyless(comparison, table)
        return
    keys = [json_array(tuple(row[i] for i in positions)) for _, _, row in rows_by_key(side, values, by=by)]
    for start in range(0, len(keys), CHUNK):
        looked_up = comparison.look_up(table, keys[start : start + CHUNK])
        comparison.changes.lines.add(table.shape.no, (row for row in looked_up if row.target is not None))


def _tell_keyless(comparison: Comparison, table: ComparedTable) -> None:
    name = table.columns.original.name
    comparison.notice(f"rows of {name} that lost rows lead to were not looked for: it has no key; name it too")
    comparison.unexamined.add(name)


def _values(rows: Iterable[Change], positions: tuple[int, ...]) -> list[Texts]:
    """Distinct values of some columns at T, leaving out those with a null: they reference nothing."""
    distinct: dict[Texts, None] = {}
    for row in rows:
        assert row.target is not None
        values = tuple(row.target[i] for i in positions)
        if None not in values:
            distinct[values] = None
    return list(distinct)


def _fields(fields: tuple[Field, ...], positions: tuple[int, ...]) -> tuple[Field, ...]:
    return tuple(fields[i] for i in positions)


def _add_link(  # noqa: PLR0913
    links_found: dict[ForeignKeyLink, None],
    key: ForeignKey,
    child: TableName,
    parent: TableName,
    tables: Mapping[TableName, ColumnMapping],
    *,
    at_target: bool,
) -> None:
    if child not in tables or parent not in tables:
        return
    sides = [columns.then if at_target else columns.now for columns in (tables[child], tables[parent])]
    at = [{field.name: i for i, field in enumerate(side)} for side in sides]
    if all(c in at[0] for c in key.columns) and all(c in at[1] for c in key.parent_columns):
        links_found[
            ForeignKeyLink(
                child,
                parent,
                tuple(at[0][c] for c in key.columns),
                tuple(at[1][c] for c in key.parent_columns),
                key.on_delete,
            )
        ] = None


def predicates(roots: Iterable[TableName], where: str, catalog: Catalog) -> dict[TableName, Predicate]:
    """`where` on `roots`, followed down the foreign keys of one side: each child's rows that hang on such rows."""
    by_table: dict[TableName, Predicate] = {root: condition(where) for root in roots}
    grown = True
    while grown:
        by_child: dict[TableName, list[Predicate]] = {}
        for key in catalog.foreign_keys:
            limited_parents = (
                [parent for parent in key.parent_tables if parent in by_table] if key.child not in by_table else []
            )
            for parent in limited_parents:
                by_child.setdefault(key.child, []).append(hangs_on(key, parent, by_table[parent]))
        by_table |= {child: either(ways) for child, ways in by_child.items()}
        grown = bool(by_child)
    return by_table
