"""A database that is given out again is as it was when new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from guards.isolation import Databases, Migrations, open_databases
from guards.isolation.databases import Database
from guards.refusal import GuardError
from tests.fix_lab import wait_until
from tests.fix_plain import Plain
from tests.guards.inner import ran


def everything(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        tables = ["author", "book", '"Weird Name; --"', "kind", "log", "titles", "other.thing", "parted"]
        rows = [connection.execute(f"select * from {name} order by 1").fetchall() for name in tables]
        sequences = connection.execute("select schemaname, sequencename, last_value from pg_sequences order by 1, 2")
        return [*rows, *sequences.fetchall()]


WRITES = {
    "insert": "insert into author (name) values ('a'); insert into book (author, title) values (1, 'x')",
    "cycle": "insert into author (name) values ('a'); insert into book (author) values (1); update author set best = 1",
    "weird": 'insert into "Weird Name; --" default values',
    "seed deleted": "delete from kind where id = 2",
    "seed changed": "update kind set name = 'other' where id = 3",
    "seed replaced": "delete from kind where id = 1; insert into kind values (4, 'x')",
    "truncated": "truncate kind",
    "rolled back": "begin; insert into author (name) values ('a'); rollback",
    "setval": "select setval('book_id_seq', 77)",
    "partition": "insert into parted values (3)",
    "other schema": "insert into other.thing values (1), (2)",
    "truncate cascade": "begin; insert into author (name) values ('a'); commit; truncate author cascade",
    "temporary": "create temp table t (n int); insert into t values (1)",
}


@pytest.fixture(scope="module")
def one(databases: Databases) -> Database:
    """Put back by hand, not by the pool's thread."""
    return databases._make()


@pytest.mark.parametrize("what", WRITES)
def test_a_restored_database_is_what_it_was_when_new(databases: Databases, one: Database, what: str) -> None:
    with databases.clone() as untouched:
        new = everything(untouched.dsn)
    with psycopg.connect(one.dsn, autocommit=True) as connection:
        connection.execute(WRITES[what])
    assert databases._restore(one) is True
    assert everything(one.dsn) == new


def runs(statements: str) -> Callable[[str], None]:
    """Migrations that run these statements."""

    def apply(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statements)

    return apply


def test_restored_again_and_again_by_the_pool(databases: Databases) -> None:
    names = set()
    for what in [*WRITES.values()] * 2:
        with databases.restored() as database, psycopg.connect(database.dsn, autocommit=True) as connection:
            names.add(database.name)
            counts = "select (select count(*) from author), (select count(*) from kind), (select count(*) from log)"
            assert connection.execute(counts).fetchone() == (0, 3, 0)
            connection.execute(what)
    assert len(names) < len(WRITES), "they are used again"


DEFINED = {
    "table": "create table more (n int)",
    "column": "alter table book add column n int",
    "dropped": "drop table other.thing",
    "renamed": "alter table book rename to books",
    "function": "create function f() returns int language sql as 'select 1'",
    "replaced function": "create or replace function logged() returns trigger language plpgsql as"
    " 'begin return null; end'",
    "index": "create index on book (title)",
    "default": "alter table book alter title set default 'x'",
    "grant": "grant select on book to public",
    "row security": "alter table book enable row level security",
    "refreshed": "insert into author (name) values ('a'); insert into book (author, title) values (1, 'x');"
    " refresh materialized view titles",
    "large object": "select lo_create(0)",
    "setting": "alter database {} set work_mem = '1MB'",
    "enum": "create type mood as enum ('ok')",
    "trigger off": "alter table book disable trigger logged",
    "sequence": "alter sequence book_id_seq increment 7",
    "index renamed": "alter index kind_pkey rename to other",
    "replica identity": "alter table book replica identity full",
    "text search": "create text search dictionary d (template = simple)",
    "publication": "create publication p for table book",
    "foreign server": "create foreign data wrapper w; create server s foreign data wrapper w",
    "connection limit": "alter database {} connection limit 7",
    "operator family": "create operator family f using btree",
}


