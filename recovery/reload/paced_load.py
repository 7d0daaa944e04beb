"""A paced load: row by row repairs in batches, each a short transaction of its own that proves itself.

Writers wait for one batch at most, replicas keep up, and WAL stays below a rate. The price against one transaction:
others see the rows come back batch by batch. The batches together are one write of the case: proven, undone and
resumed as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from recovery.changeset.batches import Batches, Selection, Size
from recovery.changeset.planned_account import not_deleted, set_aside
from recovery.model.load_order import load_order, with_referenced
from recovery.model.recovery_report import SequenceMove
from recovery.model.repair_plan import ImagesDigest
from recovery.model.row_class import Op
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import RowTransport
from recovery.postgres.staging.row_obstacles import CHANGED_SINCE, GONE_SINCE
from recovery.reload import load_refusals
from recovery.reload.load_job import BeforeImages, Job, Loaded, WrittenRows
from recovery.reload.load_transaction import load
from recovery.reload.wal_pace import WalPace

FIRST_ROWS, FEWEST_ROWS, MOST_ROWS, MOST_TABLES = 1_000, 100, 50_000, 40
LOCKED_S = 0.5  # a batch that held its locks longer was too large
BATCH_S = 1.0  # a batch writes at most what the rate allows in this time
PUT, LEAVE = (Op.INSERT, Op.UPDATE), (Op.DELETE,)


@dataclass(frozen=True)
class LoadListener:
    """Callbacks of a load: `before_commit` and `after_commit` of every batch."""

    before_commit: Callable[[Loaded], None]
    after_commit: Callable[[Loaded], None]


def load_paced(
    original: Session,
    job: Job,
    transport: RowTransport | None,
    pace: WalPace,
    *,
    earlier: Sequence[Loaded],
    watch: LoadListener,
) -> Loaded:
    """Load batch by batch what `earlier` batches have not. Raises as `load` does; what was committed stays so."""
    assert job.repair
    committed, throttle = list(earlier), Throttle(pace)
    changes = job.repair.changes
    job = replace(job, selection=Selection.BATCH)
    changes.batches.retain_committed(xid for batch in committed for xid in batch.xids)
    # what the tables loaded whole may need goes with them
    first = with_referenced(job.filled, job.catalog.foreign_keys) if not committed else set[TableName]()
    for fills in _choose(job, first, throttle):
        throttle.pace.begin()
        batch = load(
            original,
            job if fills else replace(job, fills=[]),
            transport if fills else None,
            before_commit=watch.before_commit,
        )
        watch.after_commit(batch)
        committed.append(batch)
        changes.batches.retain_committed(xid for each in committed for xid in each.xids)
        throttle.wait(batch)
    skipped = changes.batches.skipped()
    left = {"set_aside": set_aside(changes, skipped), "not_deleted": not_deleted(changes, skipped)}
    merged = merge(committed, skipped=len(skipped)).model_copy(update=left)
    load_refusals.refuse_nothing(sum(merged.touched.values()), skipped.values())
    return merged


def merge(batches: Sequence[Loaded], *, skipped: int) -> Loaded:
    """All batches as one write of the case, which left `skipped` planned rows as they are."""
    last = batches[-1]
    written: dict[str, WrittenRows] = {}
    touched: dict[str, int] = {}
    moves: dict[TableName, SequenceMove] = {}
    for batch in batches:
        for name, table_rows in batch.written.items():
            so_far = written.get(name, WrittenRows(inserted=0, updated=0, deleted=0))
            written[name] = WrittenRows(
                inserted=so_far.inserted + table_rows.inserted,
                updated=so_far.updated + table_rows.updated,
                deleted=so_far.deleted + table_rows.deleted,
            )
        for name, rows in batch.touched.items():
            touched[name] = touched.get(name, 0) + rows
        for move in batch.sequence_moves:
            first = moves.get(move.sequence, move)
            moves[move.sequence] = SequenceMove(sequence=move.sequence, before=first.before, after=move.after)
    return last.model_copy(
        update={
            "xids": tuple(xid for batch in batches for xid in batch.xids),
            "partial": False,
            "rows": {name: rows for batch in batches for name, rows in batch.rows.items()},
            "touched": touched,
            "sequence_moves": tuple(moves.values()),
            "foreign_keys_checked": max(batch.foreign_keys_checked for batch in batches),
            "seconds_locked": max(batch.seconds_locked for batch in batches),
            "written": written,
            "skipped": skipped,
            "large_objects": sum(batch.large_objects for batch in batches),
            "indexes_built": sum(batch.indexes_built for batch in batches),
            "images": _images(batches),
        }
    )


def _images(batches: Sequence[Loaded]) -> dict[str, BeforeImages]:
    """Of all batches: they share a table, and each recorded the digest of what it added."""
    images: dict[str, BeforeImages] = {}
    for batch in batches:
        for name, added in batch.images.items():
            before = images[name].digest if name in images else ImagesDigest()
            images[name] = BeforeImages(relation=added.relation, digest=before.plus(added.digest))
    return images


def _choose(job: Job, first: Collection[TableName], throttle: Throttle) -> Iterator[bool]:
    """Choose one batch after the other; says whether the whole tables are to be loaded with it.

    Parents before children, deletes after everything else and children first, and once more at the end what had to be
    skipped because it waited for a later batch.
    """
    assert job.repair
    changes = job.repair.changes
    numbers = {shape.table: shape.no for shape in changes.shapes()}
    order = [name for name in load_order([*job.filled, *numbers], job.catalog)[0] if name in numbers]
    if job.filled and first:
        for name in order:
            if name in first:
                changes.batches.select_next(numbers[name], PUT, Size(2**31))
        yield True
    for ops, names in ((PUT, order), (LEAVE, [*reversed(order)])):
        for _ in _fill(changes.batches, ops, [numbers[name] for name in names], throttle):
            yield False
    if changes.batches.select_skipped(but=(CHANGED_SINCE, GONE_SINCE)):
        yield False


def _fill(batches: Batches, ops: Collection[Op], tables: Sequence[int], throttle: Throttle) -> Iterator[None]:
    """Stop whenever a batch is full: of rows, or of tables, since each takes locks of its own."""
    room, holding = throttle.size, set[int]()
    for no in tables:
        after = -1
        while chosen := batches.select_next(no, ops, room, after=after):
            after, room = chosen.last, room.less(chosen)
            holding.add(no)
            if room.rows <= 0 or room.bytes <= 0 or len(holding) >= MOST_TABLES:
                yield
                room, holding = throttle.size, set()
    if holding:
        yield


class Throttle:
    """Sizes the batches and waits between them."""

    def __init__(self, pace: WalPace) -> None:
        self.pace, self.rows = pace, FIRST_ROWS

    @property
    def size(self) -> Size:
        """What the next batch may hold: rows by what the last one taught, bytes by the rate alone."""
        return Size(self.rows, int(self.pace.wal_bytes_per_s * BATCH_S))

    def wait(self, batch: Loaded) -> None:
        """Until the rate is kept and the replicas are near; then the next batch may come."""
        rows, wal_bytes = max(1, sum(batch.touched.values())), self.pace.keep()
        grown = self.rows * 2 if batch.seconds_locked < LOCKED_S else self.rows // 2
        by_rate = int(self.pace.wal_bytes_per_s * BATCH_S * rows / max(1, wal_bytes))
        self.rows = max(FEWEST_ROWS, min(MOST_ROWS, grown, by_rate))
