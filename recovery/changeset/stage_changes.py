"""Stage planned rows beside their tables and let the server say which of them cannot be written.

The diff does this to foresee what `apply` will meet; `apply` does it again, under its locks, to skip what changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from recovery.changeset.batches import CHOSEN, Selection
from recovery.changeset.change_set import WRITES, ChangeSet
from recovery.changeset.row_change import Change, Shape, changed_columns
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Table
from recovery.model.repair_plan import LiftedConstraint
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.copy_line import line_of
from recovery.postgres.row_versions import xmin_of
from recovery.postgres.staging import key_collisions, row_locks, row_obstacles
from recovery.postgres.staging.fill_stage import Staged, complete_stage, create_stage, fill_stage
from recovery.postgres.staging.not_valid_constraints import without
from recovery.postgres.staging.row_constraints import Rules
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import StagedOp, stageable

STAYING = (RowClass.NEWER, RowClass.CHANGED, RowClass.CONFLICT, RowClass.REVERTED)


_STAGED = {
    Op.INSERT: StagedOp.INSERT,
    Op.UPDATE: StagedOp.UPDATE,
    Op.DELETE: StagedOp.DELETE,
    Op.KEEP: StagedOp.STAYING,
}


def stage_changes(
    original: Session,
    catalog: Catalog,
    changes: ChangeSet,
    *,
    only: Collection[TableName] | None = None,
    selection: Selection = Selection.EVERYTHING,
) -> dict[TableName, Stage]:
    """A filled stage for every table that `selection` has rows of, or for those of `only`, inside the open transaction.

    Rows whose key names another entity now are staged as well: children must not be given to it.
    """
    stages = {}
    for shape in changes.shapes():
        if only is not None and shape.table not in only:
            continue
        table = catalog.table(shape.table)
        if table is not None:
            refuse_changed_columns(table, dict.fromkeys(shape.columns))
        by = _referenced(shape, catalog)
        rows = chain(_staged(changes, shape, by, selection), _retained_parents(changes, shape, catalog, selection))
        if table is None or not stageable(table) or next(rows, None) is None:
            continue
        stage = create_stage(original, table, shape.columns, shape.no)
        staged = _staged(changes, shape, by, selection)
        fill_stage(stage, chain(staged, _retained_parents(changes, shape, catalog, selection)))
        complete_stage(stage)
        stages[shape.table] = stage
    return stages


def mark_unwritable(
    stages: Mapping[TableName, Stage],
    rules: Mapping[TableName, Rules],
    keys: Iterable[ForeignKey],
    filled: Iterable[TableName],
) -> None:
    """Mark every staged row that what is there now keeps from being written.

    Goes on until marking one changes nothing for another. Call `mark_by_content` before. `filled`: tables that are
    loaded whole in the same transaction; a parent there is present by then.
    """
    for stage in stages.values():
        row_obstacles.mark_stale(stage)
        row_obstacles.mark_back_already(stage)
    mark_again(stages, rules, keys, filled)


def mark_again(
    stages: Mapping[TableName, Stage],
    rules: Mapping[TableName, Rules],
    keys: Iterable[ForeignKey],
    filled: Iterable[TableName],
) -> None:
    """Ask once more what `mark_unwritable` asked of other rows: some may have come, or been set aside, since."""
    inside = [key for key in keys if key.child in stages or not stages.keys().isdisjoint(key.parent_tables)]
    while _mark_once(stages, rules, inside, set(filled)):
        pass


def lock_referenced(stages: Mapping[TableName, Stage], keys: Iterable[ForeignKey]) -> dict[TableName, list[int]] | None:
    """Lock staged rows that others may reference and that are to go; ask about them again afterwards (`mark_again`).

    Returns the rows that other sessions hold, by table; None where there is nothing to lock.
    """
    columns: dict[TableName, list[tuple[str, ...]]] = {}
    for key in keys:
        for parent in key.parent_tables:
            if parent in stages and row_locks.releases(stages[parent], key.parent_columns):
                columns.setdefault(parent, []).append(key.parent_columns)
    held = {name: row_locks.lock_rows(stages[name], referenced) for name, referenced in columns.items()}
    return {name: numbers for name, numbers in held.items() if numbers} if columns else None


def mark_by_content(
    stages: Mapping[TableName, Stage],
    rules: Mapping[TableName, Rules],
    elsewhere: Mapping[TableName, Sequence[row_obstacles.Elsewhere]],
) -> None:
    """Mark staged rows that could never be written, whatever else their tables hold, and rows that stand elsewhere.

    It needs no lock to see that. Checks by functions of the users are left to the writing, because they may read other
    tables.
    """
    for name, stage in stages.items():
        if not stage.writes:
            continue
        row_obstacles.mark_identity(stage)
        for other in elsewhere.get(name, ()):
            row_obstacles.mark_moved(stage, other)
        for check in rules[name].checks:
            if not check.functions:
                row_obstacles.mark_violating(stage, check)
        for rule in rules[name].distinct:
            key_collisions.mark_rivals(stage, rule)


def mark_lost_parents(
    stages: Mapping[TableName, Stage],
    keys: Sequence[ForeignKey],
    filled: Iterable[TableName],
    children: Iterable[TableName],
) -> None:
    """Mark those rows of `children`, not written yet, whose parents turned out not to come, and theirs in turn."""
    waiting, whole = set(children), set(filled)
    while sum(
        row_obstacles.mark_orphans(stages[key.child], key, [stages[p] for p in key.parent_tables if p in stages])
        for key in keys
        if key.child in waiting and not whole & set(key.parent_tables)
    ):
        pass


def lift_from(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], lifted: Iterable[LiftedConstraint]
) -> dict[TableName, Rules]:
    """Tell the stages which constraints will be away; returns the rules that rows meet then."""
    away: dict[TableName, set[str]] = {}
    for constraint in lifted:
        away.setdefault(constraint.table, set()).add(constraint.name)
    for name, names in away.items():
        if name in stages:
            stages[name].lifted = frozenset(names)
    return {name: without(each, away.get(name, ())) for name, each in rules.items()}


def refuse_changed_columns(table: Table, compared: Mapping[str, int | None]) -> None:
    """Raise schema-drift unless the columns that were compared are still there, and the same by their names.

    `compared`: name to number; None where the number was not recorded.
    """
    if changed := changed_columns(table, compared):
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT,
            f"the columns of {table.name} changed since it was compared",
            *changed,
            state="nothing was written to the original",
            help="bring the column back, or compare again: rowback diff CASE --again",
        )


def _mark_for_early_write(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Sequence[ForeignKey]
) -> int:
    """Let updates come before deletes that they release, where a key waits for those deletes."""
    references: dict[TableName, list[tuple[ForeignKey, Stage]]] = {}
    for key in keys:
        if key.child in stages:
            references.setdefault(key.child, []).extend((key, stages[p]) for p in key.parent_tables if p in stages)
    return sum(
        row_obstacles.schedule_before_deletes(stages[name], parents_of, rules[name].distinct)
        for name, parents_of in references.items()
        if any(
            key_collisions.blocks_key(parent, StagedOp.DELETE, rules[parent.table.name].distinct)
            for _, parent in parents_of
        )
    )


def _mark_once(
    stages: Mapping[TableName, Stage],
    rules: Mapping[TableName, Rules],
    keys: Sequence[ForeignKey],
    filled: set[TableName],
) -> int:
    marked = key_collisions.mark_taken(stages, rules)
    marked += _mark_for_early_write(stages, rules, keys)
    for key in keys:
        if key.child in stages and not filled & set(key.parent_tables):
            parents = [stages[parent] for parent in key.parent_tables if parent in stages]
            marked += row_obstacles.mark_orphans(stages[key.child], key, parents)
        for parent in key.parent_tables:
            if parent in stages:
                first = key_collisions.blocks_key(stages[parent], StagedOp.DELETE, rules[parent].distinct)
                marked += row_obstacles.mark_referenced(stages[parent], key, stages.get(key.child), first=first)
    return marked


def _renamed(changes: ChangeSet, shape: Shape, referenced: Sequence[int]) -> Iterator[Change]:
    """Rows that stay, and that others referenced at T by values which they do not have any more.

    A row that has those values now is another entity.
    """
    if not referenced:
        return
    for change in changes.changes(shape.no, kinds=STAYING, ops=[Op.KEEP]):
        target, original = change.target, change.original
        if target and original and any(target[i] != original[i] for i in referenced):
            yield change


def _referenced(shape: Shape, catalog: Catalog) -> list[int]:
    """Places of columns outside the key by which other tables reference this one."""
    names = {
        name for key in catalog.foreign_keys if shape.table in key.parent_tables for name in key.parent_columns
    } - set(shape.key)
    return [i for i, name in enumerate(shape.columns) if name in names]


def _staged(changes: ChangeSet, shape: Shape, referenced: Sequence[int], selection: Selection) -> Iterator[Staged]:
    if selection is Selection.BATCH:
        yield from (_planned(change, shape) for change in changes.changes(shape.no, batch=CHOSEN))
        yield from (_row(change, StagedOp.STAYING) for change in changes.standing(shape.no))
        return
    if shape.key:
        yield from (Staged(n, _STAGED[op], xmin, line) for n, op, xmin, line in changes.lines.planned(shape.no))
    else:
        yield from (_planned(change, shape) for change in changes.changes(shape.no, ops=WRITES))
    yield from (
        _row(change, StagedOp.STAYING) for change in changes.changes(shape.no, kinds=[RowClass.REUSED], ops=[Op.KEEP])
    )
    yield from (_row(change, StagedOp.STAYING) for change in _renamed(changes, shape, referenced))


def _retained_parents(changes: ChangeSet, shape: Shape, catalog: Catalog, selection: Selection) -> Iterator[Staged]:
    """Of a batch: rows that earlier batches put back and that children in this one are to be given to.

    In between such a parent may have been deleted, and its key given to another entity.
    """
    if selection is not Selection.BATCH:
        return
    by_table, seen = {each.table: each for each in changes.shapes()}, set[int]()
    for key in catalog.foreign_keys:
        child = by_table.get(key.child)
        if child is None or shape.table not in key.parent_tables or sorted(key.parent_columns) != sorted(shape.key):
            continue
        at = [child.columns.index(dict(zip(key.parent_columns, key.columns, strict=True))[name]) for name in shape.key]
        for change in changes.changes(child.no, ops=(Op.INSERT, Op.UPDATE), batch=CHOSEN):
            assert change.want is not None
            parent = changes.find(shape.no, tuple(change.want[i] for i in at))
            xid = changes.batches.writer_of(parent.n) if parent and parent.n and parent.n not in seen else None
            if parent and parent.n and parent.want and xid is not None:
                seen.add(parent.n)
                yield Staged(parent.n, StagedOp.EARLIER, xmin_of(xid), line_of(parent.want))


def _planned(change: Change, shape: Shape) -> Staged:
    row = _row(change, _STAGED[change.op])
    if shape.key or change.op is not Op.INSERT or change.kind is not RowClass.LOST:
        return row
    return row._replace(nth=int(change.key[-1] or 0))  # see compare_whole_rows


def _row(change: Change, op: StagedOp) -> Staged:
    # What leaves is known by the values it has now; what stays in the way of children, by those they knew it by.
    values = change.want if change.op in (Op.INSERT, Op.UPDATE) else change.original
    if op is StagedOp.STAYING:
        values = change.target or change.original
    assert change.n is not None
    assert values is not None
    return Staged(change.n, op, change.xmin, line_of(values))
