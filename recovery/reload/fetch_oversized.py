"""Fetch values that no text can carry from the copy.

One by one in binary, into the staged rows that stand in for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recovery.changeset.column_mapping import map_table, same_table_at
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.staging.oversized_cells import carry
from recovery.postgres.staging.stage import Stage

NO_WAY = "it holds a value that is too large to travel as text, and the copy that has it is gone"


def carry_oversized(
    original: Session, open_copy: Callable[[], Session] | None, stages: Mapping[TableName, Stage]
) -> None:
    """Replace every stand-in by its value. Without a copy (in an undo) such rows are skipped."""
    waiting = [stage for stage in stages.values() if stage.oversized]
    if not waiting:
        return
    if open_copy is None:
        for stage in waiting:
            stage.set_aside([n for n, _ in stage.oversized], NO_WAY)
        return
    copy = open_copy()
    then, now = read_catalog(copy), read_catalog(original)
    for stage in waiting:
        at_target = same_table_at(then, stage.table, now)
        assert at_target
        columns = map_table(at_target, stage.table)
        fields = dict(zip(columns.columns, columns.then, strict=True))
        for n, column in stage.oversized:
            carry(copy, at_target.name, fields, stage, (n, column))
