"""In place: indexes are away while the rows come, readers never wait, and every definition is what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy
from recovery.model.plain_index import PlainIndex
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import CopyTransport
from recovery.postgres.plain_indexes import OTHERWISE, remove_empty_schema
from recovery.postgres.read_catalog import nonempty
from recovery.reload.load_in_place import (
    IndexesNotBuilt,
    build_again,
    choose_indexes,
    drop_before_load,
    unbuilt,
)
from recovery.reload.load_job import DroppedIndexes, Job
from recovery.reload.load_transaction import load
from tests.fix_lab import Database
from tests.schema_dump import checksum, definitions
from tests.server.load.index_shapes import SHAPES, Shape, types_for
from tests.server.load.jobs import ignore, job_for

SCHEMA = "rowback_case_20260101_000000_abcd"


@contextmanager
def without_indexes(here: Session, job: Job) -> Iterator[Job]:
    """The job, with all that can be dropped dropped."""
    rows = {pair.name: job.rows_to_fill(pair.name) for pair in job.fills}
    chosen, _ = choose_indexes(here, rows, LoadStrategy.IN_PLACE)
    yield replace(job, dropped_indexes=DroppedIndexes(SCHEMA, drop_before_load(here, SCHEMA, chosen, print)))


def indexes_in(database: Database) -> set[str]:
    return {name for (name,) in database.rows("select relname from pg_class where relkind = 'i' and oid >= 16384")}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_is_built_again_is_what_it_was(source: Database, database: Database, shape: Shape) -> None:
    for each in (source, database):
        each.run(*types_for(shape.definitions), *shape.definitions)
    source.run(*shape.rows)
    before, present = definitions(database), indexes_in(database)
    with job_for(source, database) as (there, here, job), without_indexes(here, job) as ready:
        assert present - indexes_in(database) == set(shape.dropped)
        loaded = load(here, ready, CopyTransport(there), before_commit=ignore)
        remove_empty_schema(here, SCHEMA)
    assert loaded.indexes_built == len(shape.dropped)
    assert checksum(database, shape.table) == checksum(source, shape.table)
    assert definitions(database) == before
    invalid = "select indexrelid::regclass from pg_index where not (indisvalid and indisready)"
    assert database.rows(invalid) == []
    assert database.rows("select nspname from pg_namespace where nspname like 'rowback%'") == []


def test_the_indexes_find_the_rows(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, a int, b text)", "create index i on t (a, lower(b))")
    source.run("insert into t select g, g % 100, 'Row ' || g from generate_series(1, 3000) g")
    with job_for(source, database) as (there, here, job), without_indexes(here, job) as ready:
        load(here, ready, CopyTransport(there), before_commit=ignore)
    with database.connect() as session:
        session.execute("set enable_seqscan = off")
        query = "select id from t where a = 17 and lower(b) = 'row 117'"
        plan = "\n".join(line for (line,) in session.execute(f"explain {query}"))
        assert "Index Scan using i on t" in plan
        assert session.execute(query).fetchall() == [(117,)]


def test_readers_never_wait_for_the_rows_and_writers_do(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, a int)", "create index i on t (a)")
    source.run("insert into t select g, g from generate_series(1, 300) g")
    with database.connect() as other, job_for(source, database) as (there, here, job):

        def meanwhile(done: object) -> None:
            other.execute("set lock_timeout = '100ms'")
            assert other.execute("select count(*) from t").fetchall() == [(0,)]
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("insert into t values (1000, 1)")

        with without_indexes(here, job) as ready:
            load(here, ready, CopyTransport(there), before_commit=meanwhile)
        assert other.execute("select count(*) from t").fetchall() == [(300,)]


def test_a_reader_that_stays_keeps_the_indexes_and_nothing_else(
    source: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.reload.load_in_place.PATIENCE_S", 0.5)
    for each in (source, database):
        each.run("create table t (id int primary key, a int)", "create index i on t (a)")
    source.run("insert into t select g, g from generate_series(1, 300) g")
    told: list[str] = []
    with database.connect() as reader, job_for(source, database) as (there, here, job), reader.transaction():
        reader.execute("select count(*) from t")
        chosen, _ = choose_indexes(here, {job.fills[0].name: 300}, LoadStrategy.IN_PLACE)
        assert drop_before_load(here, SCHEMA, chosen, told.append) == []
        (line,) = told
        assert line.startswith(f"indexes of public.t stay: the lock is not free: pid {reader.info.backend_pid} (")
        loaded = load(here, job, CopyTransport(there), before_commit=ignore)
    assert "i" in indexes_in(database)
    assert (loaded.rows, loaded.indexes_built) == ({"public.t": 300}, 0)
    assert checksum(database, "t") == checksum(source, "t")


def test_readers_go_on_while_it_is_seen_that_the_table_is_empty(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a mass DELETE that reads all dead rows: only writers are kept out meanwhile."""
    database.run("create table t (id int primary key, a int)", "create index i on t (a)")
    asked: list[bool] = []
    with database.connect() as other, job_for(database, database) as (_, here, job):
        other.execute("set lock_timeout = '100ms'")

        def nonempty_meanwhile(session: Session, tables: list[TableName]) -> set[TableName]:
            assert other.execute("select count(*) from t").fetchall() == [(0,)]
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("insert into t values (1, 1)")
            asked.append(True)
            return nonempty(session, tables)

        monkeypatch.setattr("recovery.reload.load_in_place.nonempty", nonempty_meanwhile)
        chosen, _ = choose_indexes(here, {job.fills[0].name: 300}, LoadStrategy.IN_PLACE)
        assert drop_before_load(here, SCHEMA, chosen, print) == chosen
    assert asked == [True]


