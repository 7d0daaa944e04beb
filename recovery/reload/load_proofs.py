"""What is proven under the locks, before anybody else can see the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recovery.model.catalog import Catalog, ForeignKey
from recovery.model.values import TableName, counted
from recovery.postgres import foreign_key_checks, load_statements
from recovery.postgres.connect import Session
from recovery.postgres.staging import stage_proofs
from recovery.postgres.staging.stage import Stage
from recovery.reload import load_refusals
from recovery.reload.load_job import Job, WrittenRows
from recovery.reload.row_writes import RowsRefused


def prove_before_commit(
    original: Session, job: Job, stages: Mapping[TableName, Stage], written: Mapping[TableName, WrittenRows], xid: int
) -> list[ForeignKey]:
    """Rows and references, before anybody else can see them; returns the keys that were checked.

    Raises verify-differs, load-refused, and RowsRefused for tables loaded whole of which rows have no parent now.
    """
    load_refusals.refuse_differences(original, job.fills, job.truth.fingerprints, job.truth.oldest_version_num)
    counts = {name: (rows.inserted, rows.updated, rows.deleted) for name, rows in written.items()}
    load_refusals.refuse_other_rows(list(stages.values()), counts, xid)
    whole = [key for key in keys_to_check(job.filled, job.catalog) if key.validated]
    dangling = [(key, foreign_key_checks.dangling_references(original, key)) for key in whole]
    _refuse_without_parents([(key, count) for key, count in dangling if count and key.child in job.filled])
    load_refusals.refuse_dangling(dangling)
    touched = keys_to_check(list(stages), job.catalog)
    for key in touched:
        if key.child in stages:
            parents = [stages[parent] for parent in key.parent_tables if parent in stages]
            load_refusals.refuse_dangling([(key, stage_proofs.dangling(stages[key.child], key, parents))])
        for parent in key.parent_tables:
            if parent in stages:
                load_refusals.refuse_dangling([(key, stage_proofs.left_behind(stages[parent], key))])
    return list({(key.child, key.name): key for key in [*whole, *touched]}.values())


def _refuse_without_parents(dangling: Sequence[tuple[ForeignKey, int]]) -> None:
    words: dict[TableName, list[str]] = {}
    for key, count in dangling:
        words.setdefault(key.child, []).append(
            f"{counted(count, 'row')} without {'its' if count == 1 else 'their'} parent in {key.parent} ({key.name})"
        )
    if words:
        raise RowsRefused({table: ", ".join(lines) for table, lines in words.items()})


def keys_to_check(scope: Sequence[TableName], catalog: Catalog) -> list[ForeignKey]:
    """Foreign keys with a table of the scope at either end, as far as this role sees both."""
    inside = set(scope)
    return [key for key in catalog.visible_keys if key.child in inside or inside & set(key.parent_tables)]


def expected_changes(
    rows: Mapping[TableName, int], written: Mapping[TableName, WrittenRows]
) -> dict[TableName, load_statements.Touched]:
    """What the server must have counted for each table when all rows are written."""
    filled = {name: load_statements.Touched(name, count, 0, 0) for name, count in rows.items()}
    repaired = {
        name: load_statements.Touched(name, counts.inserted, counts.updated, counts.deleted)
        for name, counts in written.items()
    }
    return filled | repaired
