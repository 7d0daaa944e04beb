"""pytest fixtures around guards.isolation; nothing is loaded or started before a test asks for one.

To override, in a conftest.py (scope session): `rowback_migrations` gives a guards.isolation.Migrations. Setting
`rowback_server`: the server that holds the databases (a DSN, `$NAME`, `FILE:NAME`); without it a cluster of our own.
The database of a failed test is kept, and how to reach it stands in the report.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    from guards.isolation import Databases, Migrations
    from guards.isolation.databases import Database

FAILED = pytest.StashKey[bool]()
OPTION = "rowback_server"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting."""
    parser.addini(OPTION, "the server that holds test databases (default: a throw-away cluster)", default="")


@pytest.fixture(scope="session")
def rowback_migrations() -> Migrations:
    """What makes the tests' database; override it. By default: nothing, an empty database."""
    from guards.isolation import Migrations

    return Migrations.none()


@pytest.fixture(scope="session")
def rowback_databases(request: pytest.FixtureRequest, rowback_migrations: Migrations) -> Iterator[Databases]:
    """The tiers as functions, for fixtures that a project writes itself: guards.isolation.Databases.

    Raises UsageError when the option names no migrations.
    """
    from guards.drivers.guard_connection import resolved
    from guards.isolation import open_databases

    configured = str(request.config.getini(OPTION)).strip()
    dsn = resolved(configured) if configured else None
    if configured and dsn is None:
        raise pytest.UsageError(f"{OPTION} = {configured}: that is not configured here")
    # The workers of one run share a cluster.
    with open_databases(rowback_migrations, dsn=dsn, run=os.environ.get("PYTEST_XDIST_TESTRUNUID")) as databases:
        yield databases


@pytest.fixture
def rowback_connection(rowback_databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection whose transaction is rolled back: the fastest tier."""
    with rowback_databases.rolled_back() as connection:
        yield connection


@pytest.fixture
def rowback_restored(rowback_databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database whose dirty tables are put back after the test; `.dsn` says how to reach it."""
    with rowback_databases.restored() as database:
        yield database
        _keep_if_failed(rowback_databases, database, request.node)


@pytest.fixture
def rowback_database(rowback_databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh copy of the migrated template for this test alone; `.dsn` says how to reach it."""
    with rowback_databases.clone() as database:
        yield database
        _keep_if_failed(rowback_databases, database, request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember, for the fixtures' end, that the test failed."""
    report: Any = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def _keep_if_failed(databases: Databases, database: Database, item: pytest.Item) -> None:
    if item.stash.get(FAILED, False):
        databases.keep(database, f"{item.nodeid} failed")
        print(f"rowback kept the database of {item.nodeid}: {database.shown}")  # noqa: T201 (pytest's report holds it)
