"""The load: rows of every shape by both transports, all or nothing, nothing else touched, proven before the commit."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.client_programs import find_client_tools
from recovery.postgres.connect import Session, connect
from recovery.postgres.copy_rows import CopyTransport, Pair, RowTransport
from recovery.postgres.dump import DumpTransport, dump_tables
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import read_catalog
from recovery.reload.load_job import AtTarget, Job, Loaded
from recovery.reload.load_refusals import side_effects
from recovery.reload.load_transaction import load
from recovery.reload.verify_after_commit import verify
from tests.fix_lab import Database, Live, database_on
from tests.fix_plan import plan_for

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


@pytest.fixture
def source(live: Live) -> Iterator[Database]:
    """What the copy would be: another database of the same cluster is enough to move rows."""
    yield from database_on(live)


@contextmanager
def job_for(source: Database, database: Database, **changes: Any) -> Iterator[tuple[Session, Session, Job]]:
    with connect(source.target()) as there, connect(database.target()) as here:
        then, now = read_catalog(there), read_catalog(here)
        plan = plan_for(now, **changes)
        pairs = [Pair(_table(then, n), _table(now, n)) for n in plan.scope]
        version = there.info.server_version
        truth = AtTarget(
            fingerprints={str(p.name): fingerprint(there, p.at_target, oldest_version_num=version) for p in pairs},
            sequences=then.sequences,
            oldest_version_num=version,
        )
        yield there, here, Job("db", now, pairs, truth, plan.held_triggers, 200, 2)


def _table(catalog: Catalog, name: TableName) -> Any:
    found = catalog.table(name)
    assert found
    return found


def transport_of(kind: str, there: Session, source: Database, job: Job, tmp_path: Path) -> RowTransport:
    if kind == "copy":
        return CopyTransport(there)
    tools = find_client_tools(server_major=there.info.server_version // 10000, tls=False)
    directory = tmp_path / "dump"
    pids: list[int] = []
    size = dump_tables(tools, source.target(), job.filled, directory, encoding="UTF8", started=pids.append)
    assert size > 0
    assert len(pids) == 1
    return DumpTransport(tools, directory)


def ignore(done: Loaded) -> None:
    """Nothing to record."""


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
        with pytest.raises(RowbackError) as refused:
            load(here, narrow, CopyTransport(there), before_commit=ignore)
    assert str(refused.value) == (
        "error[load-refused]: rows at T reference rows that do not exist now\n"
        "  public.a: 1 rows (a_o_fkey) miss their public.outside\n"
        "  the transaction was rolled back: nothing was written to the original\n"
        "  help: put the parents back as well: name them with --table"
    )
    assert database.rows("select count(*) from a") == [(0,)]


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


def test_a_dump_that_was_cut_is_noticed_and_nothing_is_written(
    source: Database, database: Database, tmp_path: Path
) -> None:
    for db in (source, database):
        db.run("create table t (n int)")
    source.run("insert into t select generate_series(1, 50000)")
    with job_for(source, database) as (there, here, job):
        transport = transport_of("dump", there, source, job, tmp_path)
        (data,) = [p for p in (tmp_path / "dump").iterdir() if p.name != "toc.dat"]
        data.write_bytes(data.read_bytes()[:100_000])
        with pytest.raises(RowbackError) as refused:
            load(here, job, transport, before_commit=ignore)
    assert refused.value.exit_code in (40, 53)
    assert database.rows("select count(*) from t") == [(0,)]


def test_functions_behind_constraints_find_what_they_name_without_a_schema(
    source: Database, database: Database
) -> None:
    for db in (source, database):
        db.run(
            "create table allowed (n int)",
            "insert into allowed values (1)",
            "create function ok(int) returns bool language sql as 'select exists (select from allowed where n = $1)'",
            "create table t (n int check (ok(n)))",
        )
    source.run("insert into t values (1)")
    with job_for(source, database) as (there, here, job):
        narrow = replace(job, fills=[p for p in job.fills if p.name.name == "t"])
        assert load(here, narrow, CopyTransport(there), before_commit=ignore).rows == {"public.t": 1}


def test_a_sequence_that_did_not_exist_at_t_moves_past_the_rows(source: Database, database: Database) -> None:
    source.run("create table t (n int, x text)", "insert into t values (41, 'a'), (7, 'b')")
    database.run(
        "create table t (n int generated by default as identity, x text)",
        "create sequence words",
        "alter table t alter x set default 'w' || nextval('words')",
    )
    with job_for(source, database) as (there, here, job):
        done = load(here, job, CopyTransport(there), before_commit=ignore)
    assert [(move.sequence.name, move.after) for move in done.sequence_moves] == [("t_n_seq", 41)]
    assert database.rows("insert into t default values returning n, x") == [(42, "w1")]


def test_a_sentinel_value_does_not_drag_the_sequence_along(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (id serial, x int)")
    source.run("insert into t (x) select generate_series(1, 10)", "insert into t (id) values (2147483647)")
    with job_for(source, database) as (there, here, job):
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("insert into t (x) values (0) returning id") == [(11,)]


def test_a_shared_sequence_and_one_of_a_partitioned_parent(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run(
            "create table p (id bigint generated always as identity, k int, primary key (id, k)) partition by list (k)",
            "create table p1 partition of p for values in (1)",
            "create sequence s",
            "create table a (n int default nextval('s'))",
            "create table b (n int default nextval('s'))",
            "alter sequence s owned by b.n",
        )
    source.run("insert into p (k) values (1), (1)", "insert into b default values", "insert into b default values")
    with job_for(source, database) as (there, here, job):
        wanted = {"p1", "b"}
        narrow = replace(job, fills=[p for p in job.fills if p.name.name in wanted])
        done = load(here, narrow, CopyTransport(there), before_commit=ignore)
    assert {(m.sequence.name, m.after) for m in done.sequence_moves} == {("p_id_seq", 2), ("s", 2)}
    assert database.rows("insert into p (k) values (1) returning id") == [(3,)]
    assert database.rows("insert into b default values returning n") == [(3,)]


def test_the_right_server_is_blamed(source: Database, database: Database) -> None:
    for db in (source, database):
        db.run("create table t (n int)")
    database.run("create unique index on t (n)")
    source.run("insert into t values (1), (1)")
    with pytest.raises(RowbackError) as refused, job_for(source, database) as (there, here, job):
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert str(refused.value).startswith(
        "error[load-refused]: rows of public.t cannot be written\n"
        '  the server refuses it: duplicate key value violates unique constraint "t_n_idx"\n'
    )


def test_keys_are_compared_with_their_own_operator(source: Database, database: Database) -> None:
    """A key of a type with its own equality (as citext has): pg_catalog's `=` would call these rows dangling."""
    for db in (source, database):
        db.run(
            "create extension citext",
            "create table parent (k citext primary key)",
            "create table child (k citext references parent)",
        )
    source.run("insert into parent values ('Bob')", "insert into child values ('bOB')")
    with job_for(source, database) as (there, here, job):
        assert load(here, job, CopyTransport(there), before_commit=ignore).foreign_keys_checked == 1
    assert database.rows("select k::text from child") == [("bOB",)]


