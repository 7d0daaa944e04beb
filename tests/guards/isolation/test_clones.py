"""Clones, templates, migrations, and what is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from guards.isolation import Databases, Migrations, open_databases
from guards.isolation.isolation_marks import reap
from guards.isolation.throwaway_server import server_at
from guards.refusal import GuardError
from tests.fix_lab import Live, wait_until
from tests.fix_plain import Plain
from tests.guards.inner import clean_environment


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
