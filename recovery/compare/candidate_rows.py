"""Find the keys whose rows may differ between T and now. Two methods, one result: candidate rows.

Lineage reads transaction ids of the original and asks the copy which of them had committed by T; buckets compare
checksums of key ranges, one pass each side, then keys in the ranges that differ (sources: ROWS-buckets, ROWS-lineage).
A candidate that turns out equal costs a lookup and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import json_array
from recovery.model.repair_plan import DetectionMethod
from recovery.postgres.comparison.key_buckets import Buckets, bucket_sums, extent, keys_in
from recovery.postgres.comparison.row_lineage import Lineage, keys_written_by, writers_since
from recovery.postgres.comparison.table_scan import Field, Side, Values

MOSTLY_WRITTEN = 0.25  # of a table: beyond it (a repack, a rewrite) checksums are cheaper than lookups
WRITTEN_AT_LEAST = 10_000


@dataclass(frozen=True)
class Sides:
    """One table at T and now, and whether the scope is limited to some of its rows."""

    then: Side
    now: Side
    limited: bool = False


def find_candidate_rows(sides: Sides, lineage: Lineage | None, changes: ChangeSet, no: int) -> DetectionMethod:
    """Put the keys of all rows that may differ into `changes`; every row that does differ is among them."""
    if lineage is not None:
        written, total = writers_since(sides.now, lineage), extent(sides.now)[0]
        rows = sum(written.values())
        if rows <= max(WRITTEN_AT_LEAST, MOSTLY_WRITTEN * total):
            if written:
                changes.add_candidates(no, map(json_array, keys_written_by(sides.now, list(written))))
            # What was not written since is as at T: rows at T beyond those were changed or are gone.
            if sides.limited or extent(sides.then)[0] > total - rows:
                _compare_buckets(sides, changes, no, only_keys=True)
            return DetectionMethod.LINEAGE
    _compare_buckets(sides, changes, no, only_keys=False)
    return DetectionMethod.BUCKETS


def _compare_buckets(sides: Sides, changes: ChangeSet, no: int, *, only_keys: bool) -> None:
    buckets = Buckets.over((sides.then, sides.now))

    def read(ask: Callable[[Side], Iterator[Values]]) -> tuple[Iterator[Values], Iterator[Values]]:
        return ask(sides.then), ask(sides.now)

    def contents(side: Side) -> tuple[Field, ...]:
        return side.key if only_keys else side.fields

    sums = read(lambda side: bucket_sums(side, buckets, contents=contents(side)))
    dirty = list(_differing_buckets(*sums))
    if not dirty:
        return
    rows = read(lambda side: keys_in(side, buckets, dirty, contents=() if only_keys else side.fields))
    changes.add_candidates(no, _differing_keys(*rows))


def _differing_keys(left: Iterator[Values], right: Iterator[Values]) -> Iterator[str]:
    """Keys, as JSON, of rows that only one side has, or that differ, bucket by bucket."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        left_is_next = a is not None and (b is None or _number(a) <= _number(b))
        right_is_next = b is not None and (a is None or _number(b) <= _number(a))
        lines = (_lines(a) if left_is_next else set()) ^ (_lines(b) if right_is_next else set())
        yield from {line.partition(" ")[2] for line in lines}
        a, b = next(left, None) if left_is_next else a, next(right, None) if right_is_next else b


def _lines(bucket: Values | None) -> set[str]:
    return set((bucket[1] or "").split("\n")) if bucket else set()


def _number(bucket: Values) -> int:
    return int(bucket[0] or 0)


def _differing_buckets(left: Iterator[Values], right: Iterator[Values]) -> Iterator[int]:
    """Buckets of two ordered streams whose rows or checksums differ, or that only one side has."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        left_is_next = a is not None and (b is None or _number(a) <= _number(b))
        right_is_next = b is not None and (a is None or _number(b) <= _number(a))
        if not (left_is_next and right_is_next and a == b):
            first = a if left_is_next else b
            assert first
            yield _number(first)
        a, b = next(left, None) if left_is_next else a, next(right, None) if right_is_next else b
