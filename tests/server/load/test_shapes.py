"""Rows of every shape arrive identical."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recovery.errors import RowbackError
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.copy_rows import CopyTransport
from recovery.reload.load_job import Loaded
from recovery.reload.load_transaction import load
from tests.fix_lab import Database
from tests.server.load.jobs import ignore, job_for, transport_of

SHAPES = """
create schema s;
create type s.mood as enum ('sad', 'glad');
create type s.pair as (a int, b text);
create domain s.positive as int check (value > 0);
create table s.parent (id int generated always as identity primary key, name text);
create table s.child (
  id bigserial primary key, parent_id int not null references s.parent, up bigint references s.child,
  mood s.mood, moods s.mood[], pair s.pair, n s.positive, j jsonb, js json, b bytea, x numeric(10, 3),
  f float8, r int4range, ts timestamptz, i interval, u uuid, arr text[],
  g int generated always as (n * 2) stored
);
create table s."Weird Name; --" ("t" int, "select" text, "Ünï; drop" text);
create table s.empty (n int);
create table s.nocolumns ();
"""


ROWS = r"""
insert into s.parent (name) values ('eins'), (null), ('');
insert into s.child (parent_id, up, mood, moods, pair, n, j, js, b, x, f, r, ts, i, u, arr)
select 1 + g % 3, nullif(g, 0), (array['sad', 'glad'])[1 + g % 2]::s.mood, '{glad,sad}',
  row(g, E'a\tb\n\\.\n"c"'::text)::s.pair, g + 1,
  jsonb_build_object('한', g, 'n', 1.50), '{"a":  1}', decode(lpad(to_hex(g), 8, '0'), 'hex'), g / 8.0,
  (array['nan', 'infinity', '-infinity', '-0', '0.1'])[1 + g % 5]::float8, int4range(g, g + 5),
  timestamptz '2026-01-01 00:00:00.123456Z' + g * interval '1 hour', g * interval '1 month', md5(g::text)::uuid,
  array['\.', '\N', E'\\', null, '']
from generate_series(0, 499) g;
insert into s."Weird Name; --" values (1, '\.', E'\\.'), (null, null, ''), (2, repeat('한글', 60000), E'\n\\.\n');
insert into s.nocolumns select from generate_series(1, 3);
"""


@pytest.mark.parametrize("kind", ["copy", "dump"])
def test_rows_of_every_shape_arrive_identical(source: Database, database: Database, kind: str, tmp_path: Path) -> None:
    source.run(SHAPES, ROWS)
    database.run(SHAPES)
    with job_for(source, database) as (there, here, job):
        intents: list[Loaded] = []
        done = load(here, job, transport_of(kind, there, source, job, tmp_path), before_commit=intents.append)
        (intent,) = intents
        assert intent == done.model_copy(update={"seconds_locked": intent.seconds_locked})
        assert 0 < intent.seconds_locked <= done.seconds_locked, "the commit is under the locks as well"
        assert done.rows == {
            "s.parent": 3,
            "s.child": 500,
            's."Weird Name; --"': 3,
            "s.empty": 0,
            "s.nocolumns": 3,
        }
        assert load_statements.transaction_status(here, done.xids[0]) == "committed"
    for table in ("s.parent", "s.child", 's."Weird Name; --"', "s.nocolumns"):
        query = f"select t::text from {table} t order by 1"
        assert database.rows(query) == source.rows(query)
    assert database.rows("insert into s.parent (name) values ('next') returning id") == [(4,)]
    assert database.rows("insert into s.child (parent_id, n) values (1, 1) returning id") == [(501,)]


NEWLINES = (
    'create table "line\none FROM stdin;\n1" (id int, "c\nd" text, "q""\nr FROM stdin;" int)',
    'create table "\nCOPY ""x""" ("""\n" text)',
)


@pytest.mark.parametrize("kind", ["copy", "dump"])
def test_newlines_in_names_end_no_header(source: Database, database: Database, kind: str, tmp_path: Path) -> None:
    """What looks like the end of COPY's header, or like a header, may stand inside of a quoted name."""
    source.run(
        *NEWLINES,
        "insert into \"line\none FROM stdin;\n1\" values (1, 'a\nb', 2), (3, null, 4)",
        'insert into "\nCOPY ""x""" values (\'FROM stdin;\'), (E\'\\\\.\')',
    )
    database.run(*NEWLINES)
    with job_for(source, database) as (there, here, job):
        load(here, job, transport_of(kind, there, source, job, tmp_path), before_commit=ignore)
    for table in ('"line\none FROM stdin;\n1"', '"\nCOPY ""x"""'):
        query = f"select t::text from {table} t order by 1"
        assert len(source.rows(query)) == 2
        assert database.rows(query) == source.rows(query)


def test_types_that_were_made_anew_travel_as_text(source: Database, database: Database) -> None:
    source.run("create type mood as enum ('a', 'b')", "create table t (m mood[])", "insert into t values ('{b,a}')")
    database.run("create type other as enum ('x')", "create type mood as enum ('a', 'b')", "create table t (m mood[])")
    with job_for(source, database) as (there, here, job):
        assert not job.fills[0].binary
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("select m::text from t") == [("{b,a}",)]


CYCLE = (
    "create table a (id int primary key, b int); create table b (id int primary key, a int references a);"
    " alter table a add foreign key (b) references b"
)


@pytest.mark.parametrize(("clause", "mode"), [(" deferrable", ForeignKeyMode.DEFERRED), ("", ForeignKeyMode.REPLICA)])
def test_cycles_of_foreign_keys_load_and_are_checked(
    source: Database, database: Database, clause: str, mode: ForeignKeyMode
) -> None:
    for db in (source, database):
        db.run(CYCLE + clause)
    source.run("set session_replication_role = replica; insert into a values (1, 2); insert into b values (2, 1)")
    with job_for(source, database) as (there, here, job):
        assert load_order(job.filled, job.catalog)[1] is mode
        done = load(here, job, CopyTransport(there), before_commit=ignore)
        assert done.foreign_keys_checked == 2
        assert here.execute("show session_replication_role").fetchone() == ("origin",)
    assert database.rows("select * from a") == [(1, 2)]


def test_a_missing_parent_rolls_everything_back_even_in_replica_mode(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run(CYCLE, "create table outside (id int primary key)", "alter table a add o int references outside")
    source.run("set session_replication_role = replica; insert into a values (1, null, 77)")
    with job_for(source, database) as (there, here, job):
        narrow = replace(job, fills=[p for p in job.fills if p.name.name != "outside"])
        refused_tables: list[TableName] = []
        with pytest.raises(RowbackError) as refused:
            load(here, replace(narrow, refused=refused_tables.append), CopyTransport(there), before_commit=ignore)
    assert list(map(str, refused_tables)) == ["public.a"], "it is compared row by row, and the rest comes back"
    assert str(refused.value) == (
        "error[load-refused]: rows of public.a cannot be written\n"
        "  1 row without its parent in public.outside (a_o_fkey)\n"
        "  the transaction was rolled back: nothing was written to the original\n"
        "  help: compare again, so that they are found beforehand: rowback diff CASE --again"
    )
    assert database.rows("select count(*) from a") == [(0,)]
