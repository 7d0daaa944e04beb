
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
