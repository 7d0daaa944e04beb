"""Values of every type, classes of rows and what is done with conflicts."""

from __future__ import annotations

from typing import Any

import pytest

from recovery.errors import RowbackError
from recovery.model.modes.reload_mode import Mode
from recovery.model.repair_plan import DetectionMethod
from recovery.model.row_class import OnConflict, RowClass
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of
from tests.server.repair.tables import text_of

TYPES = """
create schema s; create type s.mood as enum ('sad', 'glad'); create type s.pair as (a int, b text);
create domain s.positive as int check (value > 0);
create table s.t (
  id int generated always as identity primary key, mood s.mood, moods s.mood[], pair s.pair, pairs s.pair[],
  n s.positive, j jsonb, js json, x xml, b bytea, num numeric, f float8, r int4range, mr int4multirange, ts timestamptz,
  t timestamp, d date, i interval, u uuid, arr text[], bits varbit, net inet, pt point, m money, ch char(5), big text,
  tsv tsvector, q "char", "t" text, "Ünï; drop" int, g int generated always as (n * 2) stored
);
""".replace(' "t" text,', ' "tee" text,')


ROWS = r"""
insert into s.t (mood, moods, pair, pairs, n, j, js, x, b, num, f, r, mr, ts, t, d, i, u, arr, bits, net, pt, m,
                 ch, big, tsv, q, "tee", "Ünï; drop")
select (array['sad', 'glad'])[1 + g % 2]::s.mood, '{glad,sad}', row(g, E'a\tb\n\\.\n"c"'::text)::s.pair,
  array[row(1, null)::s.pair, null], g + 1, jsonb_build_object('한', g, 'n', 1.50), '{"a":  1}', '<a>한 &amp;</a>',
  decode(lpad(to_hex(g), 8, '0'), 'hex'), (array['1.0', '1.00', 'nan', '-0.0', '1e-20'])[1 + g % 5]::numeric,
  (array['nan', 'infinity', '-infinity', '-0', '0.1'])[1 + g % 5]::float8, int4range(g, g + 5), '{[1,3), [5,7)}',
  timestamptz '2026-01-01 00:00:00.123456Z' + g * interval '1 hour', '-infinity', date '2000-02-29' + g,
  g * interval '1 month', md5(g::text)::uuid, array['\.', '\N', E'\\', null, ''], b'101', '10.0.0.1/8', '(1.5,-2)',
  g * 1.5, 'a', repeat('한글', 40000), to_tsvector('simple', 'a b'), 'x', E'\\.', null
from generate_series(0, 19) g;
"""


@pytest.mark.parametrize("lineage", [True, False], ids=["lineage", "buckets"])
def test_values_of_every_type_come_back_and_are_reverted_exactly(past: Past, database: Database, lineage: bool) -> None:
    with past(TYPES, ROWS) as times:
        held = text_of(database, "s.t")
        xid = xid_of(
            database.live,
            database,
            "delete from s.t where id % 3 = 0",
            "update s.t set num = num::text::numeric + 0.00, f = 0, i = interval '30 days', mood = 'sad', big = 'x'"
            " where id % 3 = 1",
        )
        plan = times.diff(lineage=lineage, mode=Mode.REPAIR, incident_xids=(xid,))
        (table,) = plan.tables
        assert (table.inserts, table.updates, table.engine) == (
            6,
            7,
            DetectionMethod.LINEAGE if lineage else DetectionMethod.BUCKETS,
        )
        times.apply()
        assert text_of(database, "s.t") == held
        assert database.rows("insert into s.t (n) values (1) returning id")[0][0] > 20


def test_equal_is_not_identical(past: Past, database: Database) -> None:
    """1.0 and 1.00, -0 and 0, one month and thirty days are equal to PostgreSQL, and are not the same."""
    with past(
        "create table t (id int primary key, n numeric, f float8, i interval)",
        "insert into t values (1, '1.0', '-0', '1 mon'), (2, 5, 5, '1 day')",
    ) as times:
        xid = xid_of(database.live, database, "update t set n = 1.00, f = 0, i = '30 days' where id = 1")
        times.diff(lineage=False, mode=Mode.REPAIR, incident_xids=(xid,))
        times.apply()
        assert database.rows("select n::text, f::text, i::text from t where id = 1") == [("1.0", "-0", "1 mon")]


