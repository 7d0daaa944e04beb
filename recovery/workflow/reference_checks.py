"""Links between databases of one instance: are the keys that a repair touched still whole?"""

from __future__ import annotations

from recovery.changeset.change_set import ChangeSet
from recovery.config import ColumnReference, Reference
from recovery.model.recovery_report import ReferenceCheck
from recovery.model.row_class import Op
from recovery.planning.original_login import target_on_original
from recovery.planning.reference_declarations import existing_values, table_of
from recovery.postgres.connect import Session
from recovery.postgres.connection_target import Target
from recovery.postgres.copy_line import values_of
from recovery.postgres.value_lookup import values_written_by
from recovery.reload.load_job import Loaded
from recovery.workflow.recovery_run import RecoveryRun

KEYS_SHOWN = 20


def check_references(recovery_run: RecoveryRun, original: Session, loaded: Loaded) -> tuple[ReferenceCheck, ...]:
    """One check for every declared reference that leads into or out of the repaired database.

    Rows we wrote must find their parents in the other database; rows there must find the parents we deleted here. A
    value that had no parent at T either dangled before: it is counted apart.
    """
    case = recovery_run.case
    target = target_on_original(
        recovery_run.instances.get(case.plan.source.identifier), case.plan.database, recovery_run.profile
    )
    checks = []
    for reference in recovery_run.profile.references:
        if reference.child.database == case.plan.database:
            checks.append(_children_here(recovery_run, original, target, reference, loaded))
        if reference.parent.database == case.plan.database:
            checks.append(_parents_here(recovery_run, target, reference, loaded))
    return tuple(checks)


def _children_here(
    recovery_run: RecoveryRun, original: Session, target: Target, reference: Reference, loaded: Loaded
) -> ReferenceCheck:
    child, parent = reference.child, reference.parent
    written = str(table_of(child)) in {*loaded.rows, *loaded.written}
    touched = (
        list(values_written_by(original, table_of(child), child.column, loaded.writers_of(table_of(child))))
        if written
        else []
    )
    missing = sorted(set(touched) - existing_values(target.to(parent.database), parent, touched)) if touched else []
    before = (
        set(missing) - existing_values(recovery_run.copy_target().to(parent.database), parent, missing)
        if missing
        else set()
    )
    return _checked(reference, touched, [value for value in missing if value not in before], len(before))


def _parents_here(recovery_run: RecoveryRun, target: Target, reference: Reference, loaded: Loaded) -> ReferenceCheck:
    """Keys that the repair deleted (mode replace) and that the other database still holds."""
    child, parent = reference.child, reference.parent
    touched = _deleted(recovery_run, parent, loaded) if loaded.number else []
    referencing = sorted(existing_values(target.to(child.database), child, touched)) if touched else []
    return _checked(reference, touched, referencing, 0)


def _deleted(recovery_run: RecoveryRun, parent: ColumnReference, loaded: Loaded) -> list[str]:
    assert loaded.number
    with ChangeSet(recovery_run.case.changes_path(loaded.number)) as changes:
        for shape in changes.shapes():
            if shape.table == table_of(parent) and parent.column in shape.columns:
                at = shape.columns.index(parent.column)
                written = (row for xid in loaded.xids for row in changes.lines.written(shape.no, xid))
                values = [
                    values_of(row.original)[at] for row in written if row.op is Op.DELETE and row.original is not None
                ]
                return [value for value in values if value is not None]
    return []


def _checked(reference: Reference, touched: list[str], dangling: list[str], before: int) -> ReferenceCheck:
    return ReferenceCheck(
        reference=str(reference),
        touched=len(touched),
        dangling=len(dangling),
        dangled_at_target=before,
        values=tuple(dangling[:KEYS_SHOWN]),
    )
