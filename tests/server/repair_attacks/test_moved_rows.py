"""Rows that moved or were swapped, and an undo under sessions that hold a parent."""

from __future__ import annotations

import threading

import pytest

from recovery.errors import RowbackError
from recovery.model.row_class import RowClass
from tests.fix_lab import Database, wait_until
from tests.fix_repair import Past, xid_of
from tests.server.repair_attacks.attacks import reasons


def test_rows_outside_their_partitions_new_bounds_are_left_and_told(past: Past, database: Database) -> None:
    with past(
        "create table p (id int, k int, primary key (id, k)) partition by list (k)",
        "create table d partition of p default",
        "insert into p values (1, 1), (2, 2)",
    ) as times:
        database.run("delete from p", "create table p1 partition of p for values in (1)", "insert into p values (9, 1)")
        times.diff()
        assert reasons(times) == {"it violates the bounds of its partition"}
        times.apply()
        assert database.rows("select tableoid::regclass::text, id from p order by 2") == [("d", 2), ("p1", 9)]


def test_an_identity_column_added_since_is_filled_by_the_server(past: Past, database: Database) -> None:
    with past("create table t (id int primary key)", "insert into t values (1), (2)") as times:
        database.run("alter table t add seq int generated always as identity", "delete from t where id = 2")
        times.diff()
        times.apply()
        assert database.rows("select id, seq is not null from t order by 1") == [(1, True), (2, True)]


MOVED = "a row written since T agrees with it in all but its key or partition: it may have moved there"


def test_rows_that_moved_to_another_partition_are_not_doubled(past: Past, database: Database) -> None:
    with past(
        "create table o (id int, status text, note text, primary key (id, status)) partition by list (status)",
        "create table o_open partition of o for values in ('open')",
        "create table o_done partition of o for values in ('done')",
        "insert into o select g, 'open', 'n' || g from generate_series(1, 5) g",
    ) as times:
        database.run("update o set status = 'done' where id = 1", "delete from o where id = 5")
        times.diff()
        assert reasons(times) == {MOVED}
        times.apply()
        assert database.rows("select id, status from o order by 1, 2") == [
            (1, "done"),
            (2, "open"),
            (3, "open"),
            (4, "open"),
            (5, "open"),
        ]


def test_rows_whose_natural_key_changed_are_not_doubled(past: Past, database: Database) -> None:
    with past(
        "create table t (sku text primary key, title text, price int)",
        "insert into t values ('A', 'chair', 5), ('B', 'table', 7)",
    ) as times:
        database.run("update t set sku = 'A2' where sku = 'A'", "delete from t where sku = 'B'")
        times.diff()
        assert {(change.key, change.reason) for change in times.rows_of(RowClass.BLOCKED)} == {(("A",), MOVED)}
        times.apply()
        assert database.rows("select sku from t order by 1") == [("A2",), ("B",)]


def test_children_without_a_key_are_told_and_a_parent_without_one_breaks_nothing(
    past: Past, database: Database
) -> None:
    with past(
        "create table a (id int primary key, code int unique)",
        "create table notes (a_id int references a on delete cascade, body text)",
        "create table labels (id int primary key, a_code int references a (code) on delete set null)",
        "create table bare (code int unique, body text)",
        "create table uses (id int primary key, code int references bare (code) on delete cascade)",
        "insert into a values (1, 10), (2, 20)",
        "insert into notes values (1, 'x'), (1, 'x'), (2, 'y')",
        "insert into labels values (1, 10)",
        "insert into bare values (1, 'p'), (null, 'q')",
        "insert into uses values (7, 1)",
    ) as times:
        database.run("delete from a where id = 1")
        plan = times.diff("public.a")
        told = "rows of public.notes that lost rows lead to were not looked for: it has no key; name it too"
        assert told in plan.notices
        times.apply()
        assert database.rows("select * from a order by 1") == [(1, 10), (2, 20)]
        assert database.rows("select * from notes") == [(2, "y")]
        database.run("delete from bare where code = 1")
        plan = times.diff("public.uses")
        told = "rows of public.bare that lost rows lead to were not looked for: it has no key; name it too"
        assert told in plan.notices
        assert [change.reason for change in times.rows_of(RowClass.BLOCKED)] == [
            "its parent in public.bare does not exist (uses_code_fkey)"
        ]