def test_classes_and_conflicts(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, price int, title text, email text unique)",
        "insert into t select g, g * 10, 'title ' || g, 'mail' || g from generate_series(1, 9) g",
    ) as times:
        bad = xid_of(database.live, database, "update t set price = 0 where id <= 4", "delete from t where id >= 7")
        database.run(
            "update t set title = 'better' where id = 2",  # after the incident: both
            "update t set price = 21 where id = 3",  # corrected since
            "update t set title = 'other' where id = 5",  # never hit
            "insert into t values (7, 700, 'new seven', 'mail70')",  # the key again, another entity
            "insert into t values (10, 100, 'ten', 'mail9')",  # takes the unique key of a lost row
        )
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        found = {kind: [change.key for change in times.rows_of(kind)] for kind in RowClass}
        assert found[RowClass.REVERTED] == [("1",), ("4",)]
        assert found[RowClass.CONFLICT] == [("2",)]
        assert sorted(found[RowClass.NEWER]) == [("3",), ("5",)]
        assert found[RowClass.REUSED] == [("7",)]
        assert found[RowClass.LOST] == [("8",)]
        assert found[RowClass.NEW] == [("10",)]
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert (blocked.key, blocked.reason) == (("9",), "unique key t_email_key is taken by (10)")
        times.apply()
        assert database.rows("select id, price, title from t order by id") == [
            (1, 10, "title 1"),
            (2, 0, "better"),
            (3, 21, "title 3"),
            (4, 40, "title 4"),
            (5, 50, "other"),
            (6, 60, "title 6"),
            (7, 700, "new seven"),
            (8, 80, "title 8"),
            (10, 100, "ten"),
        ]


@pytest.mark.parametrize(
    ("policy", "row"),
    [
        (OnConflict.KEEP_LIVE, (0, "better", 5)),
        (OnConflict.TAKE_T, (20, "title 2", 2)),
        (OnConflict.MERGE, (20, "better", 5)),
    ],
)
def test_conflict_policies(past: Past, database: Database, policy: OnConflict, row: tuple[Any, ...]) -> None:
    with past(
        "create table t (id int primary key, price int, title text, n int)",
        "insert into t select g, g * 10, 'title ' || g, g from generate_series(1, 3) g",
    ) as times:
        bad = xid_of(database.live, database, "update t set price = 0")
        database.run("update t set title = 'better', n = 5 where id = 2")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,), on_conflict=policy)
        times.apply()
        assert database.rows("select price, title, n from t where id = 2") == [row]


def test_a_merge_that_cannot_tell_the_writers_apart_keeps_the_live_row(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, price int, title text)",
        "insert into t select g, g * 10, 'title' from generate_series(1, 4) g",
    ) as times:
        bad = xid_of(database.live, database, "update t set price = price * 2")
        database.run("update t set title = 'better' where id = 2")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,), on_conflict=OnConflict.MERGE)
        (conflict,) = times.rows_of(RowClass.CONFLICT)
        assert conflict.reason == "the incident and a later writer cannot be told apart in one column"
        times.apply()
        assert database.rows("select price, title from t where id = 2") == [(40, "better")]


def test_an_unnamed_incident_is_refused_with_the_candidates(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, a int, b int)", "insert into t select g, g, g from generate_series(1, 5) g"
    ) as times:
        one = xid_of(database.live, database, "update t set a = 0 where id < 4")
        two = xid_of(database.live, database, "update t set b = 0 where id = 5")
        with pytest.raises(RowbackError) as refused:
            times.diff(mode=Mode.REPAIR)
        assert str(refused.value) == (
            "error[incident-unknown]: 4 rows changed since T, and which transaction was the incident is not known\n"
            f"  transaction {one}: 3 rows of public.t (a)\n"
            f"  transaction {two}: 1 row of public.t (b)\n"
            "  most of them are ordinary work: name one only if you know that it was the incident (rowback find tells"
            " more)\n"
            "  nothing was written to the original\n"
            "  help: rowback diff case --mode repair --incident-xid XID, or without changed rows: rowback diff case"
            " --mode missing"
        )
