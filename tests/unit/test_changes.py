"""The change set on disk: what goes in comes out, the digest sees every bit, trouble is told as trouble."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Change
from recovery.changeset.row_lines import DifferingRow
from recovery.compare.edited_csv import parse_decisions
from recovery.errors import ErrorId, RowbackError
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.oversized_values import MOST_BYTES

TABLE = TableName(schema_name="s", name="Weird; --")
ROW = Change(0, ("1",), RowClass.LOST, ("1", None, "\ud55c\n\t'"), None, None)


def filled(path: Path) -> ChangeSet:
    changes = ChangeSet(path)
    changes.add_table(TABLE, ["id"], ["id", "x", "y"])
    changes.add([ROW])
    return changes


def test_rows_come_back_as_they_were_and_only_once(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as changes:
        changes.add([ROW])
        changes.insert_lost(0)
    assert (tmp_path / "c.sqlite").stat().st_mode & 0o077 == 0
    with ChangeSet(tmp_path / "c.sqlite") as again:
        (found,) = again.changes(0)
        assert (found.op, found.want, found.target, found.n) == (Op.INSERT, ROW.target, ROW.target, 1)
        assert again.shapes()[0].table == TABLE
        assert again.find(0, ("1",)) == found
        assert again.find(0, ("2",)) is None


def test_the_digest_sees_every_decision(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as changes:
        before = changes.digest()
        changes.insert_lost(0)
        assert changes.digest() != before
        decided = changes.digest()
        changes.skip(7, [(1, "why")])
        assert changes.digest() == decided, "what was skipped later is no decision"
        assert changes.skipped(7) == {1: "why"}
        assert changes.skipped(8) == {}


def test_suspects_are_told_once_and_not_when_settled(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as changes:
        changes.add_candidates(0, ['["1"]', '["2"]', '["2"]', '["10"]'])
        (batch,) = changes.candidates(0)
        assert batch == (3, ['["2"]', '["10"]'])
        assert list(changes.candidates(0, after=3)) == []


def test_changed_rows_are_read_and_set_back_by_who_wrote_them(tmp_path: Path) -> None:
    """Also where a transaction behind savepoints has a hundred thousand ids."""
    with filled(tmp_path / "c.sqlite") as changes:
        rows = [DifferingRow(f'["{n}"]', f"{n}\told\t", f"{n}\tnew\t\\N", n) for n in range(2, 12)]
        changes.lines.add(0, rows)
        ours = {2, 5, 7, *range(100, 100_100)}
        (by,) = changes.lines.changed(0, [RowClass.CHANGED], by=ours)
        (but,) = changes.lines.changed(0, [RowClass.CHANGED], but=ours)
        assert [row.xmin for row in by] == [2, 5, 7]
        assert [row.xmin for row in but] == [3, 4, 6, 8, 9, 10, 11]
        assert by[0][2:] == (("2", "old", ""), ("2", "new", None))
        changes.lines.revert(0, ours)
        back = list(changes.changes(0, ops=[Op.UPDATE]))
        assert [(row.kind, row.xmin, row.want) for row in back] == [
            (RowClass.REVERTED, n, (str(n), "old", "")) for n in (2, 5, 7)
        ]


def test_a_full_disk_and_a_broken_file_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(RowbackError) as full, filled(tmp_path / "c.sqlite") as changes:
        changes._db.execute("pragma max_page_count = 8")  # SQLite itself runs out of room
        changes.add_candidates(0, (f'["{str(n) * 50}"]' for n in range(5000)))
    assert full.value.id is ErrorId.DISK_FULL
    assert full.value.fact.endswith("cannot be written: database or disk is full")
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RowbackError) as broken, ChangeSet(tmp_path / "broken.sqlite") as changes:
        changes.shapes()
    assert broken.value.id is ErrorId.PLAN_UNREADABLE
    assert isinstance(broken.value.__cause__, sqlite3.DatabaseError)


def test_the_largest_text_that_is_carried_fits_a_row_of_the_change_set(tmp_path: Path) -> None:
    """Twice as text, and twice in one row of SQLite."""
    with sqlite3.connect(tmp_path / "any") as db:
        assert db.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) > 4 * MOST_BYTES
    assert MOST_BYTES > 2 * 100 * 2**20


def test_a_csv_without_its_columns_names_the_line() -> None:
    with pytest.raises(RowbackError) as refused:
        parse_decisions("table,key\n")
    assert refused.value.fact == "the decisions cannot be used: line 1: the columns key, op, table are needed"
