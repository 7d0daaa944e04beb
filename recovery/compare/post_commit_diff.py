"""After the commit: the world compared with T once more, by the engine that reads.

What still differs must be what the plan said would stay, or what others wrote since; anything else was done wrong,
whatever the writer's own accounts say.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from recovery.changeset.change_set import WRITES, ChangeSet
from recovery.changeset.row_change import Change, Shape, key_text
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.recovery_report import WorldProof
from recovery.model.row_class import Op
from recovery.postgres.row_versions import xmin_of

KEYS_SHOWN = 20


@dataclass(frozen=True)
class Written:
    """What a load did: its change set, its transactions, and the row numbers that it left out."""

    changes: ChangeSet
    xids: tuple[int, ...]
    left_out: Collection[int]

    def planned(self, shape: Shape, key: tuple[str | None, ...]) -> tuple[Change | None, bool]:
        """The row as it was planned, and whether the load claims to have written it."""
        change = self.changes.find(shape.no, key)
        return change, change is not None and change.op in WRITES and change.n not in self.left_out


def prove_world(again: Comparison, written: Written) -> tuple[WorldProof, ...]:
    """One proof for each table of a comparison made after the load."""
    shapes = {shape.table: shape for shape in written.changes.shapes()}
    ours = {xmin_of(xid) for xid in written.xids}
    return tuple(
        _prove(again, compared, shapes.get(name), written, ours)
        for name, compared in again.tables.items()
        if compared.columns.key
    )


def _prove(
    again: Comparison, compared: ComparedTable, shape: Shape | None, written: Written, ours: Collection[int]
) -> WorldProof:
    stays, since, unexplained = 0, 0, []
    for row in again.changes.changes(compared.shape.no):
        planned, wrote = written.planned(shape, row.key) if shape else (None, False)
        match _verdict(row, planned, ours, wrote=wrote):
            case "stays":
                stays += 1
            case "since":
                since += 1
            case _:
                unexplained.append(key_text(compared.shape, row.key))
    return WorldProof(
        table=compared.columns.original.name,
        differs_as_planned=stays,
        changed_since=since,
        unexplained=tuple(unexplained[:KEYS_SHOWN]),
        unexplained_rows=len(unexplained),
    )


def _verdict(row: Change, planned: Change | None, ours: Collection[int], *, wrote: bool) -> str:
    """Why a row differs from T after the load: as planned, changed by others since, or for no known reason."""
    by_us = row.xmin is not None and row.xmin in ours
    if wrote and planned is not None:
        if planned.op is Op.DELETE:
            return "wrong" if row.original == planned.original and row.xmin == planned.xmin else "since"
        if row.original == planned.want:
            return "stays"  # a merge: as planned, though not as T
        if planned.op is Op.INSERT and row.original is None:
            # Before the commit the server itself counted and summed the rows that the load had inserted, under lock
            # (postgres/staging/stage_proofs.py): one that is not there any more was deleted by others.
            return "since"
        return "wrong" if by_us or (row.original == planned.original and row.xmin == planned.xmin) else "since"
    if by_us:
        return "wrong"
    return "stays" if planned is not None and row.original == planned.original else "since"
