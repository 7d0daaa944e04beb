"""The change set of a diff: every differing row with its values on both sides, in one SQLite file of the case.

Rows live on disk, never in a list, so memory stays flat. The file is also the before-image outside the database:
`original` is each row as it was before the repair, and `apply` writes only rows that still are exactly so.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from recovery.changeset.batches import Batches
from recovery.changeset.row_change import (
    WANT,
    Change,
    Shape,
    Texts,
    as_json,
    change_of,
    decoding,
    line_instead,
    names_of,
    row_of,
)
from recovery.changeset.row_lines import RowLines
from recovery.changeset.row_outcomes import RowOutcomes
from recovery.errors import ErrorId, RowbackError
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName

BATCH = 5_000
CACHE_KIB = 16 * 1024  # of the file in memory: its indexes are entered in no order
WRITES = (Op.INSERT, Op.UPDATE, Op.DELETE)

_FORMAT = 2  # of the file; in 1, up to 0.2, rows were JSON arrays
_SCHEMA = f"""
pragma page_size = 8192;
pragma user_version = {_FORMAT};
create table tab (no integer primary key, schema text, name text, key text, columns text);
create table suspect (n integer primary key, tab integer, key text, unique (tab, key));
create table change (
  n integer primary key, tab integer not null, key text not null, kind text not null, op text not null,
  target text, live text, instead text, xmin integer, reason text, unique (tab, key)
);
create index suspect_page on suspect (tab);
create index change_page on change (tab);
create index change_reused on change (tab) where kind = 'reused key';
create table likeness (mark text primary key) without rowid;
create table skipped (xid integer, n integer, reason text, primary key (xid, n)) without rowid;
create table portion (xid integer, n integer, primary key (xid, n)) without rowid;
create index portion_n on portion (n);
"""
_KEPT = "n, tab, key, kind, op, target, live, instead, xmin, reason"  # instead: where a row shall not be as at T
_COLUMNS = _KEPT.replace("instead", WANT)


class ChangeSet:
    """A change set on disk. Readable by its owner only; use as a context manager."""

    def __init__(self, path: Path) -> None:
        fresh = not path.exists()
        path.touch(mode=0o600)
        self.path = path
        self._db = sqlite3.connect(path)
        self.batches = Batches(self._db)
        self.outcomes = RowOutcomes(self._db)
        self.lines = RowLines(self._db)
        self._tallies: dict[int, tuple[int, dict[tuple[RowClass, Op], int]]] = {}
        if fresh:
            self._db.executescript(_SCHEMA)

    def __enter__(self) -> ChangeSet:
        """Raises plan-unreadable for a file that another version of rowback wrote."""
        try:
            self._db.execute(f"pragma cache_size = -{CACHE_KIB}")
            (written_as,) = self._db.execute("pragma user_version").fetchone()
            if written_as != _FORMAT:
                raise sqlite3.DataError("another version of rowback wrote it")
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was written; SQLite's own troubles leave as disk-full or plan-unreadable."""
        try:
            if error is None:
                self._db.commit()
        except sqlite3.Error as at_commit:
            raise self._unusable(at_commit) from at_commit
        finally:
            self._db.close()
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):  # a text in it that is none
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error | UnicodeDecodeError) -> RowbackError:
        full = "full" in str(error)
        return RowbackError(
            ErrorId.DISK_FULL if full else ErrorId.PLAN_UNREADABLE,
            f"the change set {self.path} cannot be {'written' if full else 'used'}: {error}",
            state="nothing was written to the original",
            help="free space there; the next try begins the comparison anew"
            if full
            else "compare again: rowback diff CASE --again",
        )

    def add_table(self, table: TableName, key: Iterable[str], columns: Iterable[str]) -> Shape:
        """A new table; its number follows the order of adding."""
        shape = Shape(len(self.shapes()), table, tuple(key), tuple(columns))
        self._db.execute(
            "insert into tab values (?, ?, ?, ?, ?)",
            (shape.no, table.schema_name, table.name, as_json(shape.key), as_json(shape.columns)),
        )
        return shape

    def shapes(self) -> list[Shape]:
        """All tables in the order they were added."""
        rows = self._db.execute("select no, schema, name, key, columns from tab order by no")
        with decoding():
            return [
                Shape(int(no), TableName(schema_name=schema, name=name), names_of(key), names_of(columns))
                for no, schema, name, key, columns in rows
            ]

    def add_candidates(self, no: int, keys: Iterable[str]) -> None:
        """Remember keys, each a JSON array of texts, to be looked up on both sides; a key is remembered once."""
        self._db.executemany("insert or ignore into suspect (tab, key) values (?, ?)", ((no, key) for key in keys))

    def candidates(self, no: int, *, after: int = -1) -> Iterator[tuple[int, list[str]]]:
        """The remembered keys of one table in batches, as they came, without those that are settled already.

        With each batch a number, to go on behind it when more were added.
        """
        query = (
            "select n, key from suspect s where tab = ? and n > ? and not exists"
            " (select 1 from change c where c.tab = s.tab and c.key = s.key) order by n limit ?"
        )
        last = after
        while rows := self._db.execute(query, (no, last, BATCH)).fetchall():
            last = rows[-1][0]
            yield last, [key for _, key in rows]

    def add(self, changes: Iterable[Change]) -> None:
        """Keep rows; one that is there already stays as it is."""
        self._db.executemany(
            f"insert or ignore into change ({_KEPT}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (row_of(change) for change in changes),
        )

    def find(self, no: int, key: Texts) -> Change | None:
        """The row with this key, when it differs."""
        query = f"select {_COLUMNS} from change where tab = ? and key = ?"  # noqa: S608 (constants)
        row = self._db.execute(query, (no, as_json(key))).fetchone()
        return change_of(row) if row else None

    def update(self, changes: Iterable[Change]) -> None:
        """Write the verdict on rows that are kept already, found by their number."""
        self._db.executemany(
            "update change set kind = ?, op = ?, instead = ?, reason = ? where n = ?",
            ((c.kind.value, c.op.value, line_instead(c), c.reason, c.n) for c in changes),
        )

    def changes(
        self,
        no: int | None = None,
        *,
        kinds: Iterable[RowClass] = (),
        ops: Iterable[Op] = (),
        limit: int | None = None,
        after: int = -1,
        batch: int | None = None,
    ) -> Iterator[Change]:
        """Rows in the order they were found: of one table, some classes, some operations; behind number `after`.

        Of the batch that one transaction took.

        Rows may be updated or added meanwhile.
        """
        parameters: list[str | int] = [value for value in (no, batch) if value is not None]
        where = [] if no is None else ["tab = ?"]
        where += [] if batch is None else ["n in (select n from portion where xid = ?)"]
        for column, allowed in (("kind", [kind.value for kind in kinds]), ("op", [op.value for op in ops])):
            if allowed:
                where.append(f"{column} in ({', '.join('?' * len(allowed))})")
                parameters += allowed
        return self._select(" and ".join(where) or "true", parameters, after=after, limit=limit)

    def _select(
        self, where: str, parameters: Sequence[str | int], *, after: int = -1, limit: int | None = None
    ) -> Iterator[Change]:
        query = f"select {_COLUMNS} from change where n > ? and {where} order by n limit ?"  # noqa: S608
        last, remaining = after, limit if limit is not None else 2**62
        while remaining and (rows := self._db.execute(query, (last, *parameters, min(remaining, BATCH))).fetchall()):
            yield from map(change_of, rows)
            last, remaining = rows[-1][0], remaining - len(rows)

    def note_new(self, marks: Iterable[str]) -> None:
        """Remember by what rows written since T could be recognized as moved ones."""
        self._db.executemany("insert or ignore into likeness values (?)", ((mark,) for mark in marks))

    def noted(self, mark: str) -> bool:
        """Whether a row written since T bears this mark."""
        return self._db.execute("select 1 from likeness where mark = ?", (mark,)).fetchone() is not None

    def notes_nothing(self) -> bool:
        """Whether no row written since T bears any mark."""
        return self._db.execute("select 1 from likeness limit 1").fetchone() is None

    def insert_lost(self, no: int) -> None:
        """Plan to put every lost row of a table back as it was at T."""
        self._db.execute(
            "update change set op = 'insert', instead = null where tab = ? and kind = ?", (no, RowClass.LOST.value)
        )

    def delete_new(self, no: int) -> None:
        """Plan to delete every row of a table that did not exist at T."""
        self._db.execute("update change set op = 'delete' where tab = ? and kind = ?", (no, RowClass.NEW.value))

    def tally(self, no: int) -> dict[tuple[RowClass, Op], int]:
        """Rows of one table by class and operation."""
        written = self._db.total_changes
        if no not in self._tallies or self._tallies[no][0] != written:
            rows = self._db.execute("select kind, op, count(*) from change where tab = ? group by 1, 2", (no,))
            with decoding():
                self._tallies[no] = (written, {(RowClass(kind), Op(op)): count for kind, op, count in rows})
        return dict(self._tallies[no][1])

    def forget(self, no: int) -> None:
        """Drop what was found of one table; its number stays taken."""
        for table in ("suspect", "change"):
            self._db.execute(f"delete from {table} where tab = ?", (no,))  # noqa: S608 (constants)

    def clear(self) -> None:
        """Forget everything: the comparison begins anew."""
        for table in ("tab", "suspect", "change", "likeness", "skipped", "portion"):
            self._db.execute(f"delete from {table}")  # noqa: S608 (constants)

    def classes(self, no: int) -> dict[RowClass, int]:
        """Rows of one table by class."""
        counts: Counter[RowClass] = Counter()
        for (kind, _), count in self.tally(no).items():
            counts[kind] += count
        return dict(counts)

    def planned(self, no: int) -> dict[Op, int]:
        """Rows of one table by operation, each operation named."""
        counts: Counter[Op] = Counter(dict.fromkeys(Op, 0))
        for (_, op), count in self.tally(no).items():
            counts[op] += count
        return dict(counts)

    def bytes_wanted(self, no: int) -> int:
        """The size of all rows to be written, as text."""
        query = f"select coalesce(sum(length({WANT})), 0) from change where tab = ?"  # noqa: S608 (constants)
        row = self._db.execute(query, (no,)).fetchone()
        return int(row[0])

    def without_target(self, no: int) -> int:
        """Rows that did not exist at T."""
        row = self._db.execute("select count(*) from change where tab = ? and target is null", (no,)).fetchone()
        return int(row[0])

    def skip(self, xid: int, skipped: Iterable[tuple[int, str]]) -> None:
        """Note, durably, which rows transaction `xid` will leave as they are."""
        self._db.executemany("insert or replace into skipped values (?, ?, ?)", ((xid, n, why) for n, why in skipped))
        self._db.commit()

    def standing(self, no: int) -> Iterator[Change]:
        """Rows of one table that are not chosen and that no child must be given to.

        Their key names another entity, or an earlier batch could not write them.
        """
        return self._select(
            "tab = ? and n not in (select n from portion where xid = 0) and n in"
            " (select n from change where tab = ? and kind = 'reused key'"
            " union select s.n from skipped s join portion p on p.xid = s.xid and p.n = s.n)"
            " and op in ('insert', 'keep')"
            # what was skipped once may have been written at the second try
            " and not exists (select 1 from portion p left join skipped s on s.xid = p.xid and s.n = p.n"
            " where p.n = change.n and s.n is null)",
            [no, no],
        )

    def skipped(self, xid: int) -> dict[int, str]:
        """Rows that transaction `xid` left as they were, with the reason."""
        return dict(self._db.execute("select n, reason from skipped where xid = ? order by n", (xid,)).fetchall())

    def digest(self) -> str:
        """sha256 over every row and every decision."""
        self._db.commit()
        hashed = hashlib.sha256()
        for query in ("select * from tab order by no", f"select {_KEPT} from change order by n"):  # noqa: S608 (constants)
            for row in self._db.execute(query):
                hashed.update(ascii(row).encode() + b"\n")
        return hashed.hexdigest()
