"""Stage planned rows beside their tables and let the server say which of them cannot be written.

The diff does this to foresee what `apply` will meet; `apply` does it again, under its locks, to skip what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from recovery.compare.blocking import block, blocked
from recovery.compare.changes import WRITES, Change, ChangeSet, Shape
from recovery.compare.portions import CHOSEN
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Table
from recovery.model.repair import LiftedConstraint, Op, RowClass
from recovery.model.values import TableName
from recovery.postgres import writing
from recovery.postgres.connect import Session
from recovery.postgres.repair import obstacles
from recovery.postgres.repair.lifting import liftable, orphans_of_old, without
from recovery.postgres.repair.rules import Rules
from recovery.postgres.repair.stage import OWN_COLUMNS, Stage, Staged, stageable
from recovery.postgres.row_versions import xmin_of

NO_RULES = Rules((), ())
STAYING = (RowClass.NEWER, RowClass.CHANGED, RowClass.CONFLICT, RowClass.REVERTED)


@dataclass(frozen=True)
class Outlook:
    """What planned rows will meet: the tables' rules now and at T, tables loaded whole beside them, and tables that
    rows may have moved to."""

    rules: Mapping[TableName, Rules]
    rules_then: Mapping[TableName, Rules]
    filled: Sequence[TableName]
    elsewhere: Mapping[TableName, Sequence[obstacles.Elsewhere]]


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
        by = _referenced(shape, catalog)
        rows = chain(_staged(changes, shape, by), _put_earlier(changes, shape, catalog))
        if table is None or not stageable(table) or next(rows, None) is None:
            continue
        stage = Stage(live, table, shape.columns, shape.no)
        stage.create()
        stage.fill(chain(_staged(changes, shape, by), _put_earlier(changes, shape, catalog)))
        stage.complete()
        stages[shape.table] = stage
    return stages


def mark_unwritable(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Iterable[ForeignKey],
    filled: Iterable[TableName],
) -> None:  # fmt: skip
    """Mark every staged row that what is there now keeps from being written, until marking one changes nothing for
    another. Call `mark_by_content` before.

    `filled`: tables that are loaded whole in the same transaction; a parent there is present by then.
    """
    for stage in stages.values():
        obstacles.mark_stale(stage)
    inside = [key for key in keys if key.child in stages or not stages.keys().isdisjoint(key.parent_tables)]
    while _mark_once(stages, rules, inside, set(filled)):
        pass


def mark_by_content(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules],
    elsewhere: Mapping[TableName, Sequence[obstacles.Elsewhere]],
) -> None:  # fmt: skip
    """Mark staged rows that could never be written, whatever else their tables hold, and rows that stand elsewhere: it
    needs no lock to see that. Checks by functions of the users are left to the writing, because they may read other
    tables."""
    for name, stage in stages.items():
        if not stage.writes:
            continue
        obstacles.mark_identity(stage)
        for other in elsewhere.get(name, ()):
            obstacles.mark_moved(stage, other)
        for check in rules[name].checks:
            if not check.functions:
                obstacles.mark_violating(stage, check)
        for rule in rules[name].distinct:
            obstacles.mark_rivals(stage, rule)


def mark_lost_parents(
    stages: Mapping[TableName, Stage], keys: Sequence[ForeignKey], filled: Iterable[TableName],
    children: Iterable[TableName],
) -> None:  # fmt: skip
    """Mark those rows of `children`, not written yet, whose parents turned out not to come, and theirs in turn."""
    waiting, whole = set(children), set(filled)
    while sum(
        obstacles.mark_orphans(stages[key.child], key, [stages[p] for p in key.parent_tables if p in stages])
        for key in keys
        if key.child in waiting and not whole & set(key.parent_tables)
    ):
        pass


def mark_by_functions(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], then: Mapping[TableName, Rules]
) -> None:
    """Before anything is written: checks by users' functions that rows at T need not have satisfied, because they are
    newer than T or were NOT VALID then. The others held at T, and will again where what they read is back."""
    for name, stage in stages.items():
        held = {(check.name, check.expression) for check in then.get(name, NO_RULES).checks if check.validated}
        for check in rules[name].checks:
            if check.functions and (check.name, check.expression) not in held:
                obstacles.mark_violating(stage, check)


def foresee(live: Session, catalog: Catalog, changes: ChangeSet, outlook: Outlook) -> tuple[LiftedConstraint, ...]:
    """Turn planned rows that cannot be written into blocked ones, and those that only moved into moved ones. Leaves no
    trace on the original. Returns the NOT VALID checks that have to be lifted for rows that were there beside them."""
    _block_unwritable_tables(live, catalog, changes)
    with live.transaction(force_rollback=True):
        writing.use_search_path_of_role(live)
        stages = stage_changes(live, catalog, changes)
        lifted = (*_checks_to_lift(live, stages, outlook), *_keys_to_lift(stages, catalog))
        rules = lift_from(stages, outlook.rules, lifted)
        mark_by_content(stages, rules, outlook.elsewhere)
        mark_by_functions(stages, rules, outlook.rules_then)
        mark_unwritable(stages, rules, catalog.visible_keys, outlook.filled)
        _block_hidden(live, stages, catalog)
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
    return lifted


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


def _keys_to_lift(stages: Mapping[TableName, Stage], catalog: Catalog) -> Iterator[LiftedConstraint]:
    """NOT VALID foreign keys of rows to come that had no parent at T either."""
    for key in catalog.visible_keys:
        child = stages.get(key.child)
        ends = [table for name in (key.child, *key.parent_tables) if (table := catalog.table(name))]
        if child is None or not child.ops["i"] or key.validated or not all(table.owned for table in ends):
            continue
        if key.parent_tables != (key.parent,) or child.table.partition_key:  # of a whole tree: at its root alone
            continue
        parents = [stages[key.parent]] if key.parent in stages else []
        if rows := orphans_of_old(child, key, parents):
            yield LiftedConstraint(table=key.child, name=key.name, rows=rows, parent=key.parent)


def _checks_to_lift(live: Session, stages: Mapping[TableName, Stage], outlook: Outlook) -> tuple[LiftedConstraint, ...]:
    """Checks that were NOT VALID at T as well, and that rows to be written violate."""
    lifted = []
    own = liftable(live, [stage.table for stage in stages.values() if stage.writes])
    for name, names in own.items():
        then = {(check.name, check.expression) for check in outlook.rules_then[name].checks if not check.validated}
        for check in outlook.rules[name].checks:
            if check.constraint in names and (check.name, check.expression) in then and not check.functions:
                rows = obstacles.count_violating(stages[name], check)
                lifted += [LiftedConstraint(table=name, name=str(check.constraint), rows=rows)] if rows else []
    return tuple(lifted)


def _block_unwritable_tables(live: Session, catalog: Catalog, changes: ChangeSet) -> None:
    """Some tables cannot be repaired row by row at all: they leave no room for our own columns beside theirs, or have
    rules that would act on every row."""
    for shape in changes.shapes():
        table = catalog.table(shape.table)
        why = _unwritable(live, table) if table else None
        for op in WRITES if why else ():
            block(changes, shape.no, op, why or "")


def _unwritable(live: Session, table: Table) -> str | None:
    if not stageable(table):
        return f"{len(table.columns):,} columns leave no room for rowback's own {OWN_COLUMNS} beside them"
    for rule in table.rules:
        if rule.state != "O":
            return f'rule "{rule.name}" is enabled ALWAYS or REPLICA and would act on every row'
        if not writing.may_be_replica(live):
            return f'rule "{rule.name}" would act on every row, and this role may not set session_replication_role'
    return None


def _block_hidden(live: Session, stages: Mapping[TableName, Stage], catalog: Catalog) -> None:
    """A row is not deleted where rows that this role cannot see may reference it."""
    for key in catalog.hidden_keys:
        for parent in key.parent_tables:
            if parent in stages:
                gone = stages[parent].numbers(stages[parent].sql("s.{op} = 'd'"))
                stages[parent].set_aside(gone, f"rows of {key.child}, which this role cannot see, may reference it")


def _refuse_missing_columns(table: Table, shape: Shape) -> None:
    """The columns that were compared must still be there under the same names."""
    known = {column.name for column in table.columns}
    if gone := [name for name in shape.columns if name not in known]:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT, f"the columns of {shape.table} changed since it was compared",
            *(f"column {name} was dropped or renamed" for name in gone),
            state="nothing was written to the original",
            help="bring the column back, or compare again: rowback diff CASE --again",
        )  # fmt: skip


def _mark_early(stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Sequence[ForeignKey]) -> int:
    """Let updates come before deletes that they release, where a key waits for those deletes."""
    references: dict[TableName, list[tuple[ForeignKey, Stage]]] = {}
    for key in keys:
        if key.child in stages:
            references.setdefault(key.child, []).extend((key, stages[p]) for p in key.parent_tables if p in stages)
    return sum(
        obstacles.mark_early(stages[name], parents_of, rules[name].distinct)
        for name, parents_of in references.items()
        if any(obstacles.waits_for(parent, "d", rules[parent.table.name].distinct) for _, parent in parents_of)
    )


def _mark_once(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], keys: Sequence[ForeignKey],
    filled: set[TableName],
) -> int:  # fmt: skip
    marked = 0
    for name, stage in stages.items():
        marked += sum(obstacles.mark_taken(stage, rule) for rule in rules[name].distinct)
    marked += _mark_early(stages, rules, keys)
    for key in keys:
        if key.child in stages and not filled & set(key.parent_tables):
            parents = [stages[parent] for parent in key.parent_tables if parent in stages]
            marked += obstacles.mark_orphans(stages[key.child], key, parents)
        for parent in key.parent_tables:
            if parent in stages:
                first = obstacles.waits_for(stages[parent], "d", rules[parent].distinct)
                marked += obstacles.mark_referenced(stages[parent], key, stages.get(key.child), first=first)
    return marked


def _renamed(changes: ChangeSet, shape: Shape, referenced: Sequence[int]) -> Iterator[Change]:
    """Rows that stay, and that others referenced at T by values which they do not have any more: whoever has them now
    is another entity."""
    if not referenced:
        return
    for change in changes.changes(shape.no, kinds=STAYING, ops=[Op.KEEP]):
        target, live = change.target, change.live
        if target and live and any(target[i] != live[i] for i in referenced):
            yield change


def _referenced(shape: Shape, catalog: Catalog) -> list[int]:
    """Places of columns outside the key by which other tables reference this one."""
    names = {
        name for key in catalog.foreign_keys if shape.table in key.parent_tables for name in key.parent_columns
    } - set(shape.key)  # fmt: skip
    return [i for i, name in enumerate(shape.columns) if name in names]


def _staged(changes: ChangeSet, shape: Shape, referenced: Sequence[int]) -> Iterator[Staged]:
    if changes.portions.only_chosen:
        yield from (_row(change, _LETTER[change.op]) for change in changes.changes(shape.no, portion=CHOSEN))
        yield from (_row(change, _LETTER[Op.KEEP]) for change in changes.standing(shape.no))
        return
    yield from (_row(change, _LETTER[change.op]) for change in changes.changes(shape.no, ops=WRITES))
    yield from (
        _row(change, _LETTER[Op.KEEP]) for change in changes.changes(shape.no, kinds=[RowClass.REUSED], ops=[Op.KEEP])
    )
    yield from (_row(change, _LETTER[Op.KEEP]) for change in _renamed(changes, shape, referenced))


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
    # What leaves is known by the values it has now; what stays in the way of children, by those they knew it by.
    values = change.want if change.op in (Op.INSERT, Op.UPDATE) else change.live
    if letter == _LETTER[Op.KEEP]:
        values = change.target or change.live
    assert change.n is not None
    assert values is not None
    return Staged(change.n, letter, change.xmin, values)
