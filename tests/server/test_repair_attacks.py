"""What a reviewer broke, kept from breaking again: races, odd schemas, keys that block each other."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import OnConflict, RowClass
from tests.fix_lab import Database, wait_until
from tests.fix_repair import Past, Times, xid_of


def reasons(times: Times) -> set[str]:
    return {str(change.reason) for change in times.rows_of(RowClass.BLOCKED)}


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


def test_an_old_orphan_under_a_key_that_is_not_valid_is_not_ours(past: Past, database: Database) -> None:
    with past(
        "create table p (id int primary key)",
        "create table c (id int primary key, p int, x int)",
        "insert into p values (1)",
        "insert into c values (1, 1, 1), (2, 99, 2)",
        "alter table c add foreign key (p) references p not valid",
    ) as times:
        bad = xid_of(database.live, database, "delete from c where id = 1", "update c set x = 0")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select * from c order by 1") == [(1, 1, 1), (2, 99, 2)]


def test_unique_values_that_were_shifted_are_left_and_told(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, pos int unique)", "insert into t values (1, 1), (2, 2)") as times:
        bad = xid_of(database.live, database, "update t set pos = pos - 1")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == {"unique key t_pos_key is held by (2) until that is repaired itself"}
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 0), (2, 2)]
        # the key is free now: the second round does the rest
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1), (2, 2)]


def test_deferrable_unique_values_change_places(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, pos int unique deferrable)", "insert into t values (1, 1), (2, 2), (3, 3)"
    ) as times:
        bad = xid_of(database.live, database, "update t set pos = 4 - pos", "update t set pos = pos where id = 2")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == set()
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1), (2, 2), (3, 3)]


def test_unique_keys_that_treat_nulls_as_equal_and_rivals_at_t(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, a int, b int, unique nulls not distinct (a, b))",
        "create table u (id int primary key, a int)",
        "insert into t values (1, 1, null), (2, 2, 2)",
        "insert into u values (1, 1), (2, 1), (3, 3)",
    ) as times:
        database.run(
            "delete from t", "insert into t values (9, 1, null)", "delete from u", "create unique index on u (a)"
        )
        times.diff()
        assert reasons(times) == {"unique key t_a_b_key is taken by (9)", "unique key u_a_idx is wanted by (1) as well"}
        times.apply()
        assert database.rows("select id from t order by 1") == [(2,), (9,)]
        assert database.rows("select id from u order by 1") == [(1,), (3,)]


@pytest.mark.parametrize("action", ["", "on delete cascade"])
def test_an_entity_that_was_made_again_under_another_number(past: Past, database: Database, action: str) -> None:
    with past(
        "create table p (id int primary key, code text unique)",
        f"create table c (id int primary key, p int references p {action}, x int)",
        "insert into p values (1, 'A'), (5, 'E')",
        "insert into c values (1, 1, 1)",
    ) as times:
        database.run(
            "delete from c",
            "delete from p where id = 1",
            "insert into p values (2, 'A')",
            "insert into c values (1, 2, 1)",
            "delete from p where id = 5",
        )
        times.diff(mode=Mode.REPLACE)
        assert "it is still referenced from public.c" in reasons(times)
        times.apply()
        assert database.rows("select id, code from p order by 1") == [(2, "A"), (5, "E")]
        assert database.rows("select p from c") == [(2,)]


def test_what_children_reference_by_another_key_is_not_pulled_from_under_them(past: Past, database: Database) -> None:
    with past(
        "create table p (id int primary key, code text unique, x int)",
        "create table c (id int primary key, code text references p (code))",
        "insert into p values (1, 'A', 1), (2, 'B', 2)",
    ) as times:
        bad = xid_of(database.live, database, "update p set code = 'X' || code, x = 0")
        database.run("insert into c values (1, 'XA')")
        times.diff("p", mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == {"it is still referenced from public.c"}
        times.apply()
        assert database.rows("select * from p order by 1") == [(1, "XA", 0), (2, "B", 2)]


def test_undo_without_a_key_takes_back_what_it_can(past: Past, database: Database) -> None:
    with past("create table t (a int, b text)", "insert into t values (1, 'x'), (2, 'y')") as times:
        database.run("delete from t")
        times.diff()
        times.apply()
        database.run("update t set b = 'edited' where a = 1")
        times.undo()
        assert database.rows("select * from t") == [(1, "edited")]


def test_a_column_that_went_between_diff_and_apply(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, a int)", "insert into t values (1, 1)") as times:
        database.run("delete from t")
        times.diff()
        database.run("alter table t rename a to b")
        with pytest.raises(RowbackError) as refused:
            times.apply()
        assert refused.value.fact == "the columns of public.t changed since it was compared"
        assert refused.value.facts == ("column a was dropped or renamed",)


NAMES = [
    'create table "t%d" ("id%" int primary key, "x%s" text, "%(n)s" int)',
    "create table z ()",
    "create table k (n int primary key, k0 int unique, rowback int, shown int, s int, t int, op text, skip text)",
    "create schema ext",
    "create extension ltree schema ext",
    "create table l (path ext.ltree primary key, x int)",
    "create extension citext schema ext",
    "create table ci (name ext.citext primary key, x int)",
    "create table whole (id int primary key, x text, check ((whole.*)::text <> 'x'))",
    "create table comp (id int primary key, p ext.pairs not null)",
]


def test_names_and_types_that_break_careless_sql(past: Past, database: Database) -> None:
    with past(
        *NAMES[:-1],
        "create type ext.pairs as (a text, b text)",
        NAMES[-1],
        """insert into "t%d" values (1, 'a', 1), (2, 'b', 2)""",
        "insert into z default values",
        "insert into k values (1, 1, 1, 1, 1, 1, 'x', 'y')",
        "insert into l values ('a.b', 1), ('a.c', 2)",
        "insert into ci values ('Ab', 1), ('cd', 2)",
        "insert into whole values (1, 'y')",
        "insert into comp values (1, row('y', null))",
    ) as times:
        tables = ('"t%d"', "z", "k", "l", "ci", "whole", "comp")
        held: dict[str, list[Any]] = {t: database.rows(f"select {t}::text from {t} order by 1") for t in tables}
        database.run(*(f"delete from {name}" for name in tables))
        for lineage in (True, False):
            plan = times.diff(lineage=lineage)
            assert plan.writes == 11 - 1
            assert reasons(times) == set()
        times.apply()
        assert {t: database.rows(f"select {t}::text from {t} order by 1") for t in tables} == held
        times.undo()
        assert all(database.rows(f"select count(*) from {name}") == [(0,)] for name in tables)


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
