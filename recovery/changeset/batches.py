"""Which rows each transaction of a paced load took: a table of the change set's file.

A batch is chosen, taken under the id of a transaction before its COMMIT, and forgotten when that did not commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from recovery.changeset.row_change import WANT
from recovery.model.row_class import Op

# A row that some batch skipped, `s`, and none wrote.
_NEVER_WRITTEN = """
skipped s join portion p on p.xid = s.xid and p.n = s.n where not exists (
  select 1 from portion o left join skipped f on f.xid = o.xid and f.n = o.n
  where o.n = s.n and o.xid <> 0 and f.n is null)
"""
CHOSEN = 0  # in place of a transaction id: the batch that is about to be loaded


class Selection(Enum):
    """Which planned rows a load stages and writes."""

    EVERYTHING = "everything"
    BATCH = "the batch that was selected"


@dataclass(frozen=True)
class Size:
    """What a batch may hold: rows, and bytes of their texts."""

    rows: int
    bytes: int = 2**62

    def less(self, chosen: Chosen) -> Size:
        """What is left of it."""
        return Size(self.rows - chosen.rows, self.bytes - chosen.bytes)


@dataclass(frozen=True)
class Chosen:
    """Rows of one table that were added to a batch: the greatest number, how many, and bytes of their texts."""

    last: int
    rows: int
    bytes: int


class Batches:
    """The batches of one change set."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def select_next(self, no: int, ops: Iterable[Op], size: Size, *, after: int = -1) -> Chosen | None:
        """Add the next rows of one table that belong to no batch yet to the chosen batch, in order of their numbers.

        `after`: only rows with a greater number. Adds as many as `size` allows, but at least one; returns None when no
        row is left.
        """
        op_letters = [op.value for op in ops]
        rows = self._db.execute(
            f"select n, coalesce(length({WANT}), 0) from change c where tab = ?"  # noqa: S608 (placeholders only)
            f" and n > ? and op in ({', '.join('?' * len(op_letters))})"
            " and not exists (select 1 from portion p where p.n = c.n) order by n limit ?",
            (no, after, *op_letters, size.rows),
        ).fetchall()
        size_bytes, chosen = 0, list[int]()
        for n, length in rows:
            if chosen and size.bytes < size_bytes + length:
                break
            size_bytes += length
            chosen.append(n)
        self._db.executemany("insert into portion values (?, ?)", ((CHOSEN, n) for n in chosen))
        return Chosen(chosen[-1], len(chosen), size_bytes) if chosen else None

    def select_skipped(self, *, but: Sequence[str]) -> int:
        """Choose what committed batches skipped for other reasons than `but`: what was in the way may be gone now."""
        excluded = ", ".join("?" * len(but))
        return self._db.execute(
            f"insert or ignore into portion select ?, s.n from {_NEVER_WRITTEN} and s.reason not in ({excluded})",  # noqa: S608 (placeholders only)
            (CHOSEN, *but),
        ).rowcount

    def writer_of(self, n: int) -> int | None:
        """The committed transaction that wrote a row, when one did."""
        row = self._db.execute(
            "select p.xid from portion p left join skipped s on s.xid = p.xid and s.n = p.n"
            " where p.n = ? and p.xid <> ? and s.n is null",
            (n, CHOSEN),
        ).fetchone()
        return int(row[0]) if row else None

    def claim(self, xid: int) -> None:
        """Note, durably, that transaction `xid` takes the chosen rows; call it before COMMIT."""
        self._db.execute("insert into portion select ?, n from portion where xid = ?", (xid, CHOSEN))
        self._db.commit()

    def retain_committed(self, committed: Iterable[int]) -> None:
        """Forget the chosen batch and all that were taken by transactions that did not commit."""
        self._db.execute("create temp table if not exists committed (xid integer primary key)")
        self._db.execute("delete from committed")
        self._db.executemany("insert into committed values (?)", ((xid,) for xid in committed))
        self._db.execute("delete from portion where xid not in (select xid from committed)")
        self._db.commit()

    def skipped(self) -> dict[int, str]:
        """Rows that no batch could write, with the reason."""
        return dict(self._db.execute(f"select s.n, s.reason from {_NEVER_WRITTEN}").fetchall())  # noqa: S608
