"""Tables without a key: how often each row occurs at T and now.

Which of several equal rows is meant makes no difference to what a table holds, so they are counted, in the order of
their checksums, one pass each side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from recovery.changeset.row_change import Change, Texts
from recovery.compare.candidate_rows import Sides
from recovery.model.row_class import RowClass
from recovery.postgres.comparison.table_scan import Values, whole_rows


def compare_whole_rows(sides: Sides, no: int) -> Iterator[Change]:
    """A table without a key: rows are equal when all values are; how often each occurs on either side is compared."""
    then, now = (_counted(whole_rows(side)) for side in (sides.then, sides.now))
    return _surplus(then, now, no)


@dataclass(frozen=True)
class _Run:
    """Equal rows of one side, in the order of their checksums. `xmins`: how many of them each transaction wrote."""

    checksum: str
    values: Texts
    xmins: Counter[int]

    @property
    def rows(self) -> int:
        return self.xmins.total()

    @property
    def latest_first(self) -> Iterator[int]:
        """The xmin of each row, so that of equal ones those that were there at T stay."""
        return (xmin for xmin, rows in sorted(self.xmins.items(), reverse=True) for _ in range(rows))


def _counted(rows: Iterator[Values]) -> Iterator[_Run]:
    """Each run of equal rows in an ordered stream."""
    current: _Run | None = None
    for xmin, checksum, *values in rows:
        if current and current.checksum == checksum:
            current.xmins[int(xmin or 0)] += 1
        else:
            if current:
                yield current
            current = _Run(checksum or "", tuple(values), Counter([int(xmin or 0)]))
    if current:
        yield current


def _surplus(then: Iterator[_Run], now: Iterator[_Run], no: int) -> Iterator[Change]:
    a, b = next(then, None), next(now, None)
    while a or b:
        if a and (not b or a.checksum < b.checksum):
            yield from _more(a, a.rows, 0, no)
            a = next(then, None)
        elif b and (not a or b.checksum < a.checksum):
            yield from _more(b, 0, b.rows, no)
            b = next(now, None)
        else:
            assert a
            assert b
            yield from _more(b, a.rows, b.rows, no)
            a, b = next(then, None), next(now, None)


def _more(run: _Run, at_target: int, original: int, no: int) -> Iterator[Change]:
    for number in range(original, at_target):
        yield Change(no, (*run.values, str(number)), RowClass.LOST, run.values, None, None)
    for number, xmin in zip(range(at_target, original), run.latest_first, strict=False):
        yield Change(no, (*run.values, str(number)), RowClass.NEW, None, run.values, xmin)
