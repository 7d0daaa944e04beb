"""Plain indexes are away while rows arrive and are the same afterwards; foreign keys are checked by sets."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_plan import ForeignKeyMode, PlannedTable, Why
from recovery.model.values import TableName
from recovery.postgres.copy_rows import CopyTransport
from recovery.postgres.plain_indexes import build_indexes, drop_indexes, plain_indexes, still_missing
from recovery.reload import foreign_keys_by_sets
from recovery.reload.load_transaction import load
from recovery.reload.prepare_load import prepare
from recovery.reload.verify_after_commit import verify
from tests.fix_lab import Database
from tests.fix_schema import schema_of
from tests.server.load.jobs import ignore, job_for

TABLE = """
create extension if not exists btree_gist;
create schema app;
create function app.half(n int) returns int immutable language sql as 'select n / 2';
create table "Weird Name; --" (
  "t" int primary key, code text unique, body text, meta jsonb, tags int[], spot point, span int4range,
  at timestamptz, flag boolean, exclude using gist (span with &&));
"""
PLAIN = (
    'create index "plain" on "Weird Name; --" (body)',
    'create index "In ""quotes""" on "Weird Name; --" (at desc nulls last, "t")',
    'create index on "Weird Name; --" (body) where flag',
    "create index on \"Weird Name; --\" (lower(body), (meta ->> 'k'))",
    'create index on "Weird Name; --" (app.half("t"))',
    'create index on "Weird Name; --" (at) include (flag, body)',
    'create index on "Weird Name; --" (body collate "C" text_pattern_ops)',
    'create index on "Weird Name; --" using gin (meta jsonb_path_ops) with (fastupdate = off)',
    'create index on "Weird Name; --" using gin (tags)',
    'create index on "Weird Name; --" using gist (spot)',
    'create index on "Weird Name; --" using spgist (body)',
    'create index on "Weird Name; --" using brin (at) with (pages_per_range = 8)',
    'create index on "Weird Name; --" using hash (body)',
    'create index packed on "Weird Name; --" (flag) with (fillfactor = 55)',
    "comment on index packed is 'it''s packed'",
    'alter table "Weird Name; --" cluster on packed',
    'create index measured on "Weird Name; --" ((length(body)))',
    "alter index measured alter column 1 set statistics 777",
)
STAY = (
    'create unique index once on "Weird Name; --" (code, body)',
    'create unique index on "Weird Name; --" (at, "t")',
)
ROWS = """
insert into "Weird Name; --" select g, 'c' || g, 'body ' || g % 97, jsonb_build_object('k', g % 13), array[g % 7, g],
  point(g, -g), int4range(g * 10, g * 10 + 3), timestamptz '2026-01-01Z' + g * interval '1 minute', g % 3 = 0
from generate_series(1, 3000) g
"""
NUMBER = sum(text.startswith("create index") for text in PLAIN)


@pytest.fixture
def twins(source: Database, database: Database) -> tuple[Database, Database]:
    for each in (source, database):
        each.run(*TABLE.split(";\n")[:-1], *PLAIN, *STAY)
    source.run(ROWS)
    return source, database


def test_every_plain_index_goes_and_comes_back_as_it_was(twins: tuple[Database, Database]) -> None:
    source, database = twins
    before = schema_of(database)
    with job_for(source, database) as (there, here, job):
        held = plain_indexes(here, [pair.original.oid for pair in job.fills])
        assert len(held) == NUMBER
        assert drop_indexes(here, held, timeout_ms=1000)
        assert still_missing(here, held) == held
        assert len(database.rows("select from pg_index where indrelid = '\"Weird Name; --\"'::regclass")) == 5
        with_indexes = replace(job, held_indexes=tuple(held))
        done = load(here, with_indexes, CopyTransport(there), before_commit=ignore)
        assert done.indexes_built == NUMBER
        assert verify(here, with_indexes, done).proven
    assert schema_of(database) == before
    query = 'select count(*), sum(hashtextextended(t::text, 0)) from "Weird Name; --" t'
    assert database.rows(query) == source.rows(query)
    assert database.rows("select count(*) from pg_index where not indisvalid or not indisready") == [(0,)]


def test_a_refused_load_leaves_them_to_be_built(twins: tuple[Database, Database]) -> None:
    source, database = twins
    before = schema_of(database)
    with job_for(source, database) as (there, here, job):
        held = plain_indexes(here, [pair.original.oid for pair in job.fills])
        assert drop_indexes(here, held, timeout_ms=1000)
        database.run("""insert into "Weird Name; --" values (1)""")
        with pytest.raises(RowbackError) as refused:
            load(here, replace(job, held_indexes=tuple(held)), CopyTransport(there), before_commit=ignore)
        assert refused.value.id is ErrorId.PLAN_FACTS_CHANGED
        assert still_missing(here, held) == held
        with here.transaction():
            build_indexes(here, still_missing(here, held))
        assert still_missing(here, held) == []
    assert schema_of(database) == before


