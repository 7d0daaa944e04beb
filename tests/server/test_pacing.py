"""A paced load: batches in the order that rows need each other, proven and taken back as one write."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.row_class import RowClass
from recovery.reload.load_job import Loaded
from tests.fix_lab import Database
from tests.fix_repair import Past, Times

PLENTY = 10**9


def batches(times: Times) -> int:
    return len(times.done[-1].xids)


def test_many_portions_are_one_write(past: Past, database: Database) -> None:
    with past(
        "create table a (id int primary key, body text)",
        "create table b (id int primary key, a_id int not null references a on delete cascade, body text)",
        "insert into a select g, md5(g::text) from generate_series(1, 4000) g",
        "insert into b select g, g, md5(g::text) from generate_series(1, 4000) g",
    ) as times:
        held = [database.rows(f"select * from {name} order by 1") for name in "ab"]
        database.run(
            "update b set body = 'bad' where id > 3500",
            "delete from a where id <= 3000",
            "insert into a values (5000, 'new')",
        )
        after = [database.rows(f"select * from {name} order by 1") for name in "ab"]
        xid = database.rows("select xmin::text::int from b where id = 3600")[0][0]
        times.diff(mode="repair", incident_xids=(xid,))
        found = times.apply(rate=PLENTY)
        assert batches(times) == 3
        assert sum(proof.equal for proof in found.repaired) == 6500
        assert [database.rows(f"select * from {name} where id < 5000 order by 1") for name in "ab"] == held
        assert database.rows("select body from a where id = 5000") == [("new",)]
        images = database.rows("select count(*), count(id), count(body) from rowback_case_test.before_1_1")
        assert images == [(3500, 3500, 500)], "the keys of 3,000 rows to come, 500 rows as they were"
        times.undo()
        assert [database.rows(f"select * from {name} order by 1") for name in "ab"] == after


def test_rows_that_wait_for_a_later_portion_come_last(past: Past, database: Database) -> None:
    """A tree whose children come before their parents, and two tables that reference each other."""
    with past(
        "create table tree (id int primary key, up int references tree)",
        "insert into tree select g, case when g < 3000 then g + 1 end from generate_series(1, 3000) g",
        "create table x (id int primary key, y_id int)",
        "create table y (id int primary key, x_id int references x)",
        "insert into x select g, g from generate_series(1, 1500) g",
        "insert into y select g, g from generate_series(1, 1500) g",
        "alter table x add foreign key (y_id) references y deferrable",
    ) as times:
        held = [database.rows(f"select * from {name} order by 1") for name in ("tree", "x", "y")]
        database.run(
            "truncate tree",
            "insert into tree values (9000, null)",
            "truncate x, y",
            "insert into x values (9000, null)",
            "insert into y values (9000, null)",
        )
        plan = times.diff()
        assert plan.writes == 6000
        times.apply(rate=PLENTY)
        assert times.done[-1].skipped == 0
        rows = [database.rows(f"select * from {name} where id < 9000 order by 1") for name in ("tree", "x", "y")]
        assert rows == held


def test_replace_deletes_children_first_and_frees_keys(past: Past, database: Database) -> None:
    with past(
        "create table a (id int primary key, email text unique)",
        "create table b (id int primary key, a_id int not null references a)",
        "insert into a select g, 'm' || g from generate_series(1, 1500) g",
        "insert into b select g, g from generate_series(1, 1500) g",
    ) as times:
        held = [database.rows(f"select * from {name} order by 1") for name in "ab"]
        database.run(
            "delete from b",
            "delete from a",
            "insert into a select g + 5000, 'm' || g from generate_series(1, 1500) g",
            "insert into b select g + 5000, g + 5000 from generate_series(1, 1500) g",
        )
        times.diff(mode="replace")
        times.apply(rate=PLENTY)
        assert [database.rows(f"select * from {name} order by 1") for name in "ab"] == held
        assert times.done[-1].skipped == 0


def test_what_changed_since_the_diff_is_skipped_once(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, body text)",
        "create table u (id int primary key, t_id int references t)",
        "insert into t select g, 'x' from generate_series(1, 2500) g",
        "insert into u select g, g from generate_series(1, 2500) g",
    ) as times:
        database.run("delete from u where id > 1", "delete from t where id > 1")
        times.diff()
        database.run("insert into t values (7, 'somebody else')")
        times.apply(rate=PLENTY)
        assert times.done[-1].skipped == 2
        assert set(times.skipped()) == {
            "unique key t_pkey is taken by (7)",
            "its parent in public.t is another entity now (u_t_id_fkey)",
        }
        assert database.rows("select body from t where id = 7") == [("somebody else",)]
        assert database.rows("select count(*), bool_or(t_id = 7) from u") == [(2499, False)]


def test_a_child_is_not_given_to_whoever_took_its_parents_key(past: Past, database: Database) -> None:
    """In one transaction as well."""
    with past(
        "create table t (id int primary key, body text)",
        "create table u (id int primary key, t_id int references t)",
        "insert into t values (1, 'a'), (2, 'b')",
        "insert into u values (1, 1), (2, 2)",
    ) as times:
        database.run("delete from u", "delete from t")
        times.diff()
        database.run("insert into t values (2, 'somebody else')")
        times.apply()
        assert database.rows("select * from u") == [(1, 1)]
        assert set(times.skipped()) == {
            "unique key t_pkey is taken by (2)",
            "its parent in public.t is another entity now (u_t_id_fkey)",
        }


@pytest.mark.parametrize("rate", [None, PLENTY])
def test_rows_without_a_key(past: Past, database: Database, rate: int | None) -> None:
    with past(
        "create table k (a int, b text)", "insert into k select g % 700, 'b' from generate_series(1, 2100) g"
    ) as times:
        held = database.rows("select * from k order by 1")
        database.run("delete from k where a < 500")
        times.diff()
        found = times.apply(rate=rate)
        assert [(proof.equal, proof.changed_since) for proof in found.repaired] == [(1500, 0)]
        assert database.rows("select * from k order by 1") == held
        assert (batches(times) > 1) is (rate is not None)
        times.undo()
        assert database.rows("select count(*) from k") == [(600,)]


def test_a_slow_rate_is_kept(past: Past, database: Database) -> None:
    """WAL of the batches over the time they took, by the server's own count; others may write at full speed."""
    with past(
        "create table t (id int primary key, body text)",
        "insert into t select g, repeat(md5(g::text), 10) from generate_series(1, 6000) g",
    ) as times:
        database.run("delete from t where id > 1")
        times.diff()
        rate = 2 * 2**20
        with database.connect() as watcher:
            before = watched(watcher)
            times.apply(rate=rate)
            after = watched(watcher)
        wal, seconds = after[0] - before[0], float(after[1] - before[1])
        assert wal > 2 * 2**20
        # one batch may be underway beyond what the rate allows so far
        assert wal <= rate * (seconds + 1.5)
        assert len(times.rows_of(RowClass.LOST)) == 5999


