"""Find the keys whose rows may differ between T and now. Two methods, one result: candidate rows.

Lineage reads transaction ids of the original and asks the copy which of them had committed by T; buckets compare
checksums of key ranges, one pass each side, then keys in the ranges that differ (sources: ROWS-buckets, ROWS-lineage).
A candidate that turns out equal costs a lookup and nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.column_mapping import ColumnMapping
from recovery.postgres.comparison.key_buckets import (
    KEYS_PER_WORD,
    Buckets,
    KeyBits,
    bucket_counts,
    bucket_sums,
    counted,
    extent,
    keys_in,
    widest,
)
from recovery.postgres.comparison.row_lineage import (
    Lineage,
    counted_by_writer,
    keys_and_buckets_written_by,
    writers_and_extent,
)
from recovery.postgres.comparison.table_scan import Extent, Side, Values
from recovery.postgres.connect import Session

MOSTLY_WRITTEN = 0.25  # of a table: beyond it (a repack, a rewrite) checksums are cheaper than lookups
WRITTEN_AT_LEAST = 10_000


@dataclass(frozen=True)
class Sides:
    """One table at T and now, and whether the scope is limited to some of its rows."""

    then: Side
    now: Side
    limited: bool = False

    @classmethod
    def of(cls, columns: ColumnMapping, copy: Session, original: Session) -> Sides:
        """Every row of the columns that are compared."""
        then, now = ((fields, tuple(fields[i] for i in columns.key)) for fields in (columns.then, columns.now))
        return cls(
            Side(copy, columns.at_target.name, then[1], then[0]),
            Side(original, columns.original.name, now[1], now[0]),
        )


@dataclass(frozen=True)
class WrittenSince:
    """Rows written since T, by transaction ids: xmin → rows; the buckets they are in; the extents of T and of now."""

    rows_by_xmin: Mapping[int, int]
    then: Extent
    now: Extent
    buckets: Buckets
    dirty: frozenset[int] = frozenset()

    def gone(self, matched: int) -> int:
        """Rows at T that are not there now, where `matched` of those written since were there at T.

        All others that are there now were not written since, and so were there at T.
        """
        return self.then[0] - (self.now[0] - sum(self.rows_by_xmin.values())) - matched


def find_candidate_rows(sides: Sides, lineage: Lineage | None, changes: ChangeSet, no: int) -> WrittenSince | None:
    """Put the keys of rows that may differ into `changes`.

    Returns None where they were compared by content: then every row that differs is among them. Otherwise they are
    those written since T, and `find_gone_rows` has to look for the others.
    """
    if lineage is None:
        counting = counted(sides.then)  # by the copy, while the original counts its own
        now, then = extent(sides.now), widest(counting)
    else:
        by_writer = counted_by_writer(sides.now)
        then = extent(sides.then)
        written, now = writers_and_extent(by_writer, lineage)
        if sum(written.values()) <= max(WRITTEN_AT_LEAST, MOSTLY_WRITTEN * now[0]):
            return _written(sides, WrittenSince(written, then, now, Buckets.over((then, now))), changes, no)
    _compare_buckets(sides, Buckets.over((then, now)), changes, no, only_keys=False)
    return None


def _written(sides: Sides, written: WrittenSince, changes: ChangeSet, no: int) -> WrittenSince:
    dirty = set[int]()

    def keys() -> Iterator[str]:
        for bucket, key in keys_and_buckets_written_by(sides.now, list(written.rows_by_xmin), written.buckets):
            dirty.add(bucket)
            yield key

    if written.rows_by_xmin:
        changes.add_candidates(no, keys())
    return replace(written, dirty=frozenset(dirty))


def find_gone_rows(sides: Sides, written: WrittenSince, changes: ChangeSet, no: int) -> GoneKeys | None:
    """Rows that are gone since T: their keys as bits, or among further candidates in `changes`."""
    if bits := KeyBits.over((sides.then, sides.now), (written.then, written.now)):
        # a key that only now has was written since, so it was among the candidates
        return GoneKeys.between(bits, bits.of(sides.then), bits.of(sides.now))
    buckets = written.buckets
    if sides.limited or len(written.dirty) > MOSTLY_WRITTEN * buckets.count:
        _compare_buckets(sides, buckets, changes, no, only_keys=True)
    else:
        # Every row of now that was not written since has its row at T: where as many are there, none is gone.
        counts = (bucket_counts(side, buckets) for side in (sides.then, sides.now))
        dirty = sorted(written.dirty.union(_differing_buckets(*counts)))
        _compare_keys(sides, buckets, dirty, changes, no, only_keys=True)
    return None


@dataclass(frozen=True)
class GoneKeys:
    """Integer keys that T has and now has not, kept as bits: two numbers for each 64 keys of which any is gone."""

    bits: KeyBits
    numbers: array[int]
    words: array[int]

    @classmethod
    def between(cls, bits: KeyBits, then: Iterator[Values], now: Iterator[Values]) -> GoneKeys:
        """Out of the bits of both sides."""
        gone = cls(bits, array("q"), array("Q"))
        for number, *words in _side_by_side(then, now):
            at_target, current = (int(word[1] or 0) if word else 0 for word in words)
            if missing := (at_target & ~current) % (1 << KEYS_PER_WORD):
                gone.numbers.append(number)
                gone.words.append(missing)
        return gone

    def batches(self, size: int) -> Iterator[list[str]]:
        """The keys in their order, each as a JSON array of texts, so many at a time."""
        words = zip(self.numbers, self.words, strict=True)
        keys = (f'["{key}"]' for number, word in words for key in self.bits.keys(number, word))
        while batch := list(islice(keys, size)):
            yield batch


def _compare_buckets(sides: Sides, buckets: Buckets, changes: ChangeSet, no: int, *, only_keys: bool) -> None:
    sums = (
        bucket_sums(side, buckets, contents=side.key if only_keys else side.fields) for side in (sides.then, sides.now)
    )
    then, now = sums
    _compare_keys(sides, buckets, list(_differing_buckets(then, now)), changes, no, only_keys=only_keys)


def _compare_keys(
    sides: Sides, buckets: Buckets, dirty: Sequence[int], changes: ChangeSet, no: int, *, only_keys: bool
) -> None:
    if dirty:
        rows = (
            keys_in(side, buckets, dirty, contents=() if only_keys else side.fields) for side in (sides.then, sides.now)
        )
        then, now = rows
        changes.add_candidates(no, _differing_keys(then, now))


def _differing_keys(left: Iterator[Values], right: Iterator[Values]) -> Iterator[str]:
    """Keys, as JSON, of rows that only one side has, or that differ, bucket by bucket."""
    for _, one, other in _side_by_side(left, right):
        yield from {line.partition(" ")[2] for line in _lines(one) ^ _lines(other)}


def _lines(bucket: Values | None) -> set[str]:
    return set((bucket[1] or "").split("\n")) if bucket else set()


def _differing_buckets(left: Iterator[Values], right: Iterator[Values]) -> Iterator[int]:
    """Buckets of two ordered streams whose rows or checksums differ, or that only one side has."""
    return (number for number, one, other in _side_by_side(left, right) if one != other)


def _side_by_side(
    left: Iterator[Values], right: Iterator[Values]
) -> Iterator[tuple[int, Values | None, Values | None]]:
    """(number, left, right) of two streams that are ordered by number; None where a side has none of it."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        number = min(int(each[0] or 0) for each in (a, b) if each is not None)
        one = a if a is not None and int(a[0] or 0) == number else None
        other = b if b is not None and int(b[0] or 0) == number else None
        yield number, one, other
        a, b = next(left, None) if one else a, next(right, None) if other else b
