"""Rows that are to be deleted, and what others do with them between the comparison and the load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.account import Account
from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import RowClass
from tests.fix_lab import Database
from tests.fix_repair import Past, Times

TABLES = (
    "create table p (id int primary key, x int)",
    "create table c (id int primary key, p int references p)",
    "insert into p values (1, 1), (2, 2)",
)
WRITTEN = ("update p set x = 9 where id = 1", "insert into p values (5, 5), (6, 6)")
REFERENCED = "it is still referenced from public.c"


def account(times: Times) -> Account:
    """What the last load left, as a case adds it up."""
    done = times.done[-1]
    return Account(
        tables=tuple(
            table.account.without(done.set_aside.get(str(table.name), ()), done.not_deleted.get(str(table.name), ()))
            for table in times.plans[-1].tables
        )
    )


def staying(times: Times) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(each.reason, each.rows, each.keys) for table in account(times).tables for each in table.not_deleted]


def replace(times: Times) -> None:
    times.diff("p", mode=Mode.REPLACE)


@pytest.fixture
def times(past: Past, database: Database) -> Iterator[Times]:
    """Two rows of `p` were written since T, and one was changed; the plan sets all that back."""
    with past(*TABLES) as times:
        database.run(*WRITTEN)
        replace(times)
        yield times


def test_a_row_that_got_a_child_meanwhile_stays_and_is_counted(times: Times, database: Database) -> None:
    database.run("insert into c values (1, 5)")
    times.apply()
    assert database.rows("select * from p order by 1") == [(1, 1), (2, 2), (5, 5)]
    assert staying(times) == [(REFERENCED, 1, ("5",))]
    assert not account(times).complete


def test_a_row_that_others_changed_meanwhile_stays_and_is_counted(times: Times, database: Database) -> None:
    database.run("update p set x = 7 where id = 6")
    times.apply()
    assert database.rows("select * from p order by 1") == [(1, 1), (2, 2), (6, 7)]
    assert staying(times) == [("changed by others since it was read", 1, ("6",))]


def test_a_row_that_a_session_holds_stays_and_is_counted(times: Times, database: Database) -> None:
    with database.connect() as other, other.transaction():
        other.execute("insert into c values (1, 5)")
        times.apply()
    assert database.rows("select id from p order by 1") == [(1,), (2,), (5,)]
    assert staying(times) == [("another session holds it, and may be referencing it", 1, ("5",))]


def test_a_row_that_others_deleted_meanwhile_does_not_stay(times: Times, database: Database) -> None:
    database.run("delete from p where id = 6")
    times.apply()
    assert database.rows("select * from p order by 1") == [(1, 1), (2, 2)]
    assert times.skipped() == ["deleted by others since it was read"]
    assert account(times).complete


def test_batches_count_what_stays_as_well(times: Times, database: Database) -> None:
    database.run("insert into c values (1, 5)", "delete from p where id = 6")
    times.apply(rate=1 << 30)
    assert database.rows("select * from p order by 1") == [(1, 1), (2, 2), (5, 5)]
    assert staying(times) == [(REFERENCED, 1, ("5",))]


@pytest.mark.parametrize(
    ("meanwhile", "line"),
    [
        ("insert into c values (1, 5)", f"public.p  1 row not deleted: {REFERENCED}"),
        ("update p set x = 8 where id = 1", "public.p  1 row not back: changed by others since it was read"),
    ],
)
def test_all_or_nothing_holds_for_what_happens_meanwhile(
    times: Times, database: Database, meanwhile: str, line: str
) -> None:
    database.run(meanwhile)
    before = database.rows("select * from p order by 1")
    with pytest.raises(RowbackError) as refused:
        times.apply(all_or_nothing=True)
    assert refused.value.id is ErrorId.LOAD_REFUSED
    assert refused.value.facts == (line,)
    assert database.rows("select * from p order by 1") == before


def test_all_or_nothing_is_not_kept_from_rows_that_are_gone(times: Times, database: Database) -> None:
    database.run("delete from p where id = 6")
    times.apply(all_or_nothing=True)
    assert database.rows("select * from p order by 1") == [(1, 1), (2, 2)]


KEYLESS = "create table l (a int, b text)"


def test_rows_without_a_key_that_others_changed_meanwhile_are_counted(past: Past, database: Database) -> None:
    with past(KEYLESS, "insert into l values (1, 'x'), (1, 'x')") as times:
        database.run("insert into l values (2, 'y'), (2, 'y'), (3, 'z')")
        times.diff(mode=Mode.REPLACE)
        database.run("update l set b = 'Y' where ctid = (select min(ctid) from l where a = 2)")
        times.apply()
        assert database.rows("select * from l order by 1, 2") == [(1, "x"), (1, "x"), (2, "Y")]
        ((reason, rows, _),) = staying(times)
        assert (reason, rows) == ("changed by others since it was read", 1)


def test_no_old_version_comes_back_beside_one_that_others_changed(past: Past, database: Database) -> None:
    """Without a key nothing tells which new row is whose old one."""
    with past(KEYLESS, "insert into l values (1, 'x'), (2, 'y')") as times:
        database.run("update l set b = 'bad' where a = 1", "insert into l values (3, 'z')")
        times.diff(mode=Mode.REPLACE)
        database.run("update l set b = 'worse' where a = 1")
        times.apply()
        assert database.rows("select * from l order by 1, 2") == [(1, "worse"), (2, "y")]
        old = "its table has no key, and it may be an old version of a row that was changed since it was read"
        assert sorted(times.skipped()) == ["changed by others since it was read", old]
        assert not account(times).complete


def test_no_old_version_comes_back_where_new_rows_cannot_leave(past: Past, database: Database) -> None:
    with past(KEYLESS, "insert into l values (1, 'x'), (2, 'y')") as times:
        database.run("alter table l add column c int", "update l set b = 'bad' where a = 1")
        plan = times.diff(mode=Mode.REPLACE)
        assert plan.writes == 0
        assert [each.rows for each in plan.tables[0].account.blocked] == [1]
        assert [each.rows for each in plan.tables[0].account.not_deleted] == [1]


def test_a_table_without_a_key_becomes_what_it_was(past: Past, database: Database) -> None:
    """Lost, changed and new rows, and more equal rows than T had, written by several transactions; and an undo."""
    with past(
        KEYLESS,
        "insert into l values (1, 'x'), (1, 'x'), (4, null)",
        "insert into l values (1, 'x'), (8, 'q'), (null, null)",
    ) as times:
        held = database.rows("select ctid::text, * from l where a = 1 order by 1")
        everything = database.rows("select * from l order by 1, 2")
        database.run(
            "insert into l values (2, 'y'), (2, 'y'), (3, null)",
            "insert into l values (1, 'x')",
            "insert into l values (1, 'x'), (1, 'x'), (null, null)",
            "delete from l where a = 4",
            "update l set b = 'r' where a = 8",
        )
        damaged = database.rows("select * from l order by 1, 2")
        assert times.diff(mode=Mode.REPLACE).tables[0].loses == 8
        times.apply()
        assert database.rows("select * from l order by 1, 2") == everything
        assert database.rows("select ctid::text, * from l where a = 1 order by 1") == held
        assert account(times).complete
        times.undo()
        assert database.rows("select * from l order by 1, 2") == damaged


def test_an_undo_does_not_count_rows_that_others_deleted_as_staying(past: Past, database: Database) -> None:
    with past(*TABLES, "insert into p select g, g from generate_series(10, 19) g") as times:
        database.run("delete from p where id >= 10")
        times.diff(mode=Mode.MISSING)
        times.apply()
        database.run("delete from p where id = 10", "update p set x = 0 where id = 11")
        times.undo()
        assert database.rows("select * from p order by 1") == [(1, 1), (2, 2), (11, 0)]
        assert times.plans[-1].tables[0].count(RowClass.BLOCKED) == 1
        assert times.plans[-1].tables[0].count(RowClass.GONE) == 1
        assert [each.rows for each in times.plans[-1].tables[0].account.blocked] == [1]
