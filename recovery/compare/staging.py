"""Stage planned rows beside their tables and let the server say which of them cannot be written.

The diff does this to foresee what `apply` will meet; `apply` does it again, under its locks, to skip what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from recovery.compare.changes import WRITES, Change, ChangeSet, Shape
from recovery.compare.comparing import blocked
from recovery.compare.portions import CHOSEN
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Table
from recovery.model.repair import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres import writing
from recovery.postgres.connect import Session
from recovery.postgres.repair import obstacles
from recovery.postgres.repair.rules import Rules
from recovery.postgres.repair.stage import Stage, Staged
from recovery.postgres.row_versions import xmin_of

_LETTER = {Op.INSERT: "i", Op.UPDATE: "u", Op.DELETE: "d", Op.KEEP: "k"}


def stage_changes(live: Session, catalog: Catalog, changes: ChangeSet) -> dict[TableName, Stage]:
    """A filled stage for every table that something is planned for, inside the open transaction; of a paced load, that
    the chosen portion has something for.

    Rows whose key names another entity now are staged as well: children must not be given to it.
    """
    stages = {}
    for shape in changes.shapes():
        table = catalog.table(shape.table)
        if table is not None:
            _refuse_missing_columns(table, shape)
        rows = chain(_staged(changes, shape), _put_earlier(changes, shape, catalog))
        if table is None or next(rows, None) is None:
            continue
        stage = Stage(live, table, shape.columns, shape.no)
        stage.create()
        stage.fill(chain(_staged(changes, shape), _put_earlier(changes, shape, catalog)))
        stage.complete()
        stages[shape.table] = stage
    return stages


def mark_unwritable(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Iterable[ForeignKey],
    filled: Iterable[TableName],
) -> None:  # fmt: skip
    """Mark every staged row that cannot be written, until marking one changes nothing for another.

    `filled`: tables that are loaded whole in the same transaction; a parent there is present by then.
    """
    for name, stage in stages.items():
        obstacles.mark_stale(stage)
        for check in rules[name].checks:
            obstacles.mark_violating(stage, check)
    keys, whole = list(keys), set(filled)
    while _mark_once(stages, rules, keys, whole):
        pass


def foresee(
    live: Session, catalog: Catalog, changes: ChangeSet, rules: Mapping[TableName, Rules], filled: Sequence[TableName]
) -> None:
    """Turn planned rows that cannot be written into blocked ones. Leaves no trace on the original."""
    with live.transaction(force_rollback=True):
        writing.use_search_path_of_role(live)
        stages = stage_changes(live, catalog, changes)
        mark_unwritable(stages, rules, catalog.foreign_keys, filled)
        for shape in changes.shapes():
            if stage := stages.get(shape.table):
                reasons = dict(stage.skipped())
                if not reasons:
                    continue
                changes.update(
                    blocked(change, reasons[change.n])
                    for change in changes.changes(shape.no, ops=WRITES)
                    if change.n in reasons
                )
        writing.pin_search_path(live)


def _refuse_missing_columns(table: Table, shape: Shape) -> None:
    """The columns that were compared must still be there under the same names."""
    known = {column.name for column in table.columns}
    if gone := [name for name in shape.columns if name not in known]:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT, f"the columns of {shape.table} changed since it was compared",
            *(f"column {name} was dropped or renamed" for name in gone),
            state="nothing was written to the original", help="bring the column back, or compare again: rowback diff",
        )  # fmt: skip


def _mark_once(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Sequence[ForeignKey],
    filled: set[TableName],
) -> int:  # fmt: skip
    marked = 0
    for name, stage in stages.items():
        marked += sum(obstacles.mark_taken(stage, rule) for rule in rules[name].distinct)
    for name, stage in stages.items():
        parents_of = [(key, stages[p]) for key in keys if key.child == name for p in key.parent_tables if p in stages]
        if any(obstacles.waits_for(parent, "d", rules[parent.table.name].distinct) for _, parent in parents_of):
            marked += obstacles.mark_early(stage, parents_of, rules[name].distinct)
    for key in keys:
        if key.child in stages and not filled & set(key.parent_tables):
            parents = [stages[parent] for parent in key.parent_tables if parent in stages]
            marked += obstacles.mark_orphans(stages[key.child], key, parents)
        for parent in key.parent_tables:
            if parent in stages:
                first = obstacles.waits_for(stages[parent], "d", rules[parent].distinct)
                marked += obstacles.mark_referenced(stages[parent], key, stages.get(key.child), first=first)
    return marked


def _staged(changes: ChangeSet, shape: Shape) -> Iterator[Staged]:
    if changes.portions.only_chosen:
        yield from (_row(change, _LETTER[change.op]) for change in changes.changes(shape.no, portion=CHOSEN))
        yield from (_row(change, _LETTER[Op.KEEP]) for change in changes.standing(shape.no))
        return
    yield from (_row(change, _LETTER[change.op]) for change in changes.changes(shape.no, ops=WRITES))
    yield from (
        _row(change, _LETTER[Op.KEEP]) for change in changes.changes(shape.no, kinds=[RowClass.REUSED], ops=[Op.KEEP])
    )


def _put_earlier(changes: ChangeSet, shape: Shape, catalog: Catalog) -> Iterator[Staged]:
    """Of a paced load: rows that earlier portions put back and that children of the chosen one are to be given to.
    Between the portions somebody may have deleted such a parent and given its key to another entity."""
    if not changes.portions.only_chosen:
        return
    by_table, seen = {known.table: known for known in changes.shapes()}, set[int]()
    for key in catalog.foreign_keys:
        child = by_table.get(key.child)
        if child is None or shape.table not in key.parent_tables or sorted(key.parent_columns) != sorted(shape.key):
            continue
        at = [child.columns.index(dict(zip(key.parent_columns, key.columns, strict=True))[name]) for name in shape.key]
        for change in changes.changes(child.no, ops=(Op.INSERT, Op.UPDATE), portion=CHOSEN):
            assert change.want is not None
            parent = changes.find(shape.no, tuple(change.want[i] for i in at))
            xid = changes.portions.writer_of(parent.n) if parent and parent.n and parent.n not in seen else None
            if parent and parent.n and parent.want and xid is not None:
                seen.add(parent.n)
                yield Staged(parent.n, "p", xmin_of(xid), parent.want)


def _row(change: Change, letter: str) -> Staged:
    # What leaves, and what only stands in the way of children, is known by the values it has now.
    values = change.want if change.op in (Op.INSERT, Op.UPDATE) else change.live
    assert change.n is not None
    assert values is not None
    return Staged(change.n, letter, change.xmin, values)
