"""Read what a comparison will need of a copy whose blocks are still loaded from S3, before it is compared.

Each block of a restored volume is loaded when it is first touched, some tens of megabytes a second in one session
(sources: RDS-lazy). A comparison sees the original in one snapshot, and while that is held its server can remove no
dead rows: so the slow reading is done before, in several sessions, while the original holds nothing for it. What is
read here is thrown away; that it was read is all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count

from recovery.changeset.column_mapping import ColumnMapping
from recovery.compare.candidate_rows import MOSTLY_WRITTEN, WRITTEN_AT_LEAST, Sides
from recovery.compare.inquiry import Inquiry
from recovery.compare.map_tables import map_tables
from recovery.postgres.comparison.key_buckets import Buckets
from recovery.postgres.comparison.key_lookup import lines_by_key
from recovery.postgres.comparison.row_lineage import (
    Lineage,
    counted_by_writer,
    keys_and_buckets_written_by,
    lineage_of,
    writers_and_extent,
)
from recovery.postgres.comparison.whole_blocks import Piece, blocks, read_keys
from recovery.postgres.connect import Session
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.work_queue import WorkQueue

READERS = 4  # RDS's volumes answer several at once; more than the smallest class has of processors is no help
KEYS_AT_ONCE, MOST_KEYS = 1_000, 1_000_000


@dataclass(frozen=True)
class ReadAhead:
    """How a copy is read ahead. `connect`: opens another session on it. `say`: called with the percentage."""

    connect: Callable[[], AbstractContextManager[Session]]
    say: Callable[[str, float], None]


def read_ahead(original: Session, copy: Session, inquiry: Inquiry, reading: ReadAhead) -> None:
    """Read on the copy what comparing will touch there.

    The original is asked which rows were written since T, by statements of their own. Raises schema-drift as the
    comparison does.
    """
    then, now = read_catalog(copy), read_catalog(original)
    mapped, _ = map_tables(inquiry, then, now, copy)
    lineage = None if inquiry.boundary is None else lineage_of(original, copy, inquiry.boundary)
    pieces: list[Piece] = []
    for name, columns in mapped.items():
        whole = name in set(inquiry.filled) or not columns.key or lineage is None
        keys = None if whole or lineage is None else _keys_written(Sides.of(columns, copy, original), lineage)
        if keys is None:
            pieces += blocks(copy, columns.at_target.name)
        else:
            batches = (keys[begin : begin + KEYS_AT_ONCE] for begin in range(0, len(keys), KEYS_AT_ONCE))
            pieces += [partial(_look_up, columns=columns, keys=batch) for batch in batches]
        if columns.key:
            key = [columns.then[i] for i in columns.key]
            pieces.append(partial(read_keys, table=columns.at_target.name, key=key))
    if pieces:
        _perform(pieces, reading)


def _keys_written(sides: Sides, lineage: Lineage) -> list[str] | None:
    """Keys of the rows that were written since T; None where they are so many that all blocks are read instead."""
    counts = list(counted_by_writer(sides.now))  # to their end, before the copy is asked about them
    written, (rows, *_) = writers_and_extent(iter(counts), lineage)
    if sum(written.values()) > min(MOST_KEYS, max(WRITTEN_AT_LEAST, MOSTLY_WRITTEN * rows)):
        return None
    if not written:
        return []
    return [key for _, key in keys_and_buckets_written_by(sides.now, list(written), Buckets(1))]


def _look_up(session: Session, *, columns: ColumnMapping, keys: list[str]) -> None:
    for _ in lines_by_key(Sides.of(columns, session, session).then, keys):
        continue


def _perform(pieces: Sequence[Piece], reading: ReadAhead) -> None:
    """By several sessions at once. An error of one, or Ctrl-C, ends all."""
    began, done = time.monotonic(), count(1)
    with ExitStack() as opened:
        sessions = [opened.enter_context(reading.connect()) for _ in range(min(READERS, len(pieces)))]

        def perform(session: Session, *, piece: Piece) -> None:
            piece(session)
            reading.say(f"reading the copy ahead: {100 * next(done) // len(pieces)} %", time.monotonic() - began)

        queue = opened.enter_context(WorkQueue(sessions))
        for piece in pieces:
            queue.add(partial(perform, piece=piece))
        queue.wait()
