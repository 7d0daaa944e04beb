"""Triggers are held back and come back as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recovery.errors import RowbackError
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import CopyTransport
from recovery.reload.load_transaction import load
from tests.fix_lab import Database
from tests.server.load.jobs import ignore, job_for

AUDITED = """
create table t (n int primary key, at timestamptz default now());
create table log (what text);
create function note() returns trigger language plpgsql as $$ begin insert into log values ('x'); return null; end $$;
create function touch() returns trigger language plpgsql as $$ begin new.at := now(); return new; end $$;
create trigger normal before insert on t for each row execute function touch();
create trigger always after insert on t for each row execute function note();
create trigger replica after insert on t for each row execute function note();
create trigger off after insert on t for each row execute function note();
alter table t enable always trigger always; alter table t enable replica trigger replica;
alter table t disable trigger off;
"""


def test_triggers_are_held_back_and_come_back_in_the_state_they_had(source: Database, database: Database) -> None:
    database.run(AUDITED)
    source.run(
        "create table t (n int primary key, at timestamptz)",
        "create table log (what text)",
        "insert into t values (1, '2020-01-01Z')",
    )
    states = "select tgname, tgenabled::text from pg_trigger where not tgisinternal order by 1"
    before = database.rows(states)
    assert before == [("always", "A"), ("normal", "O"), ("off", "D"), ("replica", "R")]
    with job_for(source, database) as (there, here, job):
        done = load(here, job, CopyTransport(there), before_commit=ignore)
    assert done.touched == {"public.t": 1}
    assert database.rows(states) == before
    assert database.rows("select at = '2020-01-01Z' from t") == [(True,)]
    assert database.rows("select count(*) from log") == [(0,)]


class Rewriting(CopyTransport):
    """A server that alters rows on their way in, in a manner no catalog shows."""

    def load(self, live: Session, tables: Any) -> Any:
        rows = super().load(live, tables)
        live.execute("update public.t set at = now()")
        return rows


class Meddling(CopyTransport):
    """A server that does more than it was told, in a manner no catalog shows."""

    def load(self, live: Session, tables: Any) -> Any:
        rows = super().load(live, tables)
        live.execute("insert into public.log values ('x')")
        return rows


def test_triggers_that_changed_since_the_plan_are_refused_under_the_lock(source: Database, database: Database) -> None:
    database.run(AUDITED)
    source.run(
        "create table t (n int primary key, at timestamptz)",
        "create table log (what text)",
        "insert into t values (1, '2020-01-01Z')",
    )
    with job_for(source, database) as (there, here, job):
        database.run("alter table t disable trigger normal")
        with pytest.raises(RowbackError) as refused:
            load(here, job, CopyTransport(there), before_commit=ignore)
    assert refused.value.fact == "triggers changed since the plan was made: normal on public.t"
    assert refused.value.exit_code == 22
    assert database.rows("select tgenabled::text from pg_trigger where tgname = 'normal'") == [("D",)]


def test_a_trigger_that_acts_all_the_same_is_found_by_the_servers_own_accounts(
    source: Database, database: Database
) -> None:
    database.run(AUDITED.replace("new.at := now(); ", ""))
    source.run(
        "create table t (n int primary key, at timestamptz)",
        "create table log (what text)",
        "insert into t values (1, '2020-01-01Z')",
    )
    with job_for(source, database) as (there, here, job):
        narrow = replace(job, fills=[p for p in job.fills if p.name.name == "t"])
        with pytest.raises(RowbackError) as refused:
            load(here, narrow, Meddling(there), before_commit=ignore)
    assert refused.value.fact == "the load changed more than the rows it put back"
    assert refused.value.facts == ("public.log: 1 inserted, 0 updated, 0 deleted, outside the scope",)
    assert database.rows("select (select count(*) from t), (select count(*) from log)") == [(0, 0)]


def test_rows_that_a_trigger_alters_are_not_committed(source: Database, database: Database) -> None:
    database.run(AUDITED, "drop trigger always on t", "drop trigger replica on t")
    source.run(
        "create table t (n int primary key, at timestamptz)",
        "create table log (what text)",
        "insert into t values (1, '2020-01-01Z')",
    )
    # a rewriting trigger that the plan does not hold back, because it only became one after the lock
    database.run("alter table t disable trigger normal")
    with job_for(source, database, held_triggers=()) as (there, here, job), pytest.raises(RowbackError) as refused:
        load(here, job, Rewriting(there), before_commit=ignore)
    assert refused.value.exit_code == 40
    assert refused.value.facts == ("public.t: 1 rows at T, 1 loaded, checksum differs",)
    assert database.rows("select count(*) from t") == [(0,)]


def test_keys_that_are_deferred_from_the_start_beside_triggers(source: Database, database: Database) -> None:
    """As Django declares them: the checks are pending when the triggers are to be enabled again."""
    for db in (source, database):
        db.run(
            "create table parent (n int primary key)",
            "create table child (n int references parent deferrable initially deferred)",
            "create table log (what text)",
            "create function note() returns trigger language plpgsql as"
            " $$ begin insert into log values ('x'); return null; end $$",
        )
    source.run("insert into parent values (1)", "insert into child values (1)")
    database.run(
        "create trigger t after insert on child for each row execute function note()",
        "create trigger t after insert on parent for each row execute function note()",
    )
    with job_for(source, database) as (there, here, job):
        assert load_order(job.filled, job.catalog)[1] is ForeignKeyMode.ORDERED
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("select (select count(*) from child), (select count(*) from log)") == [(1, 0)]
