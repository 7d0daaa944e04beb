"""A developer's PostgreSQL of two years, with databases nobody may lose: suites that make their own databases are green
from the first run and stay so; for one that exists, one step is enough, also after dropdb and createdb."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_plain import Plain
from tests.guards.fix_django import django, django_project
from tests.guards.fix_drivers import as_url
from tests.guards.fix_laptop import MAKES
from tests.guards.fix_plugin import POSTGRESQL
from tests.guards.inner import Inner, clean_environment, pytest_on, ran, script

pytestmark = pytest.mark.matrix

PRECIOUS = ("create table ledger (id int)", "insert into ledger select generate_series(1, 7)")


@pytest.fixture
def ledger(old: Plain, request: pytest.FixtureRequest) -> Iterator[Callable[[], list[tuple[int]]]]:
    """What the developer must not lose; its rows are counted at the end."""
    name = "ledger_" + re.sub(r"\W", "_", request.node.name)[-40:]
    dsn = old.make(name, *PRECIOUS)

    def count() -> list[tuple[int]]:
        with psycopg.connect(dsn) as session:
            return session.execute("select count(*) from ledger").fetchall()

    yield count
    assert count() == [(7,)]
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize("driver", MAKES)
def test_a_run_may_destroy_what_it_made_and_only_that(
    old: Plain, ledger: Callable[[], list[tuple[int]]], tmp_path: Path, driver: str
) -> None:
    name = f"made_{driver}"
    suite = MAKES[driver] + (
        "import pytest, subprocess, sys\nfrom guards import Refused\n"
        f"DSN = os.environ['TEST_DSN'].replace('dbname=postgres', 'dbname={name}')\n"
        "def test_own():\n"
        f"    run('create database {name}')\n"
        "    for text in ('create table t (id int)', 'truncate t', 'drop schema public cascade'):\n"
        "        run(text, DSN)\n"
        '    child = \'import os, psycopg; c = psycopg.connect(os.environ["CHILD"]); c.execute("create schema s")\'\n'
        "    subprocess.run([sys.executable, '-c', child], env={**os.environ, 'CHILD': DSN}, check=True)\n"
        "    with pytest.raises(Refused):\n        run('create table t (id int)')\n"
        f"    run('drop database {name}')\n"
        "def test_again():\n"
        f"    run('create database {name}')\n    run('drop database if exists {name} with (force)')\n"
    )
    found = pytest_on(tmp_path, suite, old.dsn(), "-p", "no:xdist", ini="rowback_guard = dev")
    assert "2 passed" in found.out, found.out
    assert found.out.count("CREATE TABLE t was not sent to 'postgres'") >= 1
    left = [text for text in old.statements_in("postgres") if "create table" in text]
    assert left == [], "the maintenance database was held all the time"


def test_what_another_run_made_is_not_ours(old: Plain, ledger: Callable[[], list[tuple[int]]], tmp_path: Path) -> None:
    """Left behind by a run that was killed: one step, which the refusal prints, and the developer decides."""
    make = MAKES["psycopg"] + "run('create database left_behind')\n"
    assert script(tmp_path, make, old.dsn()).code == 0
    found = script(tmp_path, MAKES["psycopg"] + "run('drop database left_behind')\n", old.dsn())
    assert found.code == 1
    assert "DROP DATABASE left_behind was not sent to 'postgres'" in found.out
    wipe = script(tmp_path, MAKES["psycopg"] + "run('create table t ()')\n", old.dsn("left_behind"))
    assert "  another run of tests made it for itself\n" in wipe.out
    follow(tmp_path, wipe.out)
    assert script(tmp_path, MAKES["psycopg"] + "run('create table t ()')\n", old.dsn("left_behind")).code == 0
    assert script(tmp_path, MAKES["psycopg"] + "run('drop database left_behind')\n", old.dsn()).code == 0


def follow(home: Path, printed: str) -> None:
    """The refusal's own command, with a reason."""
    (command,) = set(re.findall(r"(rowback guard mark --dsn '[^']*' --reason … --confirm '[^']*')", printed))
    words = shlex.split(command.replace("…", "scratch"))[1:]
    done = subprocess.run(
        [sys.executable, "-m", "recovery.cli", *words],
        cwd=home,
        check=False,
        text=True,
        capture_output=True,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr


SQLALCHEMY = """
import os, sqlalchemy as sa
def test_one():
    engine = sa.create_engine(os.environ["TEST_DSN"].replace("postgresql://", "postgresql+psycopg://"))
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("id", sa.Integer))
    metadata.create_all(engine)
    metadata.drop_all(engine)
"""
PSYCOPG = """
import os, psycopg
def test_one():
    with psycopg.connect(os.environ["TEST_DSN"]) as connection:
        connection.execute("drop table if exists t; create table t (id int); truncate t")
"""


@pytest.mark.parametrize("suite", [SQLALCHEMY, PSYCOPG], ids=["sqlalchemy", "psycopg"])
def test_one_step_for_a_database_that_exists_and_it_stays_green(
    old: Plain, ledger: Callable[[], list[tuple[int]]], tmp_path: Path, suite: str
) -> None:
    name = "app_test_sqlalchemy" if suite is SQLALCHEMY else "app_test_psycopg"
    dsn = as_url(old.make(name)) if suite is SQLALCHEMY else old.make(name)
    refused = pytest_on(tmp_path, suite, dsn)
    assert refused.code == 1, refused.out
    follow(tmp_path, refused.out)
    for _ in range(2):
        assert pytest_on(tmp_path, suite, dsn).code == 0
        anew(old, name)
    assert pytest_on(tmp_path, suite, dsn).code == 0, "made anew, under another oid"
    copied = old.make(f"{name}_copy")
    assert pytest_on(tmp_path, suite, as_url(copied) if suite is SQLALCHEMY else copied).code == 1, "another name"


def anew(old: Plain, name: str) -> None:
    """As dropdb and createdb do it: by a process that knows no guard."""
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")
        server.execute(f"create database {name}")


def test_pytest_postgresql_without_a_step(old: Plain, ledger: Callable[[], list[tuple[int]]], tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(POSTGRESQL)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:django")
    for _ in range(2):
        found = ran(tmp_path, *command, TEST_DSN=old.dsn())
        assert (found.code, "1 passed" in found.out) == (0, True), found.out
    with psycopg.connect(old.dsn()) as server:
        assert server.execute("select datname from pg_database where datname like 'janitor%'").fetchall() == []


PYTEST_DJANGO = (
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:asyncio",
    "-p",
    "no:pytest_postgresql",
    "test_shop.py",
)


@pytest.mark.parametrize("runner", ["pytest-django", "manage.py test"])
def test_django_without_a_step(old: Plain, ledger: Callable[[], list[tuple[int]]], tmp_path: Path, runner: str) -> None:
    django_project(tmp_path)
    dsn = old.make("shop_" + runner[:3])
    guarded = ("-m", "recovery.cli", "guard", "run", "--", sys.executable, "-m", "django", "test", "--no-input")
    for _ in range(2):
        found: Inner = django(tmp_path, dsn, *(PYTEST_DJANGO if runner == "pytest-django" else guarded))
        assert found.code == 0, found.out
    with psycopg.connect(old.dsn()) as server:
        assert server.execute("select datname from pg_database where datname like 'test_shop%'").fetchall() == []
