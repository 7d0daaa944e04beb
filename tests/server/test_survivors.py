"""Claims that once no test made: each fails when the line behind it is broken."""

from __future__ import annotations

import pytest

from recovery.model.modes.reload_mode import Mode
from recovery.model.row_class import RowClass
from recovery.postgres.comparison import oversized_values
from recovery.report.repair_text import count_records
from tests.fix_lab import Database
from tests.fix_repair import SCHEMA, Past, xid_of

PEOPLE = (
    "create table people (id int primary key, name text, mail text)",
    "create table pets (id int primary key, owner int references people, name text)",
    "insert into people select g, 'p' || g, 'm' || g from generate_series(1, 6) g",
    "insert into pets select g, g, 'pet ' || g from generate_series(1, 6) g",
)


def test_people_who_were_anonymized_together_are_still_the_same_people(past: Past, database: Database) -> None:
    """One UPDATE left the same values in several rows, which new rows under old keys seldom do: where people are
    compared as well, their pets come back."""
    with past(*PEOPLE) as times:
        database.run("delete from pets", "update people set name = 'gone', mail = 'none' where id <= 3")
        times.diff("pets", "people")
        times.apply()
        assert database.rows("select id, owner from pets order by id") == [(g, g) for g in range(1, 7)]


def test_blank_strangers_under_old_keys_get_no_pets(past: Past, database: Database) -> None:
    """Two rows that were inserted alike prove nothing where only their children are compared."""
    with past(*PEOPLE) as times:
        database.run(
            "delete from pets",
            "delete from people where id <= 2",
            "insert into people values (1, 'new account', ''), (2, 'new account', '')",
        )
        times.diff("pets")
        assert [change.key for change in times.rows_of(RowClass.BLOCKED)] == [("1",), ("2",)]


def test_somebody_else_under_an_old_key_gets_no_pets(past: Past, database: Database) -> None:
    """The row as a whole is another, and no other row was written alike."""
    with past(*PEOPLE) as times:
        database.run(
            "delete from pets",
            "delete from people where id = 2",
            "insert into people values (2, 'stranger', 'strange')",
        )
        times.diff("pets")
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert (blocked.key, blocked.reason) == (
            ("2",),
            "its parent in public.people is another entity now (pets_owner_fkey)",
        )


@pytest.mark.parametrize("kept", ["mail", "nothing"])
def test_a_unique_column_that_stayed_says_that_it_is_the_same_row(past: Past, database: Database, kept: str) -> None:
    """Most else changed: with the same address it is the same person, with another one somebody else in that town."""
    with past(*PEOPLE, "alter table people add unique (mail), add town text default 'there'") as times:
        mail = "m2" if kept == "mail" else "else"
        database.run("delete from pets", f"update people set name = 'x', mail = '{mail}' where id = 2")
        times.diff("pets")
        blocked = [change.key for change in times.rows_of(RowClass.BLOCKED)]
        assert blocked == ([] if kept == "mail" else [("2",)])


def test_a_domain_that_forbids_null_since_blocks_those_rows_alone(past: Past, database: Database) -> None:
    with past(
        "create domain note as text",
        "create table t (id int primary key, x note)",
        "insert into t values (1, 'a'), (2, null), (3, 'c')",
    ) as times:
        database.run("delete from t", "alter domain note set not null")
        times.diff("t")
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert (blocked.key, blocked.reason) == (("2",), 'it violates NOT NULL of domain "note" on "x"')
        times.apply()
        assert database.rows("select id from t order by 1") == [(1,), (3,)]


def test_values_too_large_for_text_travel_by_themselves(
    past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of a kilobyte: bytes and text come back, lost or changed, and equal ones are not touched."""
    monkeypatch.setattr(oversized_values, "MOST_BYTES", 1000)
    with past(
        'create table big ("Weird Key" text primary key, image bytea, body text)',
        "insert into big select 'k' || g, decode(repeat(md5(g::text), 100), 'hex'), repeat(md5(g::text), 100)"
        " from generate_series(1, 4) g",
        "insert into big values ('small', '\\xff00', 'x')",
    ) as times:
        sums = "select \"Weird Key\", encode(sha256(image), 'hex'), md5(body) from big order by 1"
        before = database.rows(sums)
        bad = xid_of(
            database.live,
            database,
            "delete from big where \"Weird Key\" in ('k1', 'small')",
            "update big set image = '\\x00', body = body || 'x' where \"Weird Key\" = 'k2'",
        )
        plan = times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert plan.writes == 3
        times.apply()
        assert database.rows(sums) == before


def test_without_a_key_no_row_leaves_that_may_be_somebody_elses(past: Past, database: Database) -> None:
    """A row that was committed between T and the UPDATE carries its transaction as well: there are more than T had."""
    with past("create table t (x int, note text)", "insert into t select g, 'n' from generate_series(1, 9) g") as times:
        database.run("insert into t values (99, 'good, and committed after T')")
        bad = xid_of(database.live, database, "update t set note = 'bad'")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert times.plans[-1].writes == 0
        assert database.rows("select count(*) from t where x = 99") == [(1,)]


def test_images_are_of_written_rows_where_the_server_refuses_some(past: Past, database: Database) -> None:
    with past(
        "create function fit(x int) returns bool immutable language sql return x < 1000",
        "create table t (id int primary key, x int check (fit(x)))",
        "insert into t select g, g from generate_series(1, 5) g",
    ) as times:
        bad = xid_of(database.live, database, "update t set x = x + 100")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        database.run("create or replace function fit(x int) returns bool immutable language sql return x <> 3")
        times.apply()
        assert database.rows("select id, x from t order by id") == [(1, 1), (2, 2), (3, 103), (4, 4), (5, 5)]
        assert database.rows(f"select id from {SCHEMA}.before_1_0 order by 1") == [(1,), (2,), (4,), (5,)]
        with times.changes(1) as changes:
            late = changes.skipped(times.done[-1].xids[0])
            counts = {kind: count_records(changes, [kind], late) for kind in (RowClass.REVERTED, RowClass.BLOCKED)}
            assert counts == {RowClass.REVERTED: 4, RowClass.BLOCKED: 1}
            assert count_records(changes, [], late) == 5


def test_columns_that_did_not_change_are_not_written(past: Past, database: Database) -> None:
    """Their values need not satisfy what was demanded of new ones since T."""
    with past(
        "create domain code as text",
        "create table t (id int primary key, c code, price int)",
        "insert into t select g, 'old!' || g, g from generate_series(1, 4) g",
    ) as times:
        database.run("alter domain code add constraint plain check (value !~ '!') not valid")
        bad = xid_of(database.live, database, "update t set price = 0")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert times.skipped() == []
        assert database.rows("select id, c, price from t order by id") == [(g, f"old!{g}", g) for g in range(1, 5)]


def test_updates_of_a_table_as_wide_as_a_stage_can_be_are_taken_back(past: Past, database: Database) -> None:
    """A join of two tables has no room for the columns of both."""
    columns = [f"c{number}" for number in range(1_590)]
    with past(
        f"create table wide (k int primary key, {', '.join(f'{name} int' for name in columns)})",
        "insert into wide (k, c0, c1589) select g, g, g from generate_series(1, 20) g",
    ) as times:
        held = database.rows("select k, c0, c1589, c700 from wide order by 1")
        bad = xid_of(database.live, database, "update wide set c1589 = 0, c0 = 0 where k > 10")
        times.diff("wide", mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select k, c0, c1589, c700 from wide order by 1") == held
