"""Keys that are newer than T: rows that they did not tell apart then are no rows that were never gone."""

from __future__ import annotations

import pytest

from recovery.errors import ErrorId, RowbackError
from tests.fix_lab import Database
from tests.fix_repair import Past

BESIDE = "mode beside"
HELD = (
    "create table x (k int, v text)",
    "insert into x select g, 'row ' || g from generate_series(10, 300) g",
)


@pytest.mark.parametrize("lineage", [True, False], ids=["by lineage", "by buckets"])
@pytest.mark.parametrize(
    ("more", "rows"),
    [("insert into x values (1, 'a'), (1, 'b')", "2 rows"), ("insert into x values (null, 'n')", "1 row")],
    ids=["twice", "null"],
)
def test_a_table_whose_rows_the_new_key_does_not_tell_apart_is_refused(
    past: Past, database: Database, more: str, rows: str, *, lineage: bool
) -> None:
    with past(*HELD, more) as times:
        database.run("delete from x where k is null or v in ('b', 'row 20')", "alter table x add primary key (k)")
        with pytest.raises(RowbackError) as refused:
            times.diff("x", lineage=lineage)
    assert refused.value.id is ErrorId.SCHEMA_DRIFT
    assert refused.value.fact == "the schema changed since T, so the rows at T are not found by their keys"
    assert refused.value.facts == (
        f"public.x: its key (k) is newer than T, where {rows} had none of their own (mode beside brings them)",
    )
    assert refused.value.help == BESIDE


def test_of_a_whole_database_it_is_named_and_the_others_come_back(past: Past, database: Database) -> None:
    with past(
        *HELD,
        "insert into x values (1, 'a'), (1, 'b')",
        "create table y (k int primary key)",
        "insert into y select g from generate_series(1, 50) g",
    ) as times:
        database.run("delete from x where v = 'b'", "alter table x add primary key (k)", "delete from y where k > 40")
        plan = times.diff()
        assert [line.partition(",")[0] for line in plan.unexamined] == ["public.x: its key (k) is newer than T"]
        times.apply()
        assert database.rows("select k from y order by 1") == [(k,) for k in range(1, 51)]
        assert database.rows("select count(*) from x where v = 'b'") == [(0,)]


def test_a_key_of_a_wider_type_is_the_same_key(past: Past, database: Database) -> None:
    with past(
        "create table x (k int primary key, v text)", "insert into x select g, g from generate_series(1, 90) g"
    ) as times:
        held = database.rows("select k, v from x order by 1")
        database.run("delete from x where k % 7 = 0", "alter table x alter k type bigint")
        times.diff("x")
        times.apply()
        assert database.rows("select k, v from x order by 1") == held


@pytest.mark.parametrize("lineage", [True, False], ids=["by lineage", "by buckets"])
def test_a_new_key_that_tells_them_apart_finds_them(past: Past, database: Database, *, lineage: bool) -> None:
    with past(*HELD) as times:
        held = database.rows("select k, v from x order by 1")
        database.run("delete from x where k % 7 = 0", "alter table x add primary key (k)")
        times.diff("x", lineage=lineage)
        times.apply()
        assert database.rows("select k, v from x order by 1") == held