def test_a_table_that_was_swapped_for_another_is_not_compared_with_it(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')") as times:
        database.run(
            "alter table t rename to t_old",
            "alter index t_pkey rename to t_old_pkey",
            "create table t (id int primary key, x text)",
            "insert into t values (1, 'other')",
            "delete from t_old where id = 2",
        )
        with pytest.raises(RowbackError) as refused:
            times.diff("public.t")
        assert "public.t: the table did not exist at T" in str(refused.value)
        times.diff("public.t_old")
        times.apply()
        assert database.rows("select * from t_old order by 1") == [(1, "a"), (2, "b")]
        assert database.rows("select * from t") == [(1, "other")]


def test_rows_without_a_key_that_moved_to_another_partition_are_not_doubled(past: Past, database: Database) -> None:
    with past(
        "create table m (k int, body text, more int) partition by list (k)",
        "create table m1 partition of m for values in (1)",
        "create table m2 partition of m for values in (2)",
        "insert into m values (1, 'moves', 1), (1, 'goes', 2)",
    ) as times:
        database.run("update m set k = 2 where body = 'moves'", "delete from m where body = 'goes'")
        times.diff()
        assert [c.target for c in times.rows_of(RowClass.BLOCKED)] == [("1", "moves", "1")]
        times.apply()
        assert database.rows("select * from m order by body") == [(1, "goes", 2), (2, "moves", 1)]


def test_a_decision_left_as_it_stood_stays_a_merge(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, a text, b text)", "insert into t values (1, 'a', 'b'), (2, 'a', 'b')"
    ) as times:
        xid = xid_of(database.live, database, "update t set a = 'BAD'")
        database.run("update t set b = 'good' where id = 1")
        times.diff(mode="repair", incident_xids=(xid,), on_conflict="merge")
        text = 'table,key,op\npublic.t,"{""id"": ""1""}",update\n'
        times.diff(mode="repair", incident_xids=(xid,), on_conflict="merge", decisions_text=text)
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, "a", "good"), (2, "a", "b")]


def test_a_table_that_only_stands_in_the_way_is_not_written(past: Past, database: Database) -> None:
    """Its row names another entity now: it is looked at, and its triggers are none of our business."""
    with past(
        "create table a (id serial primary key, email text unique, x text, y text)",
        "create table b (id int primary key, a_id int references a)",
        "create function touch() returns trigger language plpgsql as $$ begin new.x := 'touched'; return new; end $$",
        "create trigger touch before update on a for each row execute function touch()",
        "insert into a (email, x, y) values ('one', 'x', 'y'), ('two', 'x', 'y')",
        "insert into b values (1, 1), (2, 2), (3, null)",
    ) as times:
        database.run(
            "delete from b",
            "delete from a where id = 2",
            "insert into a (id, email, x, y) values (2, 'stranger', 'p', 'q')",
        )
        times.diff()
        assert [change.key for change in times.rows_of(RowClass.REUSED)] == [("2",)]
        times.apply()
        assert database.rows("select * from b order by 1") == [(1, 1), (3, None)]
        assert database.rows("select email from a where id = 2") == [("stranger",)]


def test_undo_moves_children_away_before_it_deletes_their_parent(past: Past, database: Database) -> None:
    """The key of the parent that goes is wanted by the one that comes back."""
    with past(
        "create table a (id int primary key, code text unique)",
        "create table b (id int primary key, a_id int references a on delete set null, note text)",
        "insert into a values (1, 'c1')",
        "insert into b values (1, 1, 'n')",
    ) as times:
        database.run("delete from a", "insert into a values (2, 'c1')")
        after = [database.rows("select * from a"), database.rows("select * from b")]
        times.diff(mode="replace")
        times.apply()
        assert database.rows("select * from a") == [(1, "c1")]
        assert database.rows("select * from b") == [(1, 1, "n")]
        times.undo()
        assert [database.rows("select * from a"), database.rows("select * from b")] == after


REFERENCED = (
    "create table p (id int primary key)",
    "create table c (n int, p int references p on delete {action})",
    "insert into p select g from generate_series(1, 6) g",
)


@pytest.mark.parametrize("action", ["set null", "cascade", "no action"])
def test_a_child_that_comes_while_its_parent_is_taken_back_keeps_it(
    past: Past, database: Database, action: str
) -> None:
    """Its session holds the parent's row, but the question who references it did not see the child, and the delete's
    action reached it: an undo that ended as if a trigger had written (soak, seed 12503)."""
    with past(*(text.format(action=action) for text in REFERENCED)) as times, database.connect() as other:
        database.run("delete from p")
        times.diff()
        times.apply()
        other.execute("begin")
        other.execute("insert into c values (1, 3)")
        times.undo()
        assert times.skipped() == ["another session holds it, and may be referencing it"]
        other.execute("commit")
    assert database.rows("select * from p") == [(3,)]
    assert database.rows("select * from c") == [(1, 3)]


@pytest.mark.parametrize("action", ["set null", "cascade"])
def test_an_undo_under_sessions_that_always_hold_a_parent_ends(past: Past, database: Database, action: str) -> None:
    """New lockers of a row do not queue behind one that waits for it: who waits may wait for ever."""
    over = threading.Event()
    with past(*(text.format(action=action) for text in REFERENCED)) as times:
        database.run("delete from p")
        times.diff()
        times.apply()

        def work() -> None:
            with database.connect() as app:
                while not over.is_set():
                    app.execute("begin")
                    app.execute("insert into c values (1, 1)")
                    over.wait(0.05)
                    app.execute("rollback")  # so that no plan sees it

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        undo = threading.Thread(target=times.undo, daemon=True)
        undo.start()
        try:
            wait_until(lambda: not undo.is_alive(), "the undo ends")
        finally:
            over.set()
            for worker in workers:
                worker.join()
        assert times.skipped() == ["another session holds it, and may be referencing it"]
    assert database.rows("select * from p") == [(1,)]
