"""Foresee what planned rows will meet on the original, and turn those that cannot be written into blocked ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recovery.changeset.block_rows import block, blocked
from recovery.changeset.change_set import WRITES, ChangeSet
from recovery.changeset.stage_changes import lift_from, mark_by_content, mark_unwritable, stage_changes
from recovery.model.catalog import Catalog, Table
from recovery.model.load_order import closure
from recovery.model.repair_plan import LiftedConstraint
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.staging import row_obstacles
from recovery.postgres.staging.not_valid_constraints import liftable, orphans_of_old
from recovery.postgres.staging.row_constraints import Rules
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import OWN_COLUMNS, StagedOp, stageable

NO_RULES = Rules((), ())
STAGED_AT_ONCE = 100  # tables; a stage takes up to five locks


@dataclass(frozen=True)
class WriteOutlook:
    """What planned rows will meet.

    The tables' rules now and at T, tables loaded whole beside them, and tables that rows may have moved to.
    """

    rules: Mapping[TableName, Rules]
    rules_then: Mapping[TableName, Rules]
    filled: Sequence[TableName]
    elsewhere: Mapping[TableName, Sequence[row_obstacles.Elsewhere]]


def foresee(
    original: Session, catalog: Catalog, changes: ChangeSet, outlook: WriteOutlook
) -> tuple[LiftedConstraint, ...]:
    """Turn planned rows that cannot be written into blocked ones, and those that only moved into moved ones.

    Leaves no trace on the original. Returns the NOT VALID checks that have to be lifted for rows that were there beside
    them.
    """
    _block_unwritable_tables(original, catalog, changes)
    return tuple(
        lifted
        for part in _parts(catalog, [shape.table for shape in changes.shapes()])
        for lifted in _foresee_part(original, catalog, changes, part, outlook)
    )


def _parts(catalog: Catalog, names: Sequence[TableName]) -> list[set[TableName]]:
    """The tables in parts between which there is no foreign key.

    Each is staged by itself, because the server has room for the locks of so many stages only.
    """
    links: dict[TableName, set[TableName]] = {name: set() for name in names}
    for key in catalog.visible_keys:
        ends = {key.child, *key.parent_tables} & links.keys()
        for end in ends:
            links[end] |= ends
    parts: list[set[TableName]] = []
    seen: set[TableName] = set()
    for name in names:
        if name in seen:
            continue
        family = closure([name], links)
        seen |= family
        if parts and len(parts[-1]) + len(family) <= STAGED_AT_ONCE:
            parts[-1] |= family
        else:
            parts.append(family)
    return parts


def _foresee_part(
    original: Session, catalog: Catalog, changes: ChangeSet, part: Collection[TableName], outlook: WriteOutlook
) -> tuple[LiftedConstraint, ...]:
    with original.transaction(force_rollback=True):
        load_statements.use_search_path_of_role(original)
        stages = stage_changes(original, catalog, changes, only=part)
        lifted = (*_checks_to_lift(original, stages, outlook), *_keys_to_lift(stages, catalog))
        rules = lift_from(stages, outlook.rules, lifted)
        mark_by_content(stages, rules, outlook.elsewhere)
        mark_by_functions(stages, rules, outlook.rules_then)
        mark_unwritable(stages, rules, catalog.visible_keys, outlook.filled)
        _block_hidden(original, stages, catalog)
        _block_skipped(changes, stages)
        load_statements.pin_search_path(original)
    return lifted


def _block_skipped(changes: ChangeSet, stages: Mapping[TableName, Stage]) -> None:
    for stage in stages.values():
        if reasons := dict(stage.skipped()):
            changes.update(
                blocked(change, reasons[change.n])
                for change in changes.changes(stage.no, ops=WRITES)
                if change.n in reasons
            )


def mark_by_functions(
    stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules], then: Mapping[TableName, Rules]
) -> None:
    """Before anything is written.

    Checks by users' functions that rows at T need not have satisfied, because they are newer than T or were NOT VALID
    then. The others held at T, and will again where what they read is back.
    """
    for name, stage in stages.items():
        checks_at_target = {
            (check.name, check.expression) for check in then.get(name, NO_RULES).checks if check.validated
        }
        for check in rules[name].checks:
            if check.functions and (check.name, check.expression) not in checks_at_target:
                row_obstacles.mark_violating(stage, check)


def _keys_to_lift(stages: Mapping[TableName, Stage], catalog: Catalog) -> Iterator[LiftedConstraint]:
    """NOT VALID foreign keys of rows to come that had no parent at T either."""
    for key in catalog.visible_keys:
        child = stages.get(key.child)
        ends = [table for name in (key.child, *key.parent_tables) if (table := catalog.table(name))]
        if child is None or not child.ops[StagedOp.INSERT] or key.validated or not all(table.owned for table in ends):
            continue
        if key.parent_tables != (key.parent,) or child.table.partition_key:  # of a whole tree: at its root alone
            continue
        parents = [stages[key.parent]] if key.parent in stages else []
        if rows := orphans_of_old(child, key, parents):
            yield LiftedConstraint(table=key.child, name=key.name, rows=rows, parent=key.parent)


def _checks_to_lift(
    original: Session, stages: Mapping[TableName, Stage], outlook: WriteOutlook
) -> tuple[LiftedConstraint, ...]:
    """Checks that were NOT VALID at T as well, and that rows to be written violate."""
    lifted = []
    own = liftable(original, [stage.table for stage in stages.values() if stage.writes])
    for name, names in own.items():
        then = {(check.name, check.expression) for check in outlook.rules_then[name].checks if not check.validated}
        for check in outlook.rules[name].checks:
            if check.constraint in names and (check.name, check.expression) in then and not check.functions:
                rows = row_obstacles.count_violating(stages[name], check)
                lifted += [LiftedConstraint(table=name, name=str(check.constraint), rows=rows)] if rows else []
    return tuple(lifted)


def _block_unwritable_tables(original: Session, catalog: Catalog, changes: ChangeSet) -> None:
    """Some tables cannot be repaired row by row at all.

    They leave no room for our own columns beside theirs, or have rules that would act on every row.
    """
    for shape in changes.shapes():
        table = catalog.table(shape.table)
        why = _unwritable(original, table) if table else None
        for op in WRITES if why else ():
            block(changes, shape.no, op, why or "")


def _unwritable(original: Session, table: Table) -> str | None:
    if not stageable(table):
        return f"{len(table.columns):,} columns leave no room for rowback's own {OWN_COLUMNS} beside them"
    for rule in table.rules:
        if rule.state != "O":
            return f'rule "{rule.name}" is enabled ALWAYS or REPLICA and would act on every row'
        if not load_statements.may_be_replica(original):
            return f'rule "{rule.name}" would act on every row, and this role may not set session_replication_role'
    return None


def _block_hidden(original: Session, stages: Mapping[TableName, Stage], catalog: Catalog) -> None:
    """A row is not deleted where rows that this role cannot see may reference it."""
    for key in catalog.hidden_keys:
        for parent in key.parent_tables:
            if parent in stages:
                deleted_parents = stages[parent].numbers(stages[parent].sql("s.{op} = {delete}"))
                stages[parent].set_aside(
                    deleted_parents, f"rows of {key.child}, which this role cannot see, may reference it"
                )
