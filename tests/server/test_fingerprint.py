"""The checksum is order-independent and text-exact: equal values stored differently are told apart."""

from __future__ import annotations

import psycopg
import pytest

from recovery.model.catalog import Table
from recovery.postgres.connect import connect, one
from recovery.postgres.fingerprint import fingerprint, written_by_others
from recovery.postgres.read_catalog import read_catalog
from tests.fix_lab import Database


def tables(database: Database) -> dict[str, Table]:
    with connect(database.target()) as session:
        return {table.name.name: table for table in read_catalog(session).tables}


def prints(database: Database, *names: str, version: int = 170000) -> list[object]:
    found = tables(database)
    with connect(database.target()) as session:
        return [fingerprint(session, found[name], oldest_version_num=version) for name in names]


@pytest.mark.parametrize("version", [130000, 170000])
def test_order_does_not_matter_but_duplicates_do(database: Database, version: int) -> None:
    database.run(
        "create table a (n int, t text)",
        "create table b (n int, t text)",
        "create table c (n int, t text)",
        "insert into a values (1, 'x'), (2, null), (2, null)",
        "insert into b values (2, null), (1, 'x'), (2, null)",
        "insert into c values (1, 'x'), (1, 'x'), (2, null)",
    )
    a, b, c = prints(database, "a", "b", "c", version=version)
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("type_name", "one_value", "other_value"),
    [
        ("numeric", "1.0", "1.00"),
        ("float8", "'0'", "'-0'"),
        ("float8", "'0.1'::float8 + '0.2'::float8", "'0.3'"),
        ("interval", "'1 month'", "'30 days'"),
        ("jsonb", """'{"a": 1.0}'""", """'{"a": 1.00}'"""),
        ("json", """'{"a":1}'""", """'{"a": 1}'"""),
        ("text[]", "'{a,NULL}'", """'{a,"NULL"}'"""),
        ("text", "''", "null"),
        ("text", "'é'", "U&'e\\0301'"),
        ("bytea", "'\\x00'", "'\\x0000'"),
        ("timestamptz", "'2026-01-01 00:00:00.000001Z'", "'2026-01-01 00:00:00.000002Z'"),
        ("inet", "'10.0.0.1'", "'10.0.0.1/24'"),
        ("xml", "'<a/>'", "'<a></a>'"),
        ("point", "'(1,2)'", "'(2,1)'"),
        ("money", "1", "2"),
        ("bit varying", "B'1'", "B'01'"),
        ("tsvector", "'a:1'", "'a:2'"),
        ("int4range", "'[1,3)'", "'(1,3)'"),
    ],
)
def test_what_differs_as_text_differs(database: Database, type_name: str, one_value: str, other_value: str) -> None:
    try:
        database.run(
            f"create table a (v {type_name})",
            f"create table b (v {type_name})",
            f"create table c (v {type_name})",
            f"insert into a values ({one_value})",
            f"insert into b values ({other_value})",
            f"insert into c values ({one_value})",
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip(f"this PostgreSQL was built without {type_name}")
    a, b, c = prints(database, "a", "b", "c")
    assert a == c
    assert a != b


def test_user_types_and_columns_that_need_quoting(database: Database) -> None:
    database.run(
        "create type mood as enum ('sad', 'glad')",
        "create type pair as (a int, b text)",
        "create domain positive as int check (value > 0)",
        """create table "Weird Name; --" ("t" mood, "select" pair, "Ünï" positive, arr mood[],
           g int generated always as (1) stored)""",
        """insert into "Weird Name; --" values ('glad', (1, 'x'), 3, '{sad}')""",
    )
    (before,) = prints(database, "Weird Name; --")
    database.run("""update "Weird Name; --" set "select" = (1, 'y')""")
    (after,) = prints(database, "Weird Name; --")
    assert before != after


def test_column_order_and_generated_columns_do_not_matter(database: Database) -> None:
    database.run(
        "create table a (x int, y text, z int generated always as (x + 1) stored)",
        "create table b (y text, x int)",
        "insert into a values (1, 'q')",
        "insert into b values ('q', 1)",
    )
    a, b = prints(database, "a", "b")
    assert a == b


def test_only_the_rows_of_one_transaction(database: Database) -> None:
    database.run("create table a (n int)", "insert into a values (1)")
    found = tables(database)["a"]
    with connect(database.target()) as session:
        with session.transaction():
            xid = int(one(session, "select pg_current_xact_id()::text"))
            session.execute("insert into public.a values (2), (3)")
        assert written_by_others(session, found.name, [xid]) == 1
        ours = fingerprint(session, found, oldest_version_num=170000, only=[xid])
        session.execute("delete from public.a where n = 1")
        assert ours == fingerprint(session, found, oldest_version_num=170000)
