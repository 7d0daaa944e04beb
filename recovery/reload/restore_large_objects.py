"""Bring back the large objects that rows to be written point to and that are gone."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.missing_large_objects import gone_objects, objects_wanted
from recovery.model.catalog import Catalog
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair
from recovery.postgres.staging.large_objects import bring, pointed_to, pointing_columns

if TYPE_CHECKING:
    from recovery.reload.load_job import Job


def point_to_objects(catalog: Catalog, fills: Sequence[Pair], changes: ChangeSet | None) -> bool:
    """Whether a table to be written has columns that may point to large objects."""
    shapes = changes.shapes() if changes else []
    tables = [*(pair.original for pair in fills), *(t for shape in shapes if (t := catalog.table(shape.table)))]
    return any(pointing_columns(table) for table in tables)


def bring_objects(original: Session, job: Job, but: Container[int]) -> int:
    """Create every missing one inside `original`'s open transaction, each proven equal; how many there were.

    Rows whose number is in `but` will not be written: theirs stay away.
    """
    if job.copy is None or not job.large_objects:
        return 0
    copy, changes = job.copy(), job.repair.changes if job.repair else None

    def numbers() -> Iterator[int]:
        for pair in job.fills:
            yield from pointed_to(copy, pair.at_target, pointing_columns(pair.at_target))
        if changes is not None:
            yield from objects_wanted(changes, job.catalog, selection=job.selection, but=but)

    brought = 0
    for number in gone_objects(original, copy, numbers()):
        brought += bring(copy, original, number)
    return brought