def watched(connection: psycopg.Connection[Any]) -> tuple[int, Any]:
    row = connection.execute(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, extract(epoch from clock_timestamp())"
    ).fetchone()
    assert row
    return row[0], row[1]


def test_a_parent_that_was_put_back_and_replaced_between_batches(past: Past, database: Database) -> None:
    """Rows go in the order of their keys' texts: 2 and 3 with the first thousand, their children with the second."""
    with past(
        "create table p (id int primary key, body text)",
        "create table c (id int primary key, p_id int references p)",
        "insert into p select g, 'good' from generate_series(1, 1500) g",
        "insert into c select g, g from generate_series(1, 1500) g",
    ) as times:
        database.run("delete from c where id > 1", "delete from p where id > 1")
        times.diff()

        def act(done: Loaded) -> None:
            if "public.p" in done.written and done.written["public.p"].inserted:
                database.run("delete from p where id in (2, 3)", "insert into p values (2, 'somebody else')")

        times.apply(rate=PLENTY, between=act)
        assert times.done[-1].skipped == 2
        assert set(times.skipped()) == {
            "its parent in public.p is another entity now (c_p_id_fkey)",
            "its parent in public.p does not exist (c_p_id_fkey)",
        }
        assert database.rows("select count(*) from c where id in (2, 3)") == [(0,)]
        assert database.rows("select count(*) from c") == [(1498,)]


