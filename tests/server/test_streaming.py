"""A session whose rows are being read takes no other statement: psycopg would let it wait for their end, for ever."""

from __future__ import annotations

import pytest
from psycopg import sql

from recovery.postgres.comparison.table_scan import Field, Side, distinct_values, stream
from recovery.postgres.connect import connect
from recovery.postgres.read_catalog import read_catalog
from tests.fix_lab import Database

QUERY = sql.SQL("select g from generate_series(1, 100000) g").format()


def test_a_statement_in_between_is_an_error_and_no_wait(database: Database) -> None:
    with connect(database.target()) as session:
        rows = stream(session, QUERY)
        assert next(rows) == ("1",)
        with pytest.raises(AssertionError, match="whose rows are still being read"):
            session.execute("select 1")
        assert sum(1 for _ in rows) == 99_999
        assert session.execute("select 1").fetchall() == [(1,)]


def test_rows_that_are_not_read_to_their_end_set_the_session_free(database: Database) -> None:
    with connect(database.target()) as session:
        rows = stream(session, QUERY)
        next(rows)
        del rows
        assert session.execute("select 1").fetchall() == [(1,)]


def test_distinct_values_are_held_by_the_server(database: Database) -> None:
    database.run(
        "create table t (a int, b text)", "insert into t select g % 12000, null from generate_series(1, 30000) g"
    )
    with connect(database.target()) as session:
        table = read_catalog(session).tables[0]
        field = Field("a", table.columns[0])
        values = distinct_values(Side(session, table.name, (field,), (field,)), [field])
        first = next(values)
        assert session.execute("select count(*) from public.t").fetchall() == [(30_000,)]
        assert {first, *values} == {(str(number),) for number in range(12_000)}
