"""Dropped columns among partitions, domains, triggers, policies and newcomers: right, or said; never silently wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, wait_until
from tests.schema_dump import by_psql, definitions, in_any_order

pytestmark = pytest.mark.kinds

ROWS = "insert into t select g, 'a' || g, 'b' || g from generate_series(1, 20) g;"
PLAIN = "create table t (id int primary key, a text, b text);" + ROWS
KEYLESS = "create table t (id int, a text, b text);" + ROWS
PARTS = (
    "create table t (id int primary key, a text, b text) partition by range (id);"
    "create table t_1 partition of t for values from (0) to (11);"
    "create table t_2 partition of t for values from (11) to (1000);"
)
VALUES = "select id, b from t order by id"
HELD = [(n, f"b{n}") for n in range(1, 21)]


@dataclass(frozen=True)
class Case:
    """`now`: queries and what they give afterwards; `same`: whether all definitions are what they were."""

    setup: str
    since: str
    tables: tuple[str, ...] = ("t",)
    code: int = 0
    said: tuple[str, ...] = ()
    now: tuple[tuple[str, list[tuple[Any, ...]]], ...] = field(default=((VALUES, HELD),))
    same: bool = True


CASES = {
    "a partition has a default and NOT NULL of its own": Case(
        PARTS + ROWS + "alter table t alter b set default 'root';"
        "alter table t_1 alter b set default 'leaf', alter b set not null;",
        "alter table t drop column b;",
    ),
    "a heir that was made since gets the default": Case(
        "create table t (id int primary key, b text default 'none');" + ROWS.replace("'a' || g, ", ""),
        "alter table t drop column b; create table heir () inherits (t); insert into heir values (100);",
        now=(("select id, b from only t order by id", HELD), ("select id, b from heir", [(100, "none")])),
        same=False,
    ),
    "a trigger for each statement of a partitioned table": Case(
        "create sequence fired; create function note() returns trigger language plpgsql as"
        " $$ begin perform nextval('public.fired'); return null; end $$;" + PARTS + ROWS +
        "create trigger noted after update on t for each statement execute function note();",
        "alter table t drop column b;",
        now=((VALUES, HELD), ("select is_called from fired", [(False,)])),
    ),
    "a rule of a partitioned table": Case(
        PARTS + ROWS + "create rule off as on update to t do instead nothing;", "alter table t drop column b;"
    ),
    "rows whose keys were changed": Case(
        PLAIN,
        "alter table t drop column b; update t set id = 500 where id = 3;",
        code=47,
        said=("1 row of T are not there under their key any more (deleted, or given another key)",),
        now=((VALUES, [row for row in HELD if row[0] != 3] + [(500, None)]),),
    ),
    "an unlogged table": Case(
        PLAIN.replace("create table", "create unlogged table"),
        "alter table t drop column b;",
        code=25,
        said=("public.t: it is unlogged, so no backup holds the values of b",),
        now=(("select count(*) from t", [(20,)]),),
        same=False,
    ),
    "a sequence that is there gives newcomers their numbers": Case(
        "create sequence s; create table t (id int primary key, n bigint unique not null default nextval('s'));"
        "insert into t (id) select generate_series(1, 20);",
        "alter table t drop column n cascade; insert into t values (100), (101); select nextval('s');",
        now=(
            ("select id, n from t where id <= 20 order by id", [(n, n) for n in range(1, 21)]),
            ("select count(distinct n), (select last_value from s) >= max(n) from t", [(22, True)]),
        ),
    ),
    "columns that swapped their names": Case(
        "create table t (id int primary key, lo int, hi int, b int generated always as (lo * 2) stored,"
        " constraint k check (lo < hi)); insert into t select g, g, g + 5 from generate_series(1, 20) g;",
        "alter table t drop column b, drop constraint k; alter table t rename lo to x; alter table t rename hi to lo;"
        " alter table t rename x to hi; create index made_since on t (hi); drop index made_since;",
        code=41,
        said=("column b is left away: its expression names columns that were renamed since",),
        now=(("select count(*) from pg_attribute where attrelid = 't'::regclass and attname = 'b'", [(0,)]),),
        same=False,
    ),
    "a type that the column needs comes with the table that is named": Case(
        "create type mood as enum ('sad', 'ok'); create function fresh() returns text language sql as 'select 1::text';"
        + PLAIN + "alter table t add m mood default 'ok', add ms mood[] default '{sad}', alter a set default fresh();",
        "drop type mood cascade; drop function fresh() cascade;",
        now=(("select count(*), min(m::text), min(ms::text) from t", [(20, "ok", "{sad}")]),),
    ),
    "a view that is named brings the column that it shows": Case(
        PLAIN + "create view v as select b from t; create view w as select * from v;",
        "alter table t drop column b cascade;",
        tables=("w",),
    ),
    "a serial column of partitions": Case(
        "create table t (id int primary key, n serial) partition by range (id);"
        "create table t_1 partition of t for values from (0) to (11);"
        "create table t_2 partition of t for values from (11) to (1000);"
        "insert into t select generate_series(1, 20);",
        "alter table t drop column n; insert into t values (100), (101);",
        now=(
            ("select id, n from t where id <= 20 order by 1", [(n, n) for n in range(1, 21)]),
            ("select count(distinct n), min(n) filter (where id > 20) > 20 from t", [(22, True)]),
        ),
    ),
    "an identity column of partitions": Case(
        PARTS.replace("b text", "b bigint generated always as identity")
        + "insert into t select g, 'a' || g from generate_series(1, 20) g;",
        "alter table t drop column b; insert into t values (100);",
        now=(("select count(distinct b), min(b) filter (where id > 20) > 20 from t", [(21, True)]),),
    ),
    "a partition that was detached": Case(
        PARTS + ROWS, "alter table t drop column b; alter table t detach partition t_1;",
        tables=("t", "t_1"),
        code=47,
        said=("not as at T    public.t",),
        now=(("select * from (select id, b from t union select id, b from t_1) x order by 1", HELD),),
        same=False,
    ),
    "a partition alone": Case(
        PARTS + ROWS, "alter table t drop column b;",
        tables=("t_1",),
        code=25,
        said=("public.t_1: it is a partition, and gets b with the table that it is one of, or not at all",),
        now=(("select count(*) from t", [(20,)]),),
        same=False,
    ),
    "a heir that inherits no more": Case(
        "create table p (id int primary key, b text); create table t (primary key (id)) inherits (p);"
        + ROWS.replace("'a' || g, ", ""),
        "alter table p drop column b; alter table t no inherit p;",
        tables=("p", "t"),
        code=47,
        said=("not as at T    public.t: it is there",),
        same=False,
    ),
    "deferred foreign keys": Case(
        "create table f (id int primary key); insert into f select generate_series(1, 200);"
        "create table t (id int primary key references f deferrable initially deferred, b text default 'none',"
        " n serial); insert into t (id, b) select g, 'b' || g from generate_series(1, 20) g;",
        "alter table t drop column b, drop column n; insert into t values (100), (101);",
        now=(("select count(distinct n), count(*) filter (where b = 'none') from t", [(22, 2)]),),
    ),
    "a check that old rows violate": Case(
        PLAIN + "alter table t add constraint old check (id > 10) not valid;", "alter table t drop column b;"
    ),
    "a check that finds its table by the search_path": Case(
        "create table lk (n int); insert into lk values (99); create function fits(int) returns boolean"
        " language plpgsql as $$ begin return $1 < (select n from lk); end $$;" + PLAIN +
        "alter table t add constraint c check (fits(id));",
        "alter table t drop column b;",
    ),
    "a domain that is NOT NULL": Case(
        "create domain word as text not null check (length(value) > 1);" + PLAIN.replace("b text", "b word"),
        "alter table t drop column b;",
    ),
    "a domain, and no key": Case(
        "create domain word as text check (length(value) > 1);" + KEYLESS.replace("b text", "b word"),
        "alter table t drop column b;",
    ),
    "a key of another type": Case(
        PLAIN, "alter table t drop column b; alter table t alter id type numeric(12, 2);",
        code=47,
        said=("not as at T    public.t: it is there",),
        now=(("select id::int, b from t order by 1", HELD),),
        same=False,
    ),
    "a key of a fixed length": Case(
        "create table t (id char(5) primary key, v bit(4), a text, b text);"
        "insert into t select 'k' || g, g::bit(4), 'a', 'b' || g from generate_series(1, 20) g;"
        "insert into t values ('k', b'0000', 'a', 'short');",
        "alter table t drop column b;",
        now=(("select count(*) from t where b = 'b' || substr(id, 2)", [(20,)]),
             ("select b from t where id = 'k'", [("short",)])),
    ),
    "a key of a fixed length that is longer now": Case(
        "create table t (id char(5) primary key, b text);"
        "insert into t select 'k' || g, 'b' || g from generate_series(1, 20) g;"
        "insert into t values ('k', 'short');",
        "alter table t drop column b; alter table t alter id type char(9);",
        code=47,
        said=("not as at T    public.t: it is there",),
        now=(("select count(*) from t where b = 'b' || substr(id, 2)", [(20,)]),
             ("select b from t where id = 'k'", [("short",)])),
        same=False,
    ),
    "a column that somebody made again": Case(
        PLAIN + "create index i on t (a);",
        "alter table t drop column b; alter table t add b text; drop index i;",
        code=47,
        said=("public.t: column b was dropped and made again since T, without its values",),
        now=(("select count(b) from t", [(0,)]), ("select to_regclass('i')::text", [("i",)])),
        same=False,
    ),
    "a check with a comment that old rows violate": Case(
        PLAIN + "alter table t add constraint old check (id > 10) not valid;"
        "comment on constraint old on t is 'it''s old';",
        "alter table t drop column b;",
    ),
    "policies that are forced": Case(
        PLAIN + "alter table t enable row level security, force row level security;"
        "create policy p on t using (false);",
        "alter table t drop column b;",
        now=(("select relforcerowsecurity from pg_class where oid = 't'::regclass", [(True,)]),),
    ),
    "a unique value that newcomers share": Case(
        "create table t (id int primary key, b text unique not null default 'none');" + ROWS.replace("'a' || g, ", ""),
        "alter table t drop column b; insert into t values (100), (101);",
        code=54,
        said=("could not create unique index", "rowback close "),
        now=(("select count(*) from t", [(22,)]),),
        same=False,
    ),
    "a default that does not fit any more": Case(
        PLAIN + "alter table t alter a set default 'x';",
        "alter table t drop column b; alter table t alter a drop default; update t set a = '1';"
        " alter table t alter a type int using a::int;",
        code=47,
        said=("public.t: column a has no default again: ",),
        same=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_right_or_said(cli: Cli, database: Database, name: str) -> None:
    case = CASES[name]
    by_psql(database, case.setup)
    before, target = in_any_order(definitions(database)), pass_a_second()
    by_psql(database, case.since)
    without = definitions(database)
    named = [word for table in case.tables for word in ("--table", table)]
    ran = cli(*restoring(cli, database, target, "--mode", "recreate", *named))
    assert ran.code == case.code, ran.err
    for words in case.said:
        assert words in ran.err, ran.err
    for query, rows in case.now:
        assert database.rows(query) == rows, ran.err
    if case.same:
        assert in_any_order(definitions(database)) == before
    elif case.code not in {0, 47}:
        assert definitions(database) == without


def test_rows_that_are_told_by_their_place_need_the_same_file_under_the_lock(cli: Cli, database: Database) -> None:
    """A CLUSTER in between moves every row and keeps who wrote it."""
    database.run(
        "create table t (id int, a int, b text)",
        "insert into t select g, 100 - g, 'b' || g from generate_series(1, 20) g",
        "create index ix on t (a)",
    )
    target = pass_a_second()
    database.run("alter table t drop column b cascade")
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and {}"
    ours, cluster = (waiting.format(who) for who in ("application_name = 'rowback'", "query like 'cluster%'"))
    with database.connect() as holder, database.connect() as other, ThreadPoolExecutor(1) as pool:
        holder.execute("begin; select from t")
        run = cli.start(*restoring(cli, database, target, "--mode", "recreate", "--table", "t"))
        wait_until(lambda: database.rows(ours) == [(1,)], "its wait for the lock", 60)
        clustered = pool.submit(other.execute, "cluster t using ix")
        wait_until(lambda: database.rows(cluster) == [(1,)] and database.rows(ours) == [(0,)], "that it pauses", 60)
        holder.execute("commit")
        clustered.result(timeout=30)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 22, said
    assert "public.t was rewritten since the plan was made" in said
    assert database.rows("select count(*) from pg_attribute where attrelid = 't'::regclass and attname = 'b'") == [(0,)]


def test_a_second_case_is_not_kept_away_by_the_first(cli: Cli, database: Database) -> None:
    """The column of the first one is there again, under another number."""
    by_psql(database, PLAIN + "create table u (id int primary key);")
    target = pass_a_second()
    database.run("alter table t drop column a", "drop table u")
    first = cli(*restoring(cli, database, target, "--mode", "recreate", "--table", "t"))
    assert first.code == 0, first.err
    second = cli(*restoring(cli, database, target, "--mode", "recreate"))
    assert second.code == 0, second.err
    assert "COLUMN public.t.a was given back by an earlier case: it is not compared again" in second.err
    assert database.rows("select count(*) from t where a = 'a' || id") == [(20,)]
