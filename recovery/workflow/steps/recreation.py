"""What mode recreate makes anew, of what a case read before: entries in their order, parts of tables, schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recovery.compare.missing_objects import RELATIONS
from recovery.model.catalog import Catalog
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.table_parts import LostParts, names_of
from recovery.model.values import TableName
from recovery.postgres.archive.schema_archive import statements
from recovery.postgres.archive.table_of_contents import ArchiveEntry, ArchiveSection
from recovery.postgres.connect import Session
from recovery.postgres.made_anew import filled_views, privileges
from recovery.reload.load_job import AtTarget
from recovery.reload.recreate_transaction import Recreation
from recovery.workflow.recovery_run import Outcome, RecoveryRun
from recovery.workflow.steps.definitions import THEN, chosen_entries, client_tools, definitions_at_target

# Of relations those that are locked as tables are, and granted on as such.
LOCKABLE = RELATIONS - {"SEQUENCE"}
# What a lock against writers suffices for, on a table that is there; all else needs one against readers as well.
READERS_GO_ON = frozenset({"FK CONSTRAINT", "TRIGGER", "INDEX", "STATISTICS", "COMMENT", "ACL", "PUBLICATION TABLE"})
OWN_INDEXES = frozenset({"CONSTRAINT", "INDEX"})


def rows_at_target(recovery_run: RecoveryRun) -> AtTarget:
    """What the copy held of the tables that were made."""
    outcome = read_outcome(recovery_run)
    return AtTarget.model_validate({name: outcome[name] for name in AtTarget.model_fields})


def dropped_schemas(recovery_run: RecoveryRun) -> list[DroppedSchema]:
    """What is made anew and stands in no archive."""
    return [DroppedSchema.model_validate(each) for each in read_outcome(recovery_run)["schemas"]]


def lost_parts(recovery_run: RecoveryRun) -> list[LostParts]:
    """What tables that are there get back."""
    return [LostParts.model_validate(each) for each in read_outcome(recovery_run)["parts"]]


@dataclass(frozen=True)
class Ordered:
    """Entries in the order of making: what columns that come back may need, what needs them, what is last."""

    first: Sequence[ArchiveEntry]
    with_columns: Sequence[ArchiveEntry]
    last: Sequence[ArchiveEntry]


def recreation(recovery_run: RecoveryRun, catalog: Catalog, copy: Session) -> Recreation:
    """What is made anew. `catalog`: the copy's."""
    plan, chosen, parts = recovery_run.case.plan, chosen_entries(recovery_run), lost_parts(recovery_run)
    then = definitions_at_target(recovery_run)
    existing = existing_numbers(then, chosen)
    order, schemas = ordered(then, chosen, parts), dropped_schemas(recovery_run)
    tools, directory = client_tools(copy), recovery_run.case.directory / THEN
    names = {entry.number: entry.name for entry in then}
    relations = frozenset(entry.name for entry in chosen if entry.kind in LOCKABLE)
    sequences = {entry.name for entry in chosen if entry.kind == "SEQUENCE"}
    touched = [(names[number], entry.kind) for entry in chosen for number in entry.dependencies if number in existing]
    alone = {name for name, kind in touched if kind not in READERS_GO_ON | RELATIONS} | set(names_of(parts))
    filled = filled_views(copy)
    late = {entry.name for entry in order.with_columns}
    made = {entry.name for entry in chosen if entry.kind == "TABLE"}
    prints = read_outcome(recovery_run)["fingerprints"]
    tables = [table for table in catalog.tables if table.name in made and str(table.name) in prints]
    return Recreation(
        database=plan.database,
        schemas=schemas,
        before_rows=statements(tools, directory, order.first),
        with_columns=statements(tools, directory, order.with_columns),
        after_rows=statements(tools, directory, order.last),
        owners=owners_of(chosen, parts, schemas),
        tables=[table for table in tables if table.name not in late],
        late_tables=[table for table in tables if table.name in late],
        parts=parts,
        relations=relations,
        privileges=privileges(copy, relations | sequences),
        existing=_by_name({name for name, _ in touched} | alone),
        alone=_by_name(alone),
        materialized=[entry.name for entry in chosen if entry.kind == "MATERIALIZED VIEW" and entry.name in filled],
        counters=[each for each in catalog.sequences if each.name in sequences],
        truth=rows_at_target(recovery_run),
        lock_timeout_ms=plan.lock_timeout_ms,
        lock_attempts=plan.lock_attempts,
        foreign_keys=sum(entry.kind == "FK CONSTRAINT" for entry in chosen),
    )


def owners_of(
    entries: Iterable[ArchiveEntry], parts: Iterable[LostParts], schemas: Iterable[DroppedSchema]
) -> frozenset[str]:
    """Roles that what is made, or altered, belongs to."""
    owners = {entry.owner for entry in entries if entry.owner} | {lost.owner for lost in parts}
    return frozenset(owners | {schema.owner for schema in schemas})


def ordered(then: Sequence[ArchiveEntry], chosen: Sequence[ArchiveEntry], parts: Sequence[LostParts]) -> Ordered:
    """What is made before rows and columns come, what with the columns, and what after.

    A partition of a table that is there gets its own indexes first: attached before, it would be given others.
    """
    existing = existing_numbers(then, chosen)
    altered = {lost.at_target for lost in parts if lost.columns}
    attached = [entry for entry in chosen if entry.kind == "TABLE ATTACH" and existing & set(entry.dependencies)]
    definitions = [entry for entry in chosen if entry.section is ArchiveSection.PRE_DATA and entry not in attached]
    first = without(definitions, {entry.number for entry in then if entry.kind == "TABLE" and entry.name in altered})
    last = [entry for entry in chosen if entry.section is not ArchiveSection.PRE_DATA]
    own = [entry for entry in last if entry.kind in OWN_INDEXES]
    made = {entry.number for entry in first}
    return Ordered(
        first,
        [entry for entry in definitions if entry.number not in made],
        [*own, *attached, *(entry for entry in last if entry.kind not in OWN_INDEXES)],
    )


def without(chosen: Sequence[ArchiveEntry], needed: Iterable[int]) -> list[ArchiveEntry]:
    """Those that need none of these, nor anything that needs one."""
    unfit, alone = set(needed), []
    for entry in chosen:  # in the archive's order, so what is needed comes first
        if unfit & set(entry.dependencies):
            unfit.add(entry.number)
        else:
            alone.append(entry)
    return alone


def existing_numbers(then: Sequence[ArchiveEntry], chosen: Sequence[ArchiveEntry]) -> set[int]:
    """Tables of T that are there still, to which some of the chosen objects belong."""
    made = {entry.number for entry in chosen}
    return {entry.number for entry in then if entry.kind == "TABLE" and entry.number not in made}


def _by_name(names: Iterable[TableName]) -> list[TableName]:
    return sorted(names, key=lambda name: name.key)


def read_outcome(recovery_run: RecoveryRun) -> Outcome:
    """What was read of T: objects, parts, schemas, rows."""
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    return outcome
