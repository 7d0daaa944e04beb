"""Whether what was made anew is as it was at T, by another dump of all definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recovery.model.recovery_report import RepairProof, Verification
from recovery.model.table_parts import LostParts, TableParts
from recovery.postgres.archive.schema_archive import entries_of
from recovery.postgres.archive.table_of_contents import ArchiveEntry
from recovery.postgres.connect import Session
from recovery.postgres.lost_columns import label
from recovery.postgres.read_table_parts import read_table_parts
from recovery.postgres.schemas import read_schemas
from recovery.postgres.undisturbed import unforced_for_a_look
from recovery.postgres.value_stage import rows_written_by, values_now
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.steps.definitions import chosen_entries, dump
from recovery.workflow.steps.load_records import written_by_load
from recovery.workflow.steps.recreation import dropped_schemas, lost_parts

AFTER = "definitions-after"
# What belongs to a table and nothing else; a view or a key of another table is that one's.
PARTS = frozenset({"ACL", "COMMENT", "INDEX", "CONSTRAINT", "TRIGGER", "POLICY", "RULE", "DEFAULT", "ROW SECURITY"})


def not_as_at_target(recovery_run: RecoveryRun, original: Session) -> tuple[str, ...]:
    """Objects that were made and are not there now as they were at T, by another dump of all definitions."""
    now = {entry.identity: entry for entry in dump(recovery_run, AFTER, original)}
    differing = []
    for entry in chosen_entries(recovery_run):
        current = now.get(entry.identity)
        if current is None:
            differing.append(f"{entry}: it is not there")
        elif _in_any_order(current) != _in_any_order(entry):
            differing.append(f"{entry}: its definition differs")
        elif current.owner != entry.owner:
            differing.append(f"{entry}: it belongs to {current.owner}, not to {entry.owner}")
    return (*differing, *_parts(recovery_run, original), *_schemas(recovery_run, original))


def _in_any_order(entry: ArchiveEntry) -> object:
    """A table's definition by its lines: what it inherits comes first in one that is made, wherever it stood before."""
    if entry.kind != "TABLE":
        return entry.definition
    return sorted(line.rstrip(",") for line in entry.definition.splitlines())


def came_along(recovery_run: RecoveryRun) -> tuple[str, ...]:
    """What hangs on objects that were made and did not at T, by the dump that `not_as_at_target` made last."""
    now = entries_of(recovery_run.case.directory / AFTER)
    return additions(chosen_entries(recovery_run), now)


def _schemas(recovery_run: RecoveryRun, original: Session) -> Iterator[str]:
    now = read_schemas(original)
    for schema in dropped_schemas(recovery_run):
        if now.get(schema.name) != schema:
            yield f"SCHEMA {schema.name}: it is not as it was"


def _parts(recovery_run: RecoveryRun, original: Session) -> Iterator[str]:
    """Columns, defaults and checks that came back and are not as they were; what the load itself left is left out."""
    loaded = written_by_load(recovery_run.case)
    left = "\n".join(loaded.differing) if loaded else ""
    parts = {lost.oid: lost for lost in lost_parts(recovery_run)}
    now = read_table_parts(original, parts)
    for oid, lost in parts.items():
        yield from _parts_of(lost, now[oid], left) if oid in now else [f"TABLE {lost.table}: it is not there"]


def _parts_of(lost: LostParts, now: TableParts, left: str) -> Iterator[str]:
    """`left`: what the load said that it left, which is not judged again."""
    columns = {column.name: column for column in now.columns}
    checks = {check.name: check.definition for check in now.checks}
    for column in lost.columns:
        is_left = f"{lost.table}: {label(column)} " in left
        if not is_left and ((current := columns.get(column.name)) is None or current.definition != column.definition):
            yield f"COLUMN {lost.table}.{column.name}: it is not as it was"
    for column in lost.defaults:
        is_left = f"{lost.table}: {label(column)} " in left
        if not is_left and ((current := columns.get(column.name)) is None or current.default != column.default):
            yield f"COLUMN {lost.table}.{column.name}: its default is not as it was"
    for check in lost.checks:
        if f"{lost.table}: {label(check)} " not in left and checks.get(check.name) != check.definition:
            yield f"CHECK {check.name} of {lost.table}: it is not as it was"


def with_objects(recovery_run: RecoveryRun, original: Session, verification: Verification) -> Verification:
    """The proof with the definitions of what was made, and, where these are as they were, the values of columns."""
    differing = not_as_at_target(recovery_run, original)
    proofs = () if differing else tuple(_proofs_of_values(recovery_run, original))
    return verification.model_copy(update={"objects_differ": differing, "repaired": proofs})


def _proofs_of_values(recovery_run: RecoveryRun, original: Session) -> Iterator[RepairProof]:
    """Of each table that got columns back: whether its rows hold the values that were committed, or others wrote them.

    What others wrote since carries their transactions; the load proved before its commit that all of it was as at T.
    """
    loaded = written_by_load(recovery_run.case)
    for lost in lost_parts(recovery_run):
        back = loaded.values_back.get(str(lost.table)) if loaded else None
        if not loaded or not back:
            continue
        with unforced_for_a_look(original, [lost]):
            now, ours = values_now(original, lost), rows_written_by(original, lost, loaded.xids)
        equal = back.rows if now == back.content else min(back.rows, ours)
        altered = now != back.content and now.rows == back.content.rows == ours
        yield RepairProof(
            table=lost.table,
            inserted=0,
            updated=back.rows,
            deleted=0,
            equal=equal,
            changed_since=back.rows - equal,
            differing=("values are not those that were committed, and no other transaction wrote rows",) * altered,
        )


def without_statement(made: Sequence[ArchiveEntry]) -> list[ArchiveEntry]:
    """What was made and goes neither by a statement of its own nor with something else that was made: a grant, say."""
    dropped = {entry.number for entry in made if entry.drop}
    return [entry for entry in made if not entry.drop and not dropped & set(entry.dependencies)]


def additions(made: Sequence[ArchiveEntry], now: Sequence[ArchiveEntry]) -> tuple[str, ...]:
    """What hangs on objects that were made and did not at T: an index or a grant that came with, or since."""
    identities = {entry.identity for entry in made}
    numbers = {entry.number for entry in now if entry.identity in identities}
    parts = (entry for entry in now if numbers & set(entry.dependencies) and entry.identity not in identities)
    return tuple(f"{entry}: it did not hang on it at T" for entry in parts if entry.kind in PARTS)


def there_now(recovery_run: RecoveryRun, original: Session) -> tuple[str, ...]:
    """Objects of those that were made, by their names, that are there."""
    now = {entry.identity for entry in dump(recovery_run, AFTER, original)}
    return tuple(f"{entry}: it is there" for entry in chosen_entries(recovery_run) if entry.identity in now)
