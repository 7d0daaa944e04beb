"""Before-images, what others do between diff and apply, undo, replace."""

from __future__ import annotations

import pytest

import recovery.reload.load_transaction as load_module
from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import RowClass
from tests.fix_lab import Database
from tests.fix_repair import SCHEMA, Past, xid_of
from tests.server.repair.tables import FAMILY


def test_before_images_hold_every_row_as_it_was(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text, g int generated always as (id * 2) stored)",
        "insert into t select g, 'x' from generate_series(1, 4) g",
    ) as times:
        bad = xid_of(database.live, database, "update t set x = 'bad' where id <= 2", "delete from t where id = 3")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows(f"select rowback_op, id, x, g from {SCHEMA}.before_1_0 order by 1, 2") == [
            ("i", 3, None, None),
            ("u", 1, "bad", 2),
            ("u", 2, "bad", 4),
        ]
        assert [c.original for c in times.rows_of(RowClass.REVERTED)] == [("1", "bad"), ("2", "bad")]


def test_rows_changed_between_diff_and_apply_are_skipped_and_told(past: Past, database: Database) -> None:
    with past(
        FAMILY,
        "create table t (id int primary key, x text unique)",
        "insert into t select g, 'x' || g from generate_series(1, 6) g",
    ) as times:
        bad = xid_of(
            database.live,
            database,
            "update t set x = 'bad' || id where id <= 2",
            "delete from t where id > 3",
            "delete from articles where id = 12",
        )
        plan = times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert plan.writes == 2 + 3 + 1 + 2 + 2
        database.run(
            "update t set x = 'meanwhile' where id = 1",
            "insert into t values (4, 'mine')",
            "insert into t values (77, 'x5')",
            "delete from spaces where id = 1",
        )
        found = times.apply()
        assert sorted(times.skipped()) == sorted(
            [
                "changed by others since it was read",
                "unique key t_pkey is taken by (4)",
                "unique key t_x_key is taken by (77)",
                "its parent in public.spaces does not exist (articles_space_id_fkey)",
                *["its parent in public.articles does not exist (revisions_article_id_fkey)"] * 2,
                *["its parent in public.revisions does not exist (notes_article_id_no_fkey)"] * 2,
            ]
        )
        assert found.rows == 2
        assert database.rows("select * from t order by 1") == [
            (1, "meanwhile"),
            (2, "x2"),
            (3, "x3"),
            (4, "mine"),
            (6, "x6"),
            (77, "x5"),
        ]


def test_undo_leaves_what_others_changed_since_and_is_undone_itself(past: Past, database: Database) -> None:
    with past(FAMILY) as times:
        database.run("delete from spaces where id in (1, 2)")
        tables = ("spaces", "articles", "revisions", "notes")
        times.diff()
        times.apply()
        back = {name: database.rows(f"select * from {name} order by 1, 2") for name in tables}
        database.run(
            "update revisions set body = 'edited' where article_id = 4 and no = 1",
            "insert into revisions values (7, 3, 'new')",
        )
        times.undo()
        assert sorted({str(change.reason) for change in times.rows_of(RowClass.BLOCKED)}) == [
            "changed by others since it was read",
            "it is still referenced from public.articles",
            "it is still referenced from public.revisions",
            "it is still referenced from public.revisions, public.articles",
            "its parent in public.articles stays",
            "its parent in public.revisions stays",
            "its parent in public.spaces stays",
        ]
        assert database.rows("select body from revisions where article_id = 4 order by no") == [("edited",), ("r",)]
        for child, parent in (("articles", "spaces"), ("revisions", "articles")):
            assert (
                database.rows(  # nothing that stays has lost a part of it
                    f"select count(*) from {parent} p where not exists"
                    f" (select from {child} c where c.{parent[:-1]}_id = p.id)"
                )
                == [(0,)]
            ), child
        times.undo()
        for table, rows in back.items():
            if table != "revisions":
                assert database.rows(f"select * from {table} order by 1, 2") == rows


def test_replace_takes_back_everything_and_undo_brings_it_again(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)", "insert into t select g, 'x' || g from generate_series(1, 5) g"
    ) as times:
        database.run(
            "delete from t where id = 1", "update t set x = 'good' where id = 2", "insert into t values (6, 'new')"
        )
        plan = times.diff(mode=Mode.REPLACE)
        assert (plan.loses, plan.tables[0].inserts, plan.tables[0].updates, plan.tables[0].deletes) == (2, 1, 1, 1)
        times.apply()
        assert database.rows("select * from t order by 1") == [(g, f"x{g}") for g in range(1, 6)]
        times.undo()
        assert database.rows("select * from t order by 1") == [
            (2, "good"),
            (3, "x3"),
            (4, "x4"),
            (5, "x5"),
            (6, "new"),
        ]