def test_nothing_is_dropped_where_rows_came_or_a_reader_is_in_the_way(twins: tuple[Database, Database]) -> None:
    source, database = twins
    before = schema_of(database)
    with job_for(source, database) as (_, here, job):
        held = plain_indexes(here, [pair.original.oid for pair in job.fills])
        with database.connect() as reader, reader.transaction():
            reader.execute('select count(*) from "Weird Name; --"')
            assert not drop_indexes(here, held, timeout_ms=50)
        database.run("""insert into "Weird Name; --" values (1)""")
        assert not drop_indexes(here, held, timeout_ms=1000)
    assert schema_of(database) == before


def test_an_index_that_another_one_replaced_meanwhile_ends_the_load(twins: tuple[Database, Database]) -> None:
    source, database = twins
    with pytest.raises(RowbackError) as refused, job_for(source, database) as (there, here, job):
        held = plain_indexes(here, [pair.original.oid for pair in job.fills])
        assert drop_indexes(here, held, timeout_ms=1000)
        database.run('create index "plain" on "Weird Name; --" (code)')
        load(here, replace(job, held_indexes=tuple(held)), CopyTransport(there), before_commit=ignore)
    assert refused.value.id is ErrorId.LOAD_REFUSED
    assert 'relation "plain" already exists' in refused.value.fact
    assert database.rows('select count(*) from "Weird Name; --"') == [(0,)]
    assert "(code)" in database.rows("select pg_get_indexdef('plain'::regclass)")[0][0]


FAMILY = (
    "create table parents (id int primary key, code text)",
    "create table children (id int primary key, parent int references parents, up int references children)",
    "insert into parents select g, 'p' || g from generate_series(1, 100) g",
)
CHILDREN_ALONE = (
    PlannedTable(name=TableName(schema_name="public", name="children"), why=Why.NAMED, because="", bytes_now=0),
)
CHILDREN = "insert into children select g, 1 + g % 100, nullif(g - 1, 0) from generate_series(1, 400) g"


@pytest.fixture
def family(source: Database, database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[Database, Database]:
    """Children are loaded whole, their parents stand outside; few rows count as many."""
    monkeypatch.setattr(foreign_keys_by_sets, "ROWS_BY_SETS", 100)
    for each in (source, database):
        each.run(*FAMILY)
    source.run(CHILDREN)
    return source, database


def test_parents_outside_stay_until_the_commit_and_can_be_written_to(family: tuple[Database, Database]) -> None:
    source, database = family
    with database.connect() as other, job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        assert prepare(here, job, ()).mode is ForeignKeyMode.SETS

        def meanwhile(done: object) -> None:
            other.execute("set lock_timeout = '100ms'")
            other.execute("update parents set code = 'new' || id where id = 7")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("delete from parents where id = 7")

        load(here, job, CopyTransport(there), before_commit=meanwhile)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            other.execute("delete from parents where id = 7")
    assert database.rows("select * from children order by 1") == source.rows("select * from children order by 1")
    assert database.rows("select code from parents where id = 7") == [("new7",)]


def test_a_parent_that_is_gone_refuses_the_rows(family: tuple[Database, Database]) -> None:
    source, database = family
    database.run("delete from parents where id = 7")
    with job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        assert prepare(here, job, ()).mode is ForeignKeyMode.SETS
        with pytest.raises(RowbackError) as refused:
            load(here, job, CopyTransport(there), before_commit=ignore)
    assert refused.value.fact == "rows at T reference rows that do not exist now"
    assert database.rows("select count(*) from children") == [(0,)]


def test_a_parent_that_is_being_deleted_is_waited_for(family: tuple[Database, Database]) -> None:
    source, database = family
    with database.connect() as other, job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        with other.transaction(force_rollback=True):
            other.execute("delete from parents where id = 7")
            with pytest.raises(RowbackError) as refused:
                load(here, job, CopyTransport(there), before_commit=ignore)
        assert refused.value.id is ErrorId.LOCK_NOT_GRANTED
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("select count(*) from children") == [(400,)]


@pytest.mark.parametrize(
    "constraint",
    [
        "foreign key (parent) references parents not valid",
        "foreign key (parent) references parents match full",
        "unique (id, parent) deferrable",
    ],
)
def test_what_one_statement_cannot_check_is_checked_row_by_row(
    family: tuple[Database, Database], constraint: str
) -> None:
    source, database = family
    database.run(f"alter table children add constraint again {constraint}")
    with job_for(source, database, tables=CHILDREN_ALONE) as (_, here, job):
        assert prepare(here, job, ()).mode is not ForeignKeyMode.SETS
