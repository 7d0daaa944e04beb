"""SQLAlchemy, Django and alembic: their ways to clean up are refused on unproven servers, and work on proven ones."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from tests.fix_plain import Plain
from tests.guards.fix_django import django, django_project
from tests.guards.fix_drivers import FURNITURE, as_url, reached
from tests.guards.forwarder import forwarded
from tests.guards.inner import Inner, clean_environment, inner_suite, pytest_on, ran

pytestmark = pytest.mark.matrix

SQLALCHEMY = inner_suite("sqlalchemy_suite")
ASYNC = """
async def drop(engine):
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)

async def delete(engine):
    async with engine.begin() as connection:
        await connection.execute(child.delete())

@pytest.mark.parametrize("act", [delete, drop], ids=lambda act: act.__name__)
def test_async(act):
    async def go():
        engine = create_async_engine(URL)
        if REFUSED:
            with pytest.raises(Refused) as told:
                await act(engine)
            assert "at test_inner.py:" in str(told.value)
        else:
            await act(engine)
        async with engine.connect() as connection:
            assert await connection.scalar(sa.text("select 1")) == 1
        await engine.dispose()
    asyncio.run(go())
"""


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@pytest.mark.parametrize("refused", [True, False])
def test_sqlalchemy(plain: Plain, tmp_path: Path, driver: str, refused: bool) -> None:
    name = f"alchemy_{driver}_{refused}".lower()
    plain.make(name, *(text.format(name) for text in FURNITURE))
    suite = f"REFUSED = {refused}\n" + SQLALCHEMY.replace("DRIVER", driver)
    suite += ASYNC if driver != "psycopg2" else ""
    if driver == "asyncpg":
        suite = suite.replace("SYNC, ids=lambda act: act.__name__)\ndef test_sync", "SYNC[:0])\ndef test_sync")
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        dsn = as_url(plain.dsn(name, port=tunnel if refused else plain.port))
        found = pytest_on(tmp_path, suite, dsn, "-o", "empty_parameter_set_mark=skip")
    passed = {"psycopg": 10, "psycopg2": 8, "asyncpg": 2}[driver]
    assert f"{passed} passed" in found.out, found.out
    assert found.code == (1 if refused else 0), found.out
    if refused:
        assert reached(plain, name) == []
        with psycopg.connect(plain.dsn(name)) as server:
            assert server.execute("select count(*) from parent").fetchone() == (3,)


def test_who_sent_it_is_told(plain: Plain, tmp_path: Path) -> None:
    name = "alchemy_told"
    plain.make(name, *(text.format(name) for text in FURNITURE))
    suite = "REFUSED = True\n" + SQLALCHEMY.replace("DRIVER", "psycopg") + ASYNC
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        found = pytest_on(tmp_path, suite, as_url(plain.dsn(name, port=tunnel)), "-k", "drop")
    lines = [line for line in found.out.splitlines() if line.startswith(("  at ", "  by "))]
    assert lines == [
        "  at test_inner.py:19 in drop_all",
        "  by SQLAlchemy's MetaData.drop_all()",
        "  at test_inner.py:78 in drop",
        "  by SQLAlchemy's MetaData.drop_all()",
    ]


# What pytest-django#966 tells of: the fixture that makes the test database is overridden, the real one is flushed.
OVERRIDDEN = "import pytest\n@pytest.fixture(scope='session')\ndef django_db_setup():\n    pass\n"


def test_django_flushes_only_what_is_proven(plain: Plain, tmp_path: Path) -> None:
    django_project(tmp_path)
    dsn = plain.make("dj", "alter database dj set log_statement = 'all'")
    migrated = django(tmp_path, dsn, "-m", "django", "migrate", "--run-syncdb")
    assert migrated.code == 0, migrated.out
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute("insert into shop_thing (name) values ('precious')")
    (tmp_path / "conftest.py").write_text(OVERRIDDEN)
    suite = (
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
    before = len(reached(plain, "dj"))
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        far = plain.dsn("dj", port=tunnel)
        refused = django(tmp_path, far, *suite)
        flushed = django(
            tmp_path,
            far,
            "-m",
            "recovery.cli",
            "guard",
            "run",
            "--strictness",
            "dev",
            "--",
            sys.executable,
            "-m",
            "django",
            "flush",
            "--no-input",
        )
    assert refused.code == 1, refused.out
    assert "TRUNCATE shop_thing was not sent to 'dj'" in refused.out
    assert "by Django's TransactionTestCase, which flushes the database" in refused.out
    assert flushed.code == 21, flushed.out
    assert "by Django's flush" in flushed.out
    assert len(reached(plain, "dj")) == before, "nothing but reads reached it"
    with psycopg.connect(dsn) as server:
        assert server.execute("select name from shop_thing").fetchall() == [("precious",)]
    assert django(tmp_path, dsn, *suite).code == 0
    with psycopg.connect(dsn) as server:
        assert server.execute("select name from shop_thing").fetchall() == []


def test_djangos_own_runner_makes_its_database_only_where_that_is_proven(plain: Plain, tmp_path: Path) -> None:
    django_project(tmp_path)
    dsn = plain.make("runner")
    command = (
        "-m",
        "recovery.cli",
        "guard",
        "run",
        "--strictness",
        "dev",
        "--",
        sys.executable,
        "-m",
        "django",
        "test",
        "--no-input",
    )
    passed = django(tmp_path, dsn, *command)
    assert (passed.code, "Ran 1 test" in passed.out) == (0, True), passed.out
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        refused = django(tmp_path, plain.dsn("runner", port=tunnel), *command)
    assert refused.code == 21, refused.out
    assert "CREATE DATABASE test_runner was not sent to 'postgres'" in refused.out
    assert "by Django's test runner, which makes its databases" in refused.out


ENVIRONMENT = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["TEST_DSN"].replace("postgresql://", "postgresql+psycopg://")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "one", None
def upgrade():
    op.create_table("made", sa.Column("id", sa.Integer))
def downgrade():
    op.drop_table("made")
"""


def test_alembic_downgrade_in_a_child(plain: Plain, tmp_path: Path) -> None:
    (tmp_path / "alembic" / "versions").mkdir(parents=True)
    (tmp_path / "alembic" / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "alembic" / "versions" / "one.py").write_text(REVISION)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = alembic\npath_separator = os\n")
    dsn = plain.make("alembic", "alter database alembic set log_statement = 'all'")

    def alembic(way: str, *command: str) -> Inner:
        return ran(
            tmp_path,
            "-m",
            "recovery.cli",
            "guard",
            "run",
            "--strictness",
            "dev",
            "--",
            sys.executable,
            "-m",
            "alembic",
            *command,
            TEST_DSN=as_url(way),
        )

    assert alembic(dsn, "upgrade", "head").code == 0
    before = len(reached(plain, "alembic"))
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        refused = alembic(plain.dsn("alembic", port=tunnel), "downgrade", "base")
    assert refused.code == 21, refused.out
    assert "DROP TABLE made was not sent to 'alembic'" in refused.out
    assert "  at alembic/versions/one.py:8 in downgrade\n  by alembic downgrade" in refused.out
    assert len(reached(plain, "alembic")) == before, "nothing but reads reached it"
    assert alembic(dsn, "downgrade", "base").code == 0
    assert "ROWBACK_GUARD" not in clean_environment()
