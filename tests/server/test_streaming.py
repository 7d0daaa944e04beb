"""A session whose rows are being read takes no other statement: psycopg would let it wait for their end, for ever."""

from __future__ import annotations

import pytest
from psycopg import sql

from recovery.postgres.comparison.table_scan import Field, Side, distinct_values, stream
from recovery.postgres.connect import connect
from recovery.postgres.read_catalog import read_catalog
from tests.fix_lab import Database
from tests.fix_repair import Past

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


def test_rows_of_which_none_was_read_are_left(database: Database) -> None:
    with connect(database.target()) as session:
        stream(session, QUERY)
        session.leave_rows()
        assert session.execute("select 1").fetchall() == [(1,)]


def test_an_error_in_a_transaction_ends_what_is_being_read(database: Database) -> None:
    """Its own words reach the reader, and the session goes on."""
    with connect(database.target()) as session:
        with pytest.raises(ZeroDivisionError), session.transaction(), session.transaction():
            rows = stream(session, QUERY)
            next(rows)
            raise ZeroDivisionError
        assert session.execute("select 1").fetchall() == [(1,)]


def test_an_interruption_ends_what_is_being_read(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is said of it but that."""
    with pytest.raises(KeyboardInterrupt), connect(database.target()) as session:
        stream(session, QUERY)
        raise KeyboardInterrupt
    assert caplog.messages == []


@pytest.mark.parametrize("lineage", [True, False], ids=["by lineage", "by buckets"])
@pytest.mark.parametrize("damaged", ["original", "copy"])
def test_a_table_that_one_server_cannot_read_is_set_aside(
    past: Past, database: Database, damaged: str, *, lineage: bool
) -> None:
    """Both servers are asked at the same time: what the other one was about to send is left, the next table is read."""
    with past(
        "create type mood as enum ('good', 'bad')",
        "create table a (id int primary key, x mood)",
        "insert into a select g, 'good' from generate_series(1, 30000) g",
        "create table b (id int primary key, x text)",
        "insert into b select g, g from generate_series(1, 1000) g",
    ) as times:
        database.run("update a set x = 'bad' where id > 100", "delete from b where id > 990")
        side = times.now if damaged == "original" else times.then
        side.as_superuser("delete from pg_enum where enumlabel = 'good'")
        plan = times.diff(lineage=lineage)
        words = "the server refuses it: invalid internal value for enum"
        assert [line.partition(words)[0] for line in plan.unexamined] == ["public.a: it could not be compared: "]
        assert [(str(table.name), table.inserts) for table in plan.tables] == [("public.b", 10)]
        times.apply()
        assert database.rows("select id, x from b order by 1") == [(g, str(g)) for g in range(1, 1001)]
