"""Locks, sequences, and what is proven before and after the commit."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from recovery.errors import RowbackError
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.copy_rows import CopyTransport
from recovery.reload.load_refusals import side_effects
from recovery.reload.load_transaction import load
from recovery.reload.verify_after_commit import verify
from tests.fix_lab import Database
from tests.server.load.jobs import ignore, job_for


def test_rows_that_appeared_meanwhile_are_refused_under_the_lock(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (n int)", "insert into t select generate_series(1, 1200)")
    with job_for(source, database) as (there, here, job), pytest.raises(RowbackError) as refused:
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert refused.value.fact == "tables that were empty when they were compared hold rows now: public.t (1,200)"
    assert refused.value.exit_code == 22


def test_a_writer_that_does_not_let_go_is_named(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (n int)")
    source.run("insert into t values (1)")
    with database.connect() as other, job_for(source, database) as (there, here, job):
        other.execute("set application_name = 'payroll'")
        with other.transaction(force_rollback=True):
            other.execute("insert into t values (5)")
            with pytest.raises(RowbackError) as refused:
                load(here, job, CopyTransport(there), before_commit=ignore)
            pid = other.info.backend_pid
    assert refused.value.fact == "the tables of 'db' were not free within 2 tries of 200 ms"
    assert refused.value.facts[0].startswith(f"pid {pid} (postgres, payroll) is idle in transaction, in its")
    assert database.rows("select count(*) from t") == [(0,)]


def test_a_writer_that_lets_go_in_time_only_delays(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (n int)")
    source.run("insert into t values (1)")
    with database.connect() as other, job_for(source, database, lock_attempts=50) as (there, here, job):
        other.execute("begin; lock table t in row exclusive mode")
        threading.Timer(0.5, other.rollback).start()
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("select n from t") == [(1,)]


def test_sequences_only_move_forward(source: Database, database: Database) -> None:
    ddl = (
        "create table t (a serial, b serial, c serial, d int)",
        "create sequence down increment -1",
        "alter table t alter d set default nextval('down')",
    )
    for db in (source, database):
        db.run(*ddl)
    source.run(
        "insert into t (d) values (0)",
        "select setval('t_a_seq', 100)",
        "select setval('t_b_seq', 5)",
        "select setval('down', -50)",
    )
    database.run("select setval('t_b_seq', 900)", "select setval('down', -7)")
    with job_for(source, database) as (there, here, job):
        done = load(here, job, CopyTransport(there), before_commit=ignore)
    moved = {move.sequence.name: (move.before, move.after) for move in done.sequence_moves}
    assert moved == {"t_a_seq": (None, 100), "t_c_seq": (None, 1), "down": (-7, -50)}
    assert database.rows("select last_value from t_b_seq") == [(900,)]


def test_the_proof_after_the_commit_tells_the_work_of_others_from_damage(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (n int primary key, x int)")
    source.run("insert into t select g, g from generate_series(1, 100) g")
    with job_for(source, database) as (there, here, job):
        done = load(here, job, CopyTransport(there), before_commit=ignore)

        def counts() -> tuple[bool, int, int, int, bool]:
            found = verify(here, job, done)
            (table,) = found.tables
            return (
                found.proven,
                table.now.rows,
                table.written_since,
                table.changed_since,
                found.definitions_altered_since,
            )

        assert counts() == (True, 100, 0, 0, False)
        database.run("insert into t values (101, 1)")
        assert counts() == (True, 100, 1, 0, False)
        database.run("delete from t where n = 5", "update t set x = 0 where n = 6")
        assert counts() == (True, 98, 2, 2, False)
        database.run("create index on t (x)")
        assert counts() == (True, 98, 2, 2, True)
        database.run("truncate t")
        assert counts() == (False, 0, 0, 100, True), "emptied again is no success"
        wrong = job.truth.fingerprints["public.t"].model_copy(update={"rows": 98, "checksum": "1"})
        truth = job.truth.model_copy(update={"fingerprints": {"public.t": wrong}})
        assert not verify(here, replace(job, truth=truth), done).proven


def test_side_effects_are_told_from_the_rows_put_back() -> None:
    t, u = TableName(schema_name="s", name="t"), TableName(schema_name="s", name="u")
    touched = load_statements.Touched
    planned = {t: touched(t, 3, 2, 1)}
    assert side_effects(planned, {}, planned) == []
    assert side_effects(planned, {u: touched(u, 1, 1, 1)}, {**planned, u: touched(u, 1, 1, 1)}) == []
    assert side_effects(planned, {}, {t: touched(t, 3, 3, 1)}) == [
        "s.t: 3 inserted, 3 updated, 1 deleted, expected 3 inserted, 2 updated, 1 deleted"
    ]
    assert side_effects({}, {}, {u: touched(u, 0, 0, 2)}) == [
        "s.u: 0 inserted, 0 updated, 2 deleted, outside the scope"
    ]