def test_numbers_given_out_again_after_a_restart_are_strangers(past: Past, database: Database) -> None:
    with past(
        "create table tags (id serial primary key, name text)",
        "create table marks (id serial primary key, tag_id int not null references tags)",
        "insert into tags (name) values ('a'), ('b')",
        "insert into marks (tag_id) values (1), (2)",
    ) as times:
        database.run("truncate tags restart identity cascade", "insert into tags (name) values ('new')")
        times.diff()
        assert [change.key for change in times.rows_of(RowClass.REUSED)] == [("1",)]
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert (blocked.key, blocked.reason) == (
            ("1",),
            "its parent in public.tags is another entity now (marks_tag_id_fkey)",
        )
        times.apply()
        assert database.rows("select id, name from tags order by 1") == [(1, "new"), (2, "b")]
        assert database.rows("select tag_id from marks") == [(2,)]
        assert database.rows("insert into tags (name) values ('next') returning id")[0][0] > 2


def test_an_update_of_a_narrow_table_is_no_stranger(past: Past, database: Database) -> None:
    with past(
        "create table tags (id serial primary key, name text)",
        "create table marks (id serial primary key, tag_id int not null references tags)",
        "insert into tags (name) values ('a'), ('b')",
        "insert into marks (tag_id) values (1), (2)",
    ) as times:
        database.run("update tags set name = 'renamed' where id = 1", "delete from marks")
        times.diff()
        assert [change.key for change in times.rows_of(RowClass.CHANGED)] == [("1",)]
        times.apply()
        assert database.rows("select tag_id from marks order by 1") == [(1,), (2,)]


def test_before_images_are_of_the_rows_that_are_written(past: Past, database: Database) -> None:
    """What somebody changed, or took the key of, after the comparison is left alone; no image claims otherwise."""
    with past(
        "create table t (id int primary key, x text)", "insert into t select g, 'x' from generate_series(1, 6) g"
    ) as times:
        bad = xid_of(database.live, database, "update t set x = 'bad' where id <= 2", "delete from t where id >= 5")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        database.run("update t set x = 'good work' where id = 2", "insert into t values (5, 'somebody else')")
        times.apply()
        assert database.rows("select * from t order by id") == [
            (1, "x"),
            (2, "good work"),
            (3, "x"),
            (4, "x"),
            (5, "somebody else"),
            (6, "x"),
        ]
        assert database.rows(f"select rowback_op, id, x from {SCHEMA}.before_1_0 order by 1, 2") == [
            ("i", 6, None),
            ("u", 1, "bad"),
        ]


def test_all_that_the_server_refuses_is_learnt_in_three_transactions(
    past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function behind their checks grew stricter: each of four tables loses a row, none costs a transaction more."""
    tables = [f"t{n}" for n in range(4)]
    with past(
        "create function fit(x int) returns bool immutable language sql return x < 1000",
        *(f"create table {name} (id int primary key, x int check (fit(x)))" for name in tables),
        *(f"insert into {name} select g, g * 10 from generate_series(1, 50) g" for name in tables),
    ) as times:
        database.run(
            *(f"delete from {name} where id <= 40" for name in tables),
            "create or replace function fit(x int) returns bool immutable language plpgsql as $$ begin"
            " if x = 70 then raise data_exception using message = 'no seventies'; end if; return true; end $$",
        )
        times.diff()
        write, written = load_module._write, list[object]()
        monkeypatch.setattr(
            load_module,
            "_write",
            lambda *given: written.append(given[-1]) or write(*given),  # type: ignore[func-returns-value]
        )
        times.apply()
        assert len(written) == 3
        for name in tables:
            assert database.rows(f"select id, x from {name} order by id") == [
                (g, g * 10) for g in range(1, 51) if g != 7
            ]
        assert set(times.skipped()) == {"the server refuses it: no seventies"}
        assert len(times.skipped()) == 4


def test_rows_of_a_table_that_was_split_since_are_not_put_back_beside_themselves(
    past: Past, database: Database
) -> None:
    """Half of the rows stand in a table made since T; what was deleted besides comes back."""
    with past(
        "create table jobs (id int primary key, state text)",
        "insert into jobs select g, 'done' from generate_series(1, 10) g",
    ) as times:
        database.run(
            "create table jobs_archive (like jobs)",
            "insert into jobs_archive select * from jobs where id <= 5",
            "delete from jobs where id <= 5",
            "delete from jobs where id = 9",
        )
        times.diff()
        stands = (
            "it stands unchanged in public.jobs_archive, which was made since T: a table that was split off? (if it is"
            " but a backup: --except public.jobs_archive)"
        )
        found = [(change.key, change.reason) for change in times.rows_of(RowClass.BLOCKED)]
        assert found == [((str(n),), stands) for n in range(1, 6)]
        times.apply()
        assert database.rows("select id from jobs order by id") == [(n,) for n in range(6, 11)]