def test_portions_are_counted_and_sized_by_what_they_write(past: Past, database: Database) -> None:
    """Wide rows after narrow ones: no batch may hold more than a second's worth of the rate."""
    with past(
        "create table a (id int primary key)",
        "create table b (id int primary key, x text)",
        "insert into a select generate_series(1, 20000)",
        "insert into b select g, (select string_agg(md5(g || ':' || i), '') from generate_series(1, 100) i)"
        " from generate_series(1, 2000) g",
    ) as times:
        database.run("delete from a where id > 1", "delete from b where id > 1")
        times.diff()
        seen: list[Loaded] = []
        times.apply(rate=4 * 2**20, between=seen.append)
        assert times.done[-1].touched == {"public.a": 19999, "public.b": 1999}
        for batch in seen:
            assert batch.touched == {name: done.total for name, done in batch.written.items() if done.total}
            wide = batch.touched.get("public.b", 0)
            assert wide * 3200 <= 4 * 2**20


@pytest.mark.parametrize("rate", [None, PLENTY])
def test_undo_of_equal_rows_of_which_somebody_changed_some(past: Past, database: Database, rate: int | None) -> None:
    with past(
        "create table k (a int, b text)", "insert into k select g % 7, 'b' from generate_series(1, 1400) g"
    ) as times:
        database.run("delete from k where a < 5")
        times.diff()
        times.apply(rate=rate)
        database.run("update k set b = 'c' where ctid in (select ctid from k where a = 1 limit 3)")
        times.undo()
        assert times.rows_of(RowClass.BLOCKED)[0].reason == "changed by others since it was read"
        assert len(times.rows_of(RowClass.BLOCKED)) == 3
        assert database.rows("select a, b, count(*) from k group by 1, 2 order by 1, 2") == [
            (1, "c", 3),
            (5, "b", 200),
            (6, "b", 200),
        ]


def test_a_paced_load_that_can_write_nothing_any_more_is_refused(past: Past, database: Database) -> None:
    """Newcomers have taken every unique value since the plan was made: no effect is no success."""
    with past(
        "create table members (id int primary key, mail text unique)",
        "insert into members select g, 'm' || g from generate_series(1, 1500) g",
    ) as times:
        database.run("delete from members where id <= 1200")
        assert times.diff().writes == 1200
        database.run("insert into members select 9000 + g, 'm' || g from generate_series(1, 1200) g")
        before = database.rows("select * from members order by 1")
        with pytest.raises(RowbackError) as refused:
            times.apply(rate=PLENTY)
        assert (refused.value.id, refused.value.fact) == (
            ErrorId.PLAN_FACTS_CHANGED,
            "none of the 1,200 planned rows can be written any more",
        )
        assert database.rows("select * from members order by 1") == before


@pytest.mark.parametrize("rate", [None, PLENTY])
def test_rows_without_a_key_that_others_put_back_meanwhile_come_once(
    past: Past, database: Database, rate: int | None
) -> None:
    """Of every content T had three; two, one or none were deleted. After the comparison a second operator puts some
    of them back. Each content stands there three times in the end, and a fourth one that others wrote stays."""
    with past(
        "create table k (a int, b text)", "insert into k select g % 700, 'b' from generate_series(1, 2100) g"
    ) as times:
        held = database.rows("select * from k order by 1")
        database.run("delete from k where a < 500", "insert into k select g, 'b' from generate_series(300, 399) g")
        times.diff()
        database.run(
            "insert into k select g, 'b' from generate_series(0, 99) g",
            "insert into k select g, 'b' from generate_series(0, 49) g, generate_series(1, 2)",
            "insert into k select 7, 'b'",
        )
        times.apply(rate=rate)
        assert database.rows("select * from k order by 1") == sorted([*held, (7, "b")])
        assert set(times.skipped()) == {"as many rows equal to it as T had are there by now"}
        times.undo()
        assert database.rows("select * from k where a < 10 order by 1") == sorted(
            [(a, "b") for a in range(10) for _ in range(3)] + [(7, "b")]
        )
        assert database.rows("select count(*) from k") == [(600 + 100 + 100 + 100 + 1,)]
