"""Other sessions that write, lock and leave while rows are loaded; incidents that hide."""

from __future__ import annotations

import threading

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import OnConflict, RowClass
from tests.fix_lab import Database, wait_until
from tests.fix_repair import Past, xid_of
from tests.server.repair_attacks.attacks import reasons


def test_a_parent_that_leaves_during_the_load_leaves_no_orphan(past: Past, database: Database) -> None:
    """Where foreign keys are held back the server locks no parent: we do."""
    with (
        past(
            "create table r (id int primary key)",
            "create table a (id int primary key, b int, r int references r)",
            "create table b (id int primary key, a int references a)",
            "alter table a add foreign key (b) references b",
            "insert into r values (1)",
            "insert into a values (1, null, 1)",
            "insert into b values (1, 1)",
            "update a set b = id",
        ) as times,
        database.connect() as other,
    ):
        database.run("update a set b = null", "delete from b", "delete from a")
        times.diff("a", "b")
        other.execute("begin")
        other.execute("delete from r where id = 1")
        failed: list[RowbackError] = []

        def repair() -> None:
            try:
                times.apply()
            except RowbackError as error:
                failed.append(error)

        thread = threading.Thread(target=repair)
        thread.start()
        with database.connect() as boss:
            waits = "select 1 from pg_stat_activity where application_name = 'rowback' and wait_event_type = 'Lock'"
            wait_until(lambda: boss.execute(waits).fetchone(), "the load waits for the parent's table")
        other.execute("commit")
        thread.join(30)
        assert [error.id for error in failed] == [ErrorId.PLAN_FACTS_CHANGED], failed
        assert database.rows("select * from a") == []


def test_a_row_that_is_locked_by_another_session_is_waited_for(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, x int)", "insert into t values (1, 1)") as times:
        bad = xid_of(database.live, database, "update t set x = 0")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        with database.connect() as other:
            other.execute("begin")
            other.execute("select * from t for update")
            with pytest.raises(RowbackError) as refused:
                times.apply()
        assert refused.value.id is ErrorId.LOCK_NOT_GRANTED
        times.apply()
        assert database.rows("select x from t") == [(1,)]


def test_replace_never_touches_what_nobody_named(past: Past, database: Database) -> None:
    with past(
        "create table p (id int primary key, a int)",
        "create table c (id int primary key, p int references p on delete cascade, note text)",
        "insert into p values (1, 1), (2, 2)",
        "insert into c values (1, 1, 'old'), (2, 1, 'old')",
    ) as times:
        database.run("update c set p = 2, note = 'new' where id = 1", "delete from p where id = 1")
        times.diff("p", mode=Mode.REPLACE)
        times.apply()
        assert database.rows("select * from c order by id") == [(1, 2, "new"), (2, 1, "old")]


def test_replace_keeps_rows_that_undo_could_not_bring_back(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, a int)", "insert into t values (1, 1)") as times:
        database.run(
            "alter table t add note text", "insert into t values (3, 3, 'precious')", "update t set a = 9 where id = 1"
        )
        times.diff(mode=Mode.REPLACE)
        assert reasons(times) == {"its column note was added since T, so undo could not bring it back"}
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1, None), (3, 3, "precious")]


def test_a_column_made_anew_under_its_old_name_is_the_same_column(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, a int)", "insert into t values (1, 1), (2, 2)") as times:
        database.run(
            "alter table t add a2 bigint",
            "update t set a2 = a",
            "alter table t drop a",
            "alter table t rename a2 to a",
            "delete from t where id = 2",
        )
        times.diff()
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1), (2, 2)]


def test_good_writes_between_t_and_the_incident_are_conflicts(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, price int, title text)",
        "insert into t select g, g, 't' || g from generate_series(1, 5) g",
    ) as times:
        database.run("update t set price = 50 where id = 1")
        bad = xid_of(database.live, database, "update t set title = 'X'")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert [c.key for c in times.rows_of(RowClass.CONFLICT)] == [("1",)]
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,), on_conflict=OnConflict.MERGE)
        times.apply()
        assert database.rows("select price, title from t where id < 3 order by id") == [(50, "t1"), (2, "t2")]


def test_savepoints_of_the_incident_are_pointed_at(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, p int)", "insert into t select g, g from generate_series(1, 6) g"
    ) as times:
        bad = xid_of(
            database.live,
            database,
            "update t set p = 0 where id < 4",
            "savepoint s",
            "update t set p = -1 where id > 3",
            "release s",
        )
        plan = times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert plan.notices[0] == (
            f"3 rows of public.t carry transaction {bad + 1}, which wrote in the middle of another one: it may be a"
            f" savepoint of the incident (if it is: --incident-xid {bad + 1} as well)"
        )
        assert [(writer.xid, writer.rows) for writer in plan.possible_incident] == [(bad + 1, 3)]
        times.diff(mode=Mode.REPAIR, incident_xids=(bad, bad + 1))
        times.apply()
        assert database.rows("select id, p from t order by 1") == [(g, g) for g in range(1, 7)]
