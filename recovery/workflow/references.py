"""Links between databases of one instance, declared in rowback.toml: are the keys that a repair touched still whole?"""

from __future__ import annotations

from recovery.compare.changes import ChangeSet
from recovery.config import ColumnReference, Profile, Reference
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.repair import Op
from recovery.model.report import ReferenceCheck
from recovery.model.values import TableName
from recovery.postgres.connect import Session, connect
from recovery.postgres.connection_target import Target
from recovery.postgres.references import existing, values_written_by
from recovery.reload.job import Loaded
from recovery.workflow.access import original
from recovery.workflow.recovery_run import RecoveryRun

KEYS_SHOWN = 20


def refuse_unusable_references(here: Target, profile: Profile) -> None:
    """Refuse (config-invalid) declared references that could not be checked after the repair."""
    for reference in profile.references:
        if here.database in (reference.child.database, reference.parent.database):
            for column in (reference.child, reference.parent):
                _existing(here.to(column.database), column, [], state=NOTHING_CREATED)


def check_references(recovery_run: RecoveryRun, live: Session, loaded: Loaded) -> tuple[ReferenceCheck, ...]:
    """One check for every declared reference that leads into or out of the repaired database.

    Rows we wrote must find their parents in the other database; rows there must find the parents we deleted here. A
    value that had no parent at T either dangled before: it is counted apart.
    """
    case = recovery_run.case
    here = original(recovery_run.instances.get(case.plan.source.identifier), case.plan.database, recovery_run.profile)
    found = []
    for reference in recovery_run.profile.references:
        if reference.child.database == case.plan.database:
            found.append(_children_here(recovery_run, live, here, reference, loaded))
        if reference.parent.database == case.plan.database:
            found.append(_parents_here(recovery_run, here, reference, loaded))
    return tuple(found)


def _children_here(
    recovery_run: RecoveryRun, live: Session, here: Target, reference: Reference, loaded: Loaded
) -> ReferenceCheck:
    child, parent = reference.child, reference.parent
    written = str(_table(child)) in {*loaded.rows, *loaded.written}
    touched = list(values_written_by(live, _table(child), child.column, loaded.xids)) if written else []
    missing = sorted(set(touched) - _existing(here.to(parent.database), parent, touched)) if touched else []
    before = (
        set(missing) - _existing(recovery_run.copy_target().to(parent.database), parent, missing) if missing else set()
    )
    return _checked(reference, touched, [value for value in missing if value not in before], len(before))


def _parents_here(recovery_run: RecoveryRun, here: Target, reference: Reference, loaded: Loaded) -> ReferenceCheck:
    """Keys that the repair deleted (mode replace) and that the other database still holds."""
    child, parent = reference.child, reference.parent
    touched = _deleted(recovery_run, parent, loaded) if loaded.number else []
    left = sorted(_existing(here.to(child.database), child, touched)) if touched else []
    return _checked(reference, touched, left, 0)


def _deleted(recovery_run: RecoveryRun, parent: ColumnReference, loaded: Loaded) -> list[str]:
    assert loaded.number
    with ChangeSet(recovery_run.case.changes_path(loaded.number)) as changes:
        for shape in changes.shapes():
            if shape.table == _table(parent) and parent.column in shape.columns:
                at = shape.columns.index(parent.column)
                written = (change for xid in loaded.xids for change in changes.written(shape.no, xid))
                gone = [c.live[at] for c in written if c.op is Op.DELETE and c.live]
                return [value for value in gone if value is not None]
    return []


def _existing(
    target: Target, column: ColumnReference, values: list[str], *, state: str = "the rows were put back and committed"
) -> set[str]:
    try:
        with connect(target, state=state) as session:
            return existing(session, _table(column), column.column, values)
    except LookupError as error:
        raise RowbackError(
            ErrorId.CONFIG_INVALID,
            f"reference {column} in rowback.toml cannot be checked: {error}",
            state=state,
            help="correct the [[reference]] in rowback.toml",
        ) from error


def _checked(reference: Reference, touched: list[str], dangling: list[str], before: int) -> ReferenceCheck:
    return ReferenceCheck(
        reference=str(reference),
        touched=len(touched),
        dangling=len(dangling),
        dangled_at_target=before,
        values=tuple(dangling[:KEYS_SHOWN]),
    )


def _table(column: ColumnReference) -> TableName:
    return TableName(schema_name=column.schema_name, name=column.table)
