"""Swap: tables built under hidden names are what the originals were, to pg_dump, to readers and to writers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import psycopg
import pytest

from recovery.model.values import TableName
from recovery.postgres.connect import Session, connect
from recovery.postgres.copy_rows import CopyTransport
from recovery.reload.build_hidden import BuildSite, NotSwapped, build_hidden
from recovery.reload.load_job import Loaded
from recovery.reload.row_writes import RowsRefused
from tests.fix_lab import Database
from tests.schema_dump import checksum, definitions
from tests.server.load.index_shapes import types_for
from tests.server.load.swap_shapes import HUNG, INDEXED, SwapShape
from tests.server.load.swapping import PARENT_AND_CHILD, ROWS, SCHEMAS, nothing_hidden, swapping


@pytest.mark.matrix
@pytest.mark.parametrize("shape", [*HUNG, *INDEXED], ids=lambda shape: shape.name)
def test_what_is_swapped_in_is_what_it_was(source: Database, database: Database, shape: SwapShape) -> None:
    for each in (source, database):
        each.run(*types_for(shape.definitions), *shape.definitions)
    database.run(*shape.here)
    source.run(*shape.rows)
    before = definitions(database)
    with swapping(source, database, *shape.tables) as swap:
        assert swap.why_not() == (f"{shape.tables[0]}: {shape.obstacle}" if shape.obstacle else "")
        if shape.obstacle:
            return
        if shape.otherwise:
            with pytest.raises(NotSwapped, match=f"^it would not read as it did: {shape.otherwise} "):
                swap.rehearse()
            assert definitions(database) == before
            return
        swap.rehearse()
        assert definitions(database) == before
        loaded = swap.exchange(swap.build())
    assert set(loaded.written_by) == set(shape.tables)
    for table in shape.tables:
        assert checksum(database, table) == checksum(source, table)
    assert definitions(database) == before
    assert nothing_hidden(database)
    invalid = "select indexrelid::regclass from pg_index where not (indisvalid and indisready)"
    assert database.rows(invalid) == []
    assert database.rows("select conname from pg_constraint where not convalidated") == []


def test_nobody_waits_before_the_exchange_and_it_holds_the_lock_to_its_end(
    source: Database, database: Database
) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS)
    with database.connect() as other, swapping(source, database) as swap:
        other.execute("set lock_timeout = '100ms'")
        ready = swap.build()
        assert other.execute("select count(*) from t").fetchall() == [(0,)]
        other.execute("insert into p values (5000, 'mine')")

        def meanwhile(loaded: Loaded) -> None:
            assert loaded.rows == {"public.p": 2000, "public.t": 8000}
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("select count(*) from t")

        swap.exchange(ready, meanwhile)
        assert other.execute("select count(*) from t").fetchall() == [(8000,)]
        assert other.execute("select count(*), max(v) filter (where id = 5000) from p").fetchall() == [(2001, "mine")]


def test_planner_has_statistics_and_sequences_stand_at_t(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS, "select setval('t_id_seq', 9000)")
    with swapping(source, database) as swap:
        loaded = swap.exchange(swap.build())
    assert [(str(move.sequence), move.after) for move in loaded.sequence_moves] == [("public.t_id_seq", 9000)]
    assert database.rows("insert into t (p) values (1) returning id") == [(9001,)]
    assert database.rows("select reltuples from pg_class where relname = 't'") == [(8000.0,)]
    assert database.rows("select count(*) from pg_stats where tablename = 't'") == [(3,)]


def test_an_identity_goes_on_where_it_stood(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int generated always as identity primary key, v text)")
    source.run("insert into t (v) select 'x' from generate_series(1, 50)")
    database.run("insert into t (v) select 'y' from generate_series(1, 70)", "delete from t")
    with swapping(source, database) as swap:
        swap.exchange(swap.build())
    assert database.rows("insert into t (v) values ('z') returning id") == [(71,)]


def test_a_reader_that_stays_is_named_and_nothing_is_changed(
    source: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.postgres.swap.brief_locks.PATIENCE_S", 0.5)
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS)
    with database.connect() as reader, swapping(source, database) as swap, reader.transaction():
        reader.execute("select count(*) from t")
        ready = swap.build()
        with pytest.raises(NotSwapped, match=rf"the lock is not free: pid {reader.info.backend_pid} \("):
            swap.exchange(ready)
    assert nothing_hidden(database)
    assert database.rows("select count(*) from t") == [(0,)]


@pytest.mark.parametrize(
    ("here", "table", "words"),
    [
        ("alter table t add constraint k check (id <> 17)", "t", 'violates check constraint "k"'),
        ("create unique index u on t ((id % 100))", "t", 'could not create unique index "u"'),
        ("alter table t add constraint k foreign key (p) references q", "t", 'violates foreign key constraint "k"'),
        ("alter table p alter v type varchar(3)", "p", "value too long for type character varying"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_the_tables_own_fault(
    source: Database, database: Database, here: str, table: str, words: str
) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD, "create table q (id bigint primary key)")
    source.run(*ROWS)
    database.run(here)
    with swapping(source, database, "public.p", "public.t") as swap, pytest.raises(RowsRefused) as refused:
        swap.build()
    ((name, said),) = refused.value.words.items()
    assert name == TableName(schema_name="public", name=table)
    assert words in said
    assert nothing_hidden(database)


def test_a_build_that_fails_for_other_reasons_is_no_fault_of_the_rows(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, b text)")
    source.run("insert into t values (1, (select string_agg(md5(g::text), '') from generate_series(1, 200) g))")
    database.run("create index i on t (b)")
    with swapping(source, database) as swap, pytest.raises(NotSwapped, match="index row size"):
        swap.build()
    assert nothing_hidden(database)


@pytest.mark.parametrize("builders", [1, 3])
def test_as_many_sessions_build_as_the_profile_says(source: Database, database: Database, builders: int) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS)
    opened: list[str] = []

    def connect_again() -> AbstractContextManager[Session]:
        opened.append(database.name)
        return connect(database.target())

    with swapping(source, database) as swap:
        job = replace(swap.job, builders=builders)
        swap.exchange(build_hidden(swap.here, job, CopyTransport(swap.there), BuildSite(SCHEMAS, connect_again)))
    assert len(opened) == builders
    assert [checksum(database, table) for table in ("p", "t")] == [checksum(source, table) for table in ("p", "t")]
