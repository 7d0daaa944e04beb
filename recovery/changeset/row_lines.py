"""Rows of a change set as lines: between servers and the file they need not become values.

A line is a row as COPY writes it (postgres/copy_line.py), a key a JSON array of texts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from recovery.changeset.row_change import OPS, WANT, Change, Texts, decoding, texts_of, values_or_none
from recovery.model.row_class import Op, RowClass
from recovery.postgres.copy_line import values_of

PAGE = 5_000
_LISTED = "select xmin from temp.writer where list = ?"
_WRITES = "op in ('insert', 'update', 'delete')"


class DifferingRow(NamedTuple):
    """One row that differs: its key, its lines at T and now, and the xmin it has now; None where it is not there."""

    key: str
    target: str | None
    original: str | None
    xmin: int | None

    @property
    def kind(self) -> RowClass:
        """What can be said of it before anybody asks who wrote it."""
        if self.original is None:
            return RowClass.LOST
        return RowClass.NEW if self.target is None else RowClass.CHANGED

    def change(self, no: int) -> Change:
        """The row of table `no` with its values."""
        return Change(
            no,
            texts_of(self.key) or (),
            self.kind,
            values_or_none(self.target),
            values_or_none(self.original),
            self.xmin,
        )


class ChangedRow(NamedTuple):
    """A row that is there at both times and differs: its number, the xmin it has now, its values at T and now."""

    n: int
    xmin: int
    target: Texts
    original: Texts


class PlannedLine(NamedTuple):
    """A row to be written: its number, what is to be done, the xmin it has now, its line.

    The line is of the values that it shall have, of one that leaves of those that it has.
    """

    n: int
    op: Op
    xmin: int | None
    line: str


class WrittenLine(NamedTuple):
    """A row that a transaction wrote: its key, its class, what was done, its lines at T, before and as it became."""

    key: str
    kind: str
    op: Op
    target: str | None
    original: str | None
    want: str | None


class RowLines:
    """The rows of one change set as lines."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lists: dict[frozenset[int], int] = {}

    def add(self, no: int, rows: Iterable[DifferingRow]) -> None:
        """Keep rows of one table; one that is there already stays as it is."""
        self._db.executemany(
            "insert or ignore into change (tab, key, kind, op, target, live, xmin) values (?, ?, ?, 'keep', ?, ?, ?)",
            ((no, row.key, row.kind, row.target, row.original, row.xmin) for row in rows),
        )

    def changed(
        self, no: int, kinds: Iterable[RowClass], *, by: Iterable[int] | None = None, but: Iterable[int] = ()
    ) -> Iterator[list[ChangedRow]]:
        """Rows of some classes that are there at both times, in the order they were found, some thousands at a time.

        `by`: the xmins that they have now; where None, all `but` those.
        """
        classes = ", ".join(f"'{kind.value}'" for kind in kinds)
        among = "xmin not in" if by is None else "xmin in"
        query = (
            "select n, xmin, target, live from change where n > ? and tab = ? and target is not null"  # noqa: S608 (constants)
            f" and live is not null and kind in ({classes}) and {among} ({_LISTED}) order by n limit ?"
        )
        for rows in self._pages(query, no, self._listed(but if by is None else by)):
            with decoding():
                yield [ChangedRow(n, int(xmin), values_of(target), values_of(live)) for n, xmin, target, live in rows]

    def revert(self, no: int, xmins: Iterable[int]) -> None:
        """Plan to give every changed row of a table that one of `xmins` wrote last the values that it had at T."""
        self._db.execute(
            "update change set kind = ?, op = 'update', instead = null"  # noqa: S608 (constants)
            f" where tab = ? and kind = ? and xmin in ({_LISTED})",
            (RowClass.REVERTED.value, no, RowClass.CHANGED.value, self._listed(xmins)),
        )

    def _listed(self, xmins: Iterable[int]) -> int:
        """The number of a list of transactions, written once: behind savepoints one has an id for each of them."""
        self._db.execute(
            "create temp table if not exists writer (list integer, xmin integer, primary key (list, xmin))"
            " without rowid"
        )
        listed = frozenset(xmins)
        if listed not in self._lists:
            number = self._lists[listed] = len(self._lists)
            self._db.executemany("insert into temp.writer values (?, ?)", ((number, xmin) for xmin in listed))
        return self._lists[listed]

    def planned(self, no: int) -> Iterator[PlannedLine]:
        """Every row of one table that is to be written, in the order they were found."""
        line = "case op when 'delete' then live else coalesce(instead, target) end"
        query = f"select n, op, xmin, {line} from change where n > ? and tab = ? and {_WRITES} order by n limit ?"  # noqa: S608 (constants)
        with decoding():
            for rows in self._pages(query, no):
                yield from (PlannedLine(n, OPS[op], xmin, line) for n, op, xmin, line in rows)

    def written(self, no: int, xid: int) -> Iterator[WrittenLine]:
        """The rows of one table that transaction `xid` wrote: of its batch, or of all that were planned."""
        # a batch may hold no row at all: of tables that are loaded whole nothing stands here
        paced = self._db.execute("select 1 from portion where xid <> 0 limit 1").fetchone()
        batch = "and n in (select n from portion where xid = :xid)" if paced else ""
        query = (
            f"select n, key, kind, op, target, live, {WANT} from change where n > ? and tab = ? and {_WRITES} {batch}"  # noqa: S608 (constants)
            " and n not in (select n from skipped where xid = :xid) order by n limit ?"
        ).replace(":xid", str(int(xid)))
        with decoding():
            for rows in self._pages(query, no):
                yield from (WrittenLine(key, kind, OPS[op], *lines) for _, key, kind, op, *lines in rows)

    def add_reversed(self, no: int, xmin: int, rows: Iterable[WrittenLine]) -> None:
        """Plan to take rows back that a transaction whose rows carry `xmin` wrote."""
        self._db.executemany(
            "insert or ignore into change (tab, key, kind, op, target, live, instead, xmin)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            ((no, row.key, row.kind, *_reversed(row, xmin)) for row in rows),
        )

    def _pages(self, query: str, *parameters: int) -> Iterator[list[Any]]:
        """Rows of a query by number, some thousands at a time: rows may be updated or added meanwhile."""
        last = -1
        while rows := self._db.execute(query, (last, *parameters, PAGE)).fetchall():
            yield rows
            last = rows[-1][0]


def _reversed(row: WrittenLine, xmin: int) -> tuple[str, str | None, str | None, str | None, int | None]:
    """(operation, target, live, instead, xmin) of what takes a row back."""
    match row.op:
        case Op.INSERT:
            return Op.DELETE.value, row.target, row.want, None, xmin
        case Op.DELETE:
            return Op.INSERT.value, row.target, None, row.original, None
        case _:
            return Op.UPDATE.value, row.target, row.want, row.original, xmin