def test_rows_of_others_keep_the_indexes(source: Database, database: Database) -> None:
    """The load is going to refuse: what others write must not be searched without an index."""
    for each in (source, database):
        each.run("create table t (id int primary key, a int)", "create index i on t (a)")
    source.run("insert into t select g, g from generate_series(1, 300) g")
    with job_for(source, database) as (_, here, job):
        chosen, _ = choose_indexes(here, {job.fills[0].name: 300}, LoadStrategy.IN_PLACE)
        database.run("insert into t values (1, 1)")
        assert drop_before_load(here, SCHEMA, chosen, print) == []
        database.run("delete from t", "drop index i", "create index i on t (a desc)")
        assert drop_before_load(here, SCHEMA, chosen, print) == [], "it is another index now"
        assert "i" in indexes_in(database)


def test_rows_that_an_index_refuses_end_the_build_and_the_index_comes_back_empty(
    source: Database, database: Database
) -> None:
    """It was created while the table was empty, and not every row of T fits it."""
    for each in (source, database):
        each.run("create table t (id int primary key, b text)")
    database.run("create index i on t ((b::int))", "create index j on t (b)")
    source.run("insert into t values (1, '1'), (2, 'two')")
    before = definitions(database)
    with job_for(source, database) as (there, here, job), without_indexes(here, job) as ready:
        with pytest.raises(IndexesNotBuilt, match='invalid input syntax for type integer: "two"'):
            load(here, ready, CopyTransport(there), before_commit=ignore)
        assert ready.dropped_indexes
        indexes = ready.dropped_indexes.indexes
        assert unbuilt(here, SCHEMA, indexes) == indexes
        assert [build_again(here, SCHEMA, index, timeout_ms=200) for index in indexes] == ["", ""]
        assert unbuilt(here, SCHEMA, indexes) == []
        remove_empty_schema(here, SCHEMA)
    assert definitions(database) == before
    assert database.rows("select * from t") == []


def test_their_statements_are_in_the_database_while_they_are_away(source: Database, database: Database) -> None:
    """Whoever finds the indexes missing can build them without rowback and its files."""
    setup = (
        'create table "Weird Name; --" (id int primary key, "t" int, b text)',
        'create index "I""" on "Weird Name; --" ("t", lower(b))',
        "comment on index \"I\"\"\" is 'it''s'",
        'alter index "I""" alter column 2 set statistics 7',
        'alter table "Weird Name; --" cluster on "I"""',
    )
    for each in (source, database):
        each.run(*setup)
    source.run('insert into "Weird Name; --" values (1, 1)')
    before = definitions(database)
    with job_for(source, database) as (_, here, job), without_indexes(here, job):
        query = f"select key, value from json_each_text(obj_description('{SCHEMA}'::regnamespace)::json)"
        ((name, statements),) = database.rows(query)
        assert name == 'public."I"""'
        with database.connect() as person, person.transaction():
            for statement in statements.split(";\n"):
                person.execute(statement)
        database.run(f"drop schema {SCHEMA} cascade")
    assert definitions(database) == before


