"""Checksums of the copy are read once; it stands still. Only whole answers are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import sql

from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import OnConflict, RowClass
from recovery.postgres.comparison.scan_cache import Remembered
from recovery.postgres.connect import connect
from tests.fix_lab import Database
from tests.fix_repair import Past, Times


def lost(times: Times) -> list[tuple[str | None, ...]]:
    return [change.key for change in times.rows_of(RowClass.LOST)]


@pytest.mark.parametrize("key", ["int", "text"])
def test_the_second_diff_asks_the_copy_for_no_checksums(
    past: Past, database: Database, tmp_path: Path, key: str
) -> None:
    with (
        past(
            f"create table t (id {key} primary key, body text)",
            "insert into t select g, md5(g::text) from generate_series(1, 5000) g",
        ) as times,
        Remembered(tmp_path / "sums.sqlite") as memory,
    ):
        database.run("delete from t where id::text = '77'", "insert into t values (5001, 'new')")
        times.diff(lineage=False, ask=memory.ask)
        assert lost(times) == [("77",)]
        # No copy changes by itself: what a checksum would show now must come from memory.
        times.then.run("update t set body = 'changed on the copy' where id::text = '4999'")
        database.run("delete from t where id::text = '78'")
        times.diff(lineage=False, ask=memory.ask, mode=Mode.MISSING, on_conflict=OnConflict.TAKE_T)
        assert sorted(lost(times)) == [("77",), ("78",)]
        times.diff(lineage=False, mode=Mode.REPLACE)
        assert [change.key for change in times.rows_of(RowClass.CHANGED)] == [("4999",)], "without memory it shows"


def test_an_answer_that_was_cut_short_is_asked_again(database: Database, tmp_path: Path) -> None:
    numbers = sql.SQL("select g from generate_series({}, 5) g").format(sql.Literal(1))
    with connect(database.target()) as session, Remembered(tmp_path / "sums.sqlite") as memory:
        rows = memory.ask(session, numbers)
        assert next(rows) == ("1",)
        session.close()  # the copy is gone in the middle of its answer
    with connect(database.target()) as session, Remembered(tmp_path / "sums.sqlite") as memory:
        assert list(memory.ask(session, numbers)) == [("1",), ("2",), ("3",), ("4",), ("5",)]
    with Remembered(tmp_path / "sums.sqlite") as memory, connect(database.target()) as session:
        session.close()
        assert list(memory.ask(session, numbers))[-1] == ("5",), "from memory: nobody is there to be asked"
