"""Read and stage before any lock what a load is going to write, and name the tables that it has to lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from recovery.changeset.move_targets import elsewhere_of
from recovery.changeset.stage_changes import lift_from, mark_by_content, refuse_changed_columns, stage_changes
from recovery.model.catalog import Catalog
from recovery.model.load_order import load_order, with_referencing
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.publications import publishes_everything
from recovery.postgres.staging.row_constraints import Rules, mentioned_tables, read_rules
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.write_before_images import create_before_images, image_table, keep_before_images
from recovery.reload import load_refusals
from recovery.reload.fetch_oversized import carry_oversized
from recovery.reload.foreign_keys_by_sets import may_check_by_sets
from recovery.reload.load_job import Job, Repair
from recovery.reload.load_proofs import keys_to_check


@dataclass(frozen=True)
class PreparedLoad:
    """What was read and staged before any lock. `touched`: row changes before the load changed any definition."""

    stages: Mapping[TableName, Stage]
    rules: Mapping[TableName, Rules]
    order: Sequence[TableName]
    mode: ForeignKeyMode
    definitions: str
    touched: Mapping[TableName, load_statements.Touched]

    @property
    def busy(self) -> dict[TableName, Stage]:
        """The stages of tables that are written to."""
        return {name: stage for name, stage in self.stages.items() if stage.writes}


def prepare(original: Session, job: Job, tried_first: Collection[TableName]) -> PreparedLoad:
    """Everything that needs no lock. What changes in the definitions from here on is seen in their digest."""
    definitions, touched = definitions_digest(original), load_statements.touched_tables(original)
    stages, rules = _staged(original, job)
    busy = {name: stage for name, stage in stages.items() if stage.writes}
    scope = [*job.filled, *busy]
    needs = {**_needs(original, rules, scope), **_last(job.catalog, scope, tried_first)}
    order, mode = load_order(scope, job.catalog, needs=needs)
    if job.repair is not None:
        _keep_images(original, job.repair, busy)
    load_refusals.refuse_other_triggers(original, scope, job.held_triggers)
    if not busy and mode is not ForeignKeyMode.REPLICA and may_check_by_sets(original, job):
        mode = ForeignKeyMode.SETS
    if load_statements.needs_replica(original, [t for t in job.catalog.tables if t.name in busy], job.held_triggers):
        mode = ForeignKeyMode.REPLICA
    return PreparedLoad(stages, rules, order, mode, definitions, touched)


def _staged(original: Session, job: Job) -> tuple[Mapping[TableName, Stage], Mapping[TableName, Rules]]:
    """The rows of the change set beside their tables, marked by what needs no lock, and the rules that they meet."""
    if job.repair is None:
        return {}, read_rules(original, [])
    load_statements.use_search_path_of_role(original)
    for table in job.catalog.tables:
        refuse_changed_columns(table, dict(job.repair.columns.get(str(table.name), {})))
    stages = stage_changes(original, job.catalog, job.repair.changes, selection=job.selection)
    carry_oversized(original, job.copy, stages)
    tables = [stage.table for stage in stages.values()]
    load_statements.pin_search_path(original)
    rules = lift_from(stages, read_rules(original, tables), job.repair.lifted)
    if stages:
        load_statements.use_search_path_of_role(original)
        mark_by_content(stages, rules, elsewhere_of(original, job.catalog, job.catalog, tables, ()))
        load_statements.pin_search_path(original)
    return stages, rules


def _keep_images(original: Session, repair: Repair, busy: Mapping[TableName, Stage]) -> None:
    unlogged = publishes_everything(original)
    for stage in busy.values():
        create_before_images(stage, relation_of_images(repair, stage), unlogged=unlogged)
        keep_before_images(stage)


def _needs(
    original: Session, rules: Mapping[TableName, Rules], scope: Sequence[TableName]
) -> Mapping[TableName, set[TableName]]:
    """Tables that the functions behind a table's checks may read, by the words of their source."""
    functions = {
        name: {oid for check in table_rules.checks for oid in check.functions} for name, table_rules in rules.items()
    }
    return {name: mentioned_tables(original, oids, scope) - {name} for name, oids in functions.items() if oids}


def _last(
    catalog: Catalog, scope: Sequence[TableName], tried_first: Collection[TableName]
) -> Mapping[TableName, set[TableName]]:
    """Tables whose rows the server refused come after all that do not reference them.

    What refused the rows may have looked at tables that were still empty.
    """
    refused = set(tried_first)
    return {
        name: set(scope) - with_referencing([name], catalog.foreign_keys) - refused for name in refused & set(scope)
    }


def tables_to_lock(job: Job, ready: PreparedLoad) -> list[TableName]:
    """The tables written to.

    When foreign keys are held back, the tables at their other ends as well: the server then takes no lock on a parent
    row, and another session could delete it between our check and the commit.
    """
    scope = [*job.filled, *ready.busy]
    if ready.mode is not ForeignKeyMode.REPLICA:
        return scope
    ends = {table for key in keys_to_check(scope, job.catalog) for table in (key.child, *key.parent_tables)}
    return [*scope, *sorted(ends - set(scope), key=lambda name: name.key)]


def relation_of_images(repair: Repair, stage: Stage) -> TableName:
    """Where the before-images of one staged table are kept."""
    return image_table(repair.schema, repair.number, stage.no)