@pytest.mark.parametrize("what", DEFINED)
def test_one_whose_definitions_changed_is_given_up(databases: Databases, what: str) -> None:
    with databases.clone() as database:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute(DEFINED[what].format(database.name))
        assert databases._restore(database) is False


def test_sessions_that_linger_are_ended(databases: Databases) -> None:
    lingering = None
    with databases.restored() as database:
        lingering = psycopg.connect(database.dsn)
        lingering.execute("insert into author (name) values ('not committed')")
    wait_until(lambda: database in databases._used._ready, "it was put back")
    assert lingering is not None
    with pytest.raises(psycopg.OperationalError):
        lingering.execute("select 1")
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("select count(*) from author").fetchone() == (0,)


def test_a_commit_past_psycopg_costs_the_database(databases: Databases) -> None:
    for text in ("commit", "commit; begin"):
        name = databases._shared.name
        with pytest.raises(GuardError, match="ended the transaction"), databases.rolled_back() as connection:
            connection.execute("insert into author (name) values ('stays')")
            connection.execute(text)
        with databases.rolled_back() as connection:
            assert connection.execute("select count(*) from author").fetchone() == (0,)
        assert databases._shared.name != name


BREAKS = {
    "the cleaner is ended": "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()",
    "a trigger forbids": "insert into sealed values (1)",
}


def test_one_that_cannot_be_put_back_is_given_up_and_the_pool_goes_on(plain: Plain) -> None:
    sealed = (
        "create table sealed (n int); create function no() returns trigger language plpgsql as"
        " $$ begin raise exception 'append only'; end $$;"
        "create trigger no before delete on sealed for each row execute function no();"
        "alter table sealed enable always trigger no"
    )
    migrations = Migrations("sealed", runs(sealed))
    with open_databases(migrations, dsn=plain.dsn()) as ours:
        for _ in range(6):
            for what in BREAKS.values():
                with ours.restored() as database, psycopg.connect(database.dsn, autocommit=True) as connection:
                    assert connection.execute("select count(*) from sealed").fetchone() == (0,)
                    connection.execute(what)


def test_a_view_refreshed_concurrently_is_noticed(plain: Plain) -> None:
    view = (
        "create table t (n int); insert into t values (1); create materialized view v as select n from t;"
        "create unique index on v (n)"
    )
    migrations = Migrations("view", runs(view))
    with open_databases(migrations, dsn=plain.dsn()) as ours:
        one = ours._make()
        assert ours._restore(one) is True
        with psycopg.connect(one.dsn, autocommit=True) as connection:
            connection.execute("update t set n = 2")
            connection.execute("refresh materialized view concurrently v")
        assert ours._restore(one) is False


def test_on_a_server_that_only_may_hold_them_clones_are_proven(plain: Plain, tmp_path: Path) -> None:
    """Somebody else is in its maintenance database, so that one is not disposable; what we make there is."""
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create role visitor login")
    suite = (
        "import psycopg\n"
        "def test_one(rowback_database):\n"
        "    with psycopg.connect(rowback_database.dsn) as connection:\n"
        "        connection.execute('create table t ()')\n"
    )
    (tmp_path / "test_inner.py").write_text(suite)
    with psycopg.connect(plain.dsn().replace("user=app", "user=visitor")):
        pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "rowback_guard=dev")
        found = ran(tmp_path, *pytest_, "-o", "rowback_server=$SERVER", SERVER=plain.dsn())
    assert found.code == 0, found.out


def test_a_kept_databases_password_is_not_printed(databases: Databases, caplog: pytest.LogCaptureFixture) -> None:
    database = databases._make()
    database.dsn += " password=s3cret"
    databases.keep(database, "it is looked at")
    assert "s3cret" not in caplog.text
    assert database.name in caplog.text
    databases._end(database)