@pytest.mark.parametrize(
    ("rows", "strategy", "dropped"),
    [
        (ROWS_IN_PLACE[LoadStrategy.AUTO], LoadStrategy.AUTO, True),
        (ROWS_IN_PLACE[LoadStrategy.AUTO] - 1, LoadStrategy.AUTO, False),
        (1, LoadStrategy.IN_PLACE, True),
        (0, LoadStrategy.IN_PLACE, False),
        (ROWS_IN_PLACE[LoadStrategy.AUTO], LoadStrategy.PLAIN, False),
    ],
)
def test_the_rule(database: Database, rows: int, strategy: LoadStrategy, *, dropped: bool) -> None:
    database.run("create table t (id int primary key, a int)", "create index i on t (a)")
    with job_for(database, database) as (_, here, job):
        name = job.fills[0].name
        index = PlainIndex(
            table=name,
            table_oid=job.fills[0].original.oid,
            name="i",
            definition="CREATE INDEX i ON public.t USING btree (a)",
        )
        assert choose_indexes(here, {name: rows}, strategy) == ([index] if dropped else [], [])


def test_an_event_trigger_keeps_them(database: Database) -> None:
    """As AWS DMS installs one: it would note a migration that nobody made."""
    database.run("create table t (id int primary key, a int)", "create index i on t (a)")
    database.as_superuser(
        "create function f() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger watch on ddl_command_end execute function f()",
    )
    stays = 'public.t: "i" stay while the rows are loaded: event trigger watch would see it dropped and created'
    with job_for(database, database) as (_, here, job):
        assert choose_indexes(here, {job.fills[0].name: 300}, LoadStrategy.IN_PLACE) == ([], [stays])


def test_a_publication_of_all_tables_does_not_meet_ours(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, a int)", "create index i on t (a)")
    database.as_superuser("create publication everything for all tables")
    source.run("insert into t values (1, 1)")
    with job_for(source, database) as (there, here, job), without_indexes(here, job) as ready:
        published = "select tablename from pg_publication_tables where pubname = 'everything'"
        assert database.rows(published) == [("t",)]
        load(here, ready, CopyTransport(there), before_commit=ignore)
    assert "i" in indexes_in(database)


@pytest.mark.parametrize(
    "predicate", ["b in ('new', 'paid')", "b not in ('new', 'paid')", "b = any (array['a', 'b']::varchar[])"]
)
def test_what_postgresql_prints_otherwise_than_it_reads_stays(database: Database, predicate: str) -> None:
    """An index built from its own definition would be another one."""
    database.run("create table t (id int primary key, b varchar(20))", f"create index i on t (id) where {predicate}")
    with job_for(database, database) as (_, here, job):
        assert choose_indexes(here, {job.fills[0].name: 300}, LoadStrategy.IN_PLACE) == (
            [],
            [f'public.t: "i" stay while the rows are loaded: {OTHERWISE}'],
        )
    assert indexes_in(database) >= {"i", "t_pkey"}


def test_who_reads_the_statements_or_dumps_the_schema_is_in_nobodys_way(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, a int)", "create index i on t (a)")
    source.run("insert into t values (1, 1)")
    with (
        database.connect() as person,
        job_for(source, database) as (there, here, job),
        without_indexes(here, job) as ready,
        person.transaction(),
    ):
        person.execute("select obj_description(oid) from pg_namespace")
        definitions(database)
        load(here, ready, CopyTransport(there), before_commit=ignore)
    assert "i" in indexes_in(database)


def test_one_that_cannot_be_built_keeps_no_other_away(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, b text)")
    database.run("create index i on t ((b::int))", "create index j on t (b)", "create index k on t (id, b)")
    source.run("insert into t values (1, '1')")
    with job_for(source, database) as (_, here, job), without_indexes(here, job) as ready:
        assert ready.dropped_indexes
        i, j, k = ready.dropped_indexes.indexes
        database.run("insert into t values (2, 'two')", "create table k (n int)")
        reasons = {index.name: build_again(here, SCHEMA, index, timeout_ms=200) for index in (i, j, k)}
        assert reasons == {
            "i": 'the server refuses it: invalid input syntax for type integer: "two"',
            "j": "",
            "k": 'the server refuses it: relation "k" already exists',
        }
        assert unbuilt(here, SCHEMA, [i, j, k]) == [i, k]
        database.run("drop table k", "create index k on t (b desc)")
        assert unbuilt(here, SCHEMA, [i, j, k]) == [i, k], "another index of its name is not it"
        database.run("drop index k")
        assert build_again(here, SCHEMA, k, timeout_ms=200) == ""
        database.run("alter table t rename to t_emptied")
        assert build_again(here, SCHEMA, i, timeout_ms=200) == (
            "the table that it was dropped from is not called public.t any more"
        )
        assert unbuilt(here, SCHEMA, [i, j, k]) == [i], "it is not forgotten because its table has another name"
