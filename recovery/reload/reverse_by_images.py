"""Take a load back by the before-images in the database alone, where the file of its change set is gone or altered.

The images hold the rows that were changed or deleted, and the keys of those that were inserted; what the load made of
them stands in the tables themselves, under the ids of its transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from recovery.changeset.change_set import BATCH, ChangeSet
from recovery.changeset.row_change import Change, Shape, Texts
from recovery.model.catalog import Catalog, Table
from recovery.model.row_class import Op, RowClass
from recovery.postgres.comparison.key_lookup import rows_by_key
from recovery.postgres.comparison.table_scan import Field, Side, lines_written
from recovery.postgres.connect import Session
from recovery.postgres.copy_line import values_of
from recovery.postgres.row_versions import xmin_of
from recovery.postgres.staging.write_before_images import Images
from recovery.reload.load_job import BeforeImages, Loaded


def images_problem(original: Session, loaded: Loaded) -> str:
    """Why the before-images of `loaded` cannot be used, or an empty text: all are there and none was altered."""
    for name in loaded.written:
        if (before_images := loaded.images.get(name)) is None:
            return f"none were recorded of {name}"
        try:
            digest = Images(original, before_images.relation).digest()
        except LookupError as error:
            return str(error)
        if digest != before_images.digest:
            kept = f"{before_images.digest.rows:,} were kept"
            return f"{before_images.relation} was altered: it holds {digest.rows:,} rows, and {kept}"
    return ""


def invert_images(original: Session, catalog: Catalog, loaded: Loaded, into: ChangeSet) -> None:
    """Fill `into` with what takes the rows back that `loaded` wrote one by one, by their before-images."""
    tables = {str(table.name): table for table in catalog.tables}
    for name in loaded.written:
        if table := tables.get(name):
            _invert_table(original, table, loaded.images[name], loaded.xids, into)


def _invert_table(
    original: Session, table: Table, before_images: BeforeImages, xids: Sequence[int], into: ChangeSet
) -> None:
    images = Images(original, before_images.relation)
    columns = [c for c in table.columns if c.name in images.columns and (not c.generated or c.name in table.key)]
    fields = {column.name: Field(column.name, column) for column in columns}
    side = Side(original, table.name, tuple(fields[name] for name in table.key), tuple(fields.values()))
    shape = into.add_table(table.name, table.key, list(fields))
    rows = images.rows(side.fields)
    into.add(_by_key(side, shape, rows, xids) if table.key else _by_values(side, shape, rows, xids))


def _by_key(side: Side, shape: Shape, rows: Iterator[tuple[int, str, Texts]], xids: Sequence[int]) -> Iterator[Change]:
    positions = [shape.columns.index(name) for name in shape.key]
    ours = {xmin_of(xid) for xid in xids}
    while batch := list(islice(rows, BATCH)):
        keys = [tuple(values[i] for i in positions) for _, _, values in batch]
        written = {place: (int(xmin), values) for place, xmin, values in rows_by_key(side, keys) if int(xmin) in ours}
        for place, ((_, op, before), key) in enumerate(zip(batch, keys, strict=True)):
            # A row that is not of our transactions any more will be seen to have changed: the xmin says so.
            xmin, now = written.get(place, (xmin_of(xids[0]), before))
            yield _turned(shape, op, key, before, now, xmin)


def _turned(shape: Shape, op: str, key: Texts, before: Texts, now: Texts, xmin: int) -> Change:
    match op:
        case "i":
            return Change(shape.no, key, RowClass.LOST, now, now, xmin, Op.DELETE)
        case "d":
            return Change(shape.no, key, RowClass.NEW, None, None, None, Op.INSERT, before)
        case _:
            return Change(shape.no, key, RowClass.REVERTED, now, now, xmin, Op.UPDATE, before)


def _by_values(
    side: Side, shape: Shape, rows: Iterator[tuple[int, str, Texts]], xids: Sequence[int]
) -> Iterator[Change]:
    """Without a key: what the load inserted is known by who wrote it; of what has changed since, only the number."""
    inserted = 0
    for number, op, before in rows:
        if op == "d":
            yield Change(shape.no, (*before, f"image {number}"), RowClass.NEW, None, None, None, Op.INSERT, before)
        inserted += op == "i"
    for xid in xids:
        for values in map(values_of, lines_written(side, (xid,))):
            inserted -= 1
            key = (*values, f"row {inserted}")
            yield Change(shape.no, key, RowClass.LOST, values, values, xmin_of(xid), Op.DELETE)
    nothing: Texts = (None,) * len(shape.columns)
    for count in range(inserted):
        key = (*nothing, f"changed since {count}")
        yield Change(shape.no, key, RowClass.LOST, nothing, nothing, xmin_of(xids[0]), Op.DELETE)
