"""Suites of tests that run inside, and the tables that they destroy."""

from __future__ import annotations

from tests.fix_lab import Database

SUITE = """
import os, psycopg, pytest
DSN = os.environ["TEST_DSN"]

@pytest.fixture
def clean():
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("truncate table parent cascade")
    yield

def test_one(clean):
    pass

def test_reading_goes_on():
    with psycopg.connect(DSN) as connection:
        assert connection.execute("select count(*) from parent").fetchone() == (3,)
"""


def furnish(database: Database) -> None:
    database.run(
        "create table parent (id int primary key)",
        "create table child (id int, p int references parent)",
        "insert into parent values (1), (2), (3)",
        "insert into child values (1, 1)",
        "analyze",
    )


def rows(database: Database) -> tuple[int, int]:
    return database.rows("select (select count(*) from parent), (select count(*) from child)")[0]


SWALLOWED = """
import os, psycopg, pytest

def attempt():
    with psycopg.connect(os.environ["TEST_DSN"], autocommit=True) as connection:
        connection.execute("delete from parent")

@pytest.mark.parametrize("n", range(4))
def test_cleanup_that_swallows(n):
    try:
        attempt()
    except BaseException:
        pass
"""