def test_the_timeouts_of_a_role_do_not_cut_us_short(live: Live, database: Database) -> None:
    names = [
        name
        for (name,) in database.rows(
            "select name from pg_settings where name in ('statement_timeout',"
            " 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout')"
        )
    ]
    database.run(*(f"alter role postgres in database {database.name} set {name} = 200" for name in names))
    ours = {"idle_in_transaction_session_timeout": "4h"}
    with connect(database.target()) as session:
        for name in names:
            assert session.execute(f"show {name}").fetchone() == (ours.get(name, "0"),)


def test_data_that_ends_at_the_border_of_a_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every way the terminator can fall across two reads."""
    from recovery.postgres import dump

    data = b"a\tb\n" + b"\\\\.\n" + b"c" * 5 + b"\n"
    script = b"SET x;\nCOPY s.t (a) FROM stdin;\n" + data + b"\\.\n\nCOPY s.u FROM stdin;\n\\.\n-- end\n"
    (tmp_path / "script").write_bytes(script)
    for size in range(1, len(script) + 1):
        monkeypatch.setattr(dump, "BLOCK_BYTES", size)
        with (tmp_path / "script").open("rb", buffering=0) as stream:
            sections = dump._CopySections(stream)
            assert b"".join(sections.next()) == data, size
            assert b"".join(sections.next()) == b"", size
            sections.finish()


def test_a_pg_restore_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are locked while its rows are waited for."""
    from recovery.postgres import dump

    monkeypatch.setattr(dump, "STALLED_S", 0.2)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream, os.fdopen(writing, "wb", buffering=0) as restore:
        restore.write(b"COPY s.t (a) FROM stdin;\n1\n")
        with pytest.raises(RowbackError) as stalled:
            list(dump._CopySections(stream).next())
    assert stalled.value.id is ErrorId.DUMP_FAILED
    assert stalled.value.facts == ("pg_restore has written nothing for 0.2 s",)
