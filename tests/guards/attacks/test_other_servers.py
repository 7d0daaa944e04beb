"""Attacks by what leads out of a database, and by words that hide statements."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from guards.cross_database_reach import may_reach_bytes
from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.fix_laptop import MAKES
from tests.guards.fix_reach import SEND, databases, sent
from tests.guards.inner import clean_environment, inner_suite, pytest_on, script


@pytest.mark.parametrize("driver", SEND)
def test_tables_of_another_server_by_every_way_that_leads_there(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str
) -> None:
    test = siblings["test"]
    with psycopg.connect(old.dsn(test), autocommit=True) as owner:
        for statement in (
            "create extension postgres_fdw",
            "create extension dblink",
            f"create server there foreign data wrapper postgres_fdw options (host '127.0.0.1', port '{old.port}',"
            f" dbname '{prod}')",
            "create user mapping for app server there options (user 'app')",
            "create foreign table far (id int) server there options (table_name 'orders')",
            "create view far_view as select * from far",
            "create table parent (id int) partition by range (id)",
            "create foreign table part partition of parent for values from (0) to (100) server there"
            " options (table_name 'orders')",
        ):
            owner.execute(statement)
    told = sent(
        tmp_path,
        old,
        test,
        driver,
        "DELETE FROM FAR",
        "truncate Far",
        "delete from far_view",
        "truncate parent",
        "delete from parent",
        "create foreign table again (id int) server there options (table_name 'orders')",
        "truncate again",
        "select dblink_exec('there', 'truncate orders')",
        "select dblink_exec('service=prod', 'truncate orders')",
        f"select dblink_exec('port={old.port}', 'truncate orders')",
        f"create server unseen foreign data wrapper postgres_fdw options (dbname '{prod}')",
        "delete from orders",
        f"select dblink_connect('c', 'host=127.0.0.1 port={old.port} user=app dbname={test}')",
    )
    passed = [n for n, each in enumerate(told) if not each]
    assert passed == [5, 11, 12], told
    assert "which are not seen here (service=prod): name host, port and dbname" in told[8]


@pytest.mark.parametrize("driver", SEND)
def test_what_all_databases_of_a_server_share(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str
) -> None:
    test, staging, _ = siblings.values()
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("select pg_create_physical_replication_slot('standby')")
        try:
            told = sent(
                tmp_path,
                old,
                test,
                driver,
                f"update pg_database set datallowconn = false where datname = '{prod}'",
                f"UPDATE pg_catalog.pg_database SET datconnlimit = 0 WHERE datname = '{staging}'",
                "delete from pg_shdescription where true",
                "select pg_drop_replication_slot('standby')",
                "copy (select 1) to program 'touch /tmp/never'",
                f"revoke connect on database {prod} from public",
                f"GRANT ALL\nON DATABASE {prod} TO app",
                f"COMMENT\nON DATABASE {staging} IS 'x'",
                "alter database template1 set work_mem = '5MB'",
                f"create subscription s connection 'host=127.0.0.1 port={old.port} dbname={prod}' publication p",
                "drop subscription if exists nobody_at_all",
            )
            assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 10 + [False], told
            assert server.execute("select count(*) from pg_replication_slots").fetchone() == (1,)
        finally:
            server.execute("select pg_drop_replication_slot('standby')")
    assert "is marked protected" in told[7]


def test_words_in_names_do_not_hide_statements() -> None:
    for text in (
        "revoke connect on database x from y",
        "COMMENT\nON DATABASE x IS 'y'",
        "create\nserver s foreign data wrapper w",
        "grant all on database x to y",
        "copy t to program 'x'",
    ):
        assert may_reach_bytes(text.encode()), text


@pytest.mark.parametrize("driver", SEND)
def test_a_marked_session_makes_databases_too(
    old: Plain, siblings: dict[str, str], tmp_path: Path, driver: str
) -> None:
    second = f"second_{driver}"
    make = MAKES[driver] + (
        f"run('create database {second}')\nother = os.environ['TEST_DSN'].replace({siblings['test']!r}, '{second}')\n"
        "run('create table t (id int)', other)\n"
        f"run(\"comment on database {second} is 'mine'\")\nrun('grant all on database {second} to app')\n"
        "run('truncate t', other)\n"
        f"run('drop database {second}')\nprint('green')\n"
    )
    for name in (siblings["test"], "postgres"):
        text = (
            make
            if name != "postgres"
            else make.replace(repr(siblings["test"]), "'dbname=postgres'").replace(
                f", '{second}')", f", 'dbname={second}')"
            )
        )
        found = script(tmp_path, text, old.dsn(name))
        assert (found.code, found.out) == (0, "green\n"), found.out


SQLALCHEMY = inner_suite("sqlalchemy_schemas")


def test_asyncpg_that_prepares(old: Plain, prod: str, tmp_path: Path) -> None:
    found = script(tmp_path, SQLALCHEMY, old.dsn())
    assert (found.code, found.out) == (0, "on\n"), found.out


DJANGO_LEFT = "import os, psycopg\npsycopg.connect(os.environ['TEST_DSN'], autocommit=True).execute(TEXT)\n"


@pytest.mark.parametrize("protected", [False, True])
def test_the_help_names_the_database_that_is_in_question(
    old: Plain, prod: str, cli: Cli, tmp_path: Path, protected: bool
) -> None:
    """Dropped from the maintenance database, it is its own mark that counts, also for a strange name."""
    name = "Weird Name; --'s"
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    dsn = psycopg.conninfo.make_conninfo(old.dsn(), dbname=name)
    if protected:
        done = cli("guard", "mark", "--dsn", dsn, "--protected", "--reason", "keep", "--confirm", name)
        assert done.code == 0, done.err
    text = DJANGO_LEFT.replace("TEXT", repr(f'drop database "{name}"'))
    refused = script(tmp_path, text, old.dsn())
    (help_,) = {line for line in refused.out.splitlines() if "rowback guard " in line and "mark" in line}
    assert "dbname=postgres" not in help_
    assert ("rowback guard unmark" in help_) is protected
    for command in re.findall(r"rowback (guard (?:un)?mark .*?)(?=; rowback|$)", help_):
        words = shlex.split(command.replace("…", "over"))
        followed = subprocess.run(
            [sys.executable, "-m", "recovery.cli", *words],
            check=False,
            text=True,
            capture_output=True,
            env=clean_environment(),
        )
        assert followed.returncode == 0, followed.stderr
    assert script(tmp_path, text, old.dsn()).code == 0, "followed as printed"
    assert name not in databases(old)


def test_no_mark_is_advised_where_none_would_help(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    told = sent(
        tmp_path,
        old,
        siblings["test"],
        "psycopg",
        "drop role app",
        "alter system set work_mem = '1MB'",
        'drop database "a\\1"',
    )
    for each in told[:2]:
        assert each.endswith("  help: use a server of the tests' own for what reaches beyond one database"), each
    assert told[2] == "InvalidCatalogName", "no crash, and no harm: there is none of that name"


def test_fork_and_spawn_belong_to_the_run(old: Plain, prod: str, tmp_path: Path) -> None:
    act = MAKES["psycopg"] + (
        "import multiprocessing\nother = os.environ['TEST_DSN'].replace('dbname=postgres', 'dbname=forked')\n"
        "def work(n):\n    run(f'create table t{n} (id int)', other)\n    return n\n"
        "if __name__ == '__main__':\n    run('create database forked')\n"
        "    for how in ('fork', 'spawn'):\n"
        "        with multiprocessing.get_context(how).Pool(1) as pool:\n"
        "            print(pool.map(work, [len(how)]))\n"
        "    run('drop database forked with (force)')\n"
    )
    found = script(tmp_path, act, old.dsn())
    assert (found.code, found.out) == (0, "[4]\n[5]\n"), found.out


PSYCOPG2 = inner_suite("psycopg2_classes")


@pytest.mark.parametrize("proven", [True, False])
def test_classes_of_psycopg2_stay_what_they_are(
    old: Plain, plain: Plain, prod: str, tmp_path: Path, proven: bool
) -> None:
    found = script(tmp_path, PSYCOPG2, plain.dsn() if proven else old.dsn(prod))
    assert (found.code, found.out) == (0, "whole\n"), found.out


def test_asking_for_a_driver_is_not_importing_it(old: Plain, prod: str, tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir()
    (tmp_path / "postgresql" / "__init__.py").touch()
    suite = (
        "import importlib.util\ndef test_one():\n    import postgresql\n"
        "    for name in ('psqlpy', 'pgdb', 'duckdb', 'pg8000'):\n        importlib.util.find_spec(name)\n"
        "    try:\n        import psqlpy\n    except ImportError:\n        pass\n"
    )
    found = pytest_on(tmp_path, suite, old.dsn(prod), ini="rowback_guard = ci\npythonpath = .")
    assert (found.code, "is imported" in found.out) == (0, False), found.out
