"""Large objects that planned rows point to: which of them are gone, and what the plan says about them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice

from recovery.changeset.batches import CHOSEN, Selection
from recovery.changeset.change_set import BATCH, ChangeSet
from recovery.model.catalog import Catalog
from recovery.model.row_class import Op
from recovery.postgres.connect import Session
from recovery.postgres.staging.large_objects import pointing_columns, present, same_content

SHOWN = 5


def objects_wanted(
    changes: ChangeSet, catalog: Catalog, *, selection: Selection = Selection.EVERYTHING, but: Container[int] = ()
) -> Iterator[int]:
    """The numbers in columns that may point to large objects, of every row of `selection` but those numbered `but`."""
    batch = CHOSEN if selection is Selection.BATCH else None
    for shape in changes.shapes():
        table = catalog.table(shape.table)
        names = pointing_columns(table) if table else []
        places = [shape.columns.index(name) for name in names if name in shape.columns]
        if places:
            for change in changes.changes(shape.no, ops=(Op.INSERT, Op.UPDATE), batch=batch):
                if change.n in but:
                    continue
                yield from (int(value) for i in places if change.want and (value := change.want[i]))


def gone_objects(original: Session, copy: Session, numbers: Iterator[int]) -> Iterator[int]:
    """Those that were large objects at T and are none now."""
    seen: set[int] = set()
    while batch := set(islice(numbers, BATCH)):
        then = present(copy, batch - seen)
        seen |= batch
        yield from sorted(then - present(original, then))


def object_notices(original: Session, copy: Session, changes: ChangeSet, catalog: Catalog) -> list[str]:
    """What the plan tells: objects that come back, and objects that stay though they hold something else now."""
    missing = sum(1 for _ in gone_objects(original, copy, objects_wanted(changes, catalog)))
    numbers = set(objects_wanted(changes, catalog))
    both = sorted(present(copy, numbers) & present(original, numbers))
    differing = [str(number) for number in both if not same_content(copy, original, number)]
    notices = (
        [f"{missing:,} large objects that these rows point to are gone: they come back as well"] if missing else []
    )
    if differing:
        more = "" if len(differing) <= SHOWN else f" and {len(differing) - SHOWN:,} more"
        notices.append(
            f"large objects {', '.join(differing[:SHOWN])}{more} hold something else than at T: they stay as they are"
        )
    return notices
