"""When tables are swapped, and what in the database keeps all of them from it."""

from __future__ import annotations

import pytest

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy
from recovery.reload.load_by_swap import why_no_swap
from tests.fix_lab import Database
from tests.server.load.jobs import as_superuser
from tests.server.load.swapping import swapping


@pytest.mark.parametrize(
    ("rows", "strategy", "asked"),
    [
        (ROWS_IN_PLACE[LoadStrategy.AUTO], LoadStrategy.AUTO, True),
        (ROWS_IN_PLACE[LoadStrategy.AUTO] - 1, LoadStrategy.AUTO, False),
        (1, LoadStrategy.SWAP, True),
        (0, LoadStrategy.SWAP, False),
        (ROWS_IN_PLACE[LoadStrategy.AUTO], LoadStrategy.IN_PLACE, False),
        (ROWS_IN_PLACE[LoadStrategy.AUTO], LoadStrategy.PLAIN, False),
    ],
)
def test_the_rule(database: Database, rows: int, strategy: LoadStrategy, *, asked: bool) -> None:
    database.run("create table t (id int primary key)")
    with swapping(database, database) as swap:
        assert why_no_swap(swap.here, {swap.job.fills[0].name: rows}, strategy) == ("" if asked else None)


def test_tables_of_several_schemas_are_loaded_in_place(database: Database) -> None:
    database.run("create schema other", "create table t (id int primary key)", "create table other.t (id int)")
    with swapping(database, database) as swap:
        rows = {pair.name: 10 for pair in swap.job.fills}
        assert why_no_swap(swap.here, rows, LoadStrategy.SWAP) == "the tables are in several schemas"


def test_a_publication_of_all_tables_or_of_the_schema_keeps_them(database: Database) -> None:
    """Rows that come into a table that is not published would never reach the subscribers."""
    database.run("create table t (id int primary key)")
    for publication in ("for all tables", "for tables in schema public"):
        as_superuser(database, f"create publication p {publication}")
        with swapping(database, database) as swap:
            rows = {swap.job.fills[0].name: 10}
            published = "public.t: it is published: subscribers would not see the rows"
            assert why_no_swap(swap.here, rows, LoadStrategy.SWAP) == published
        as_superuser(database, "drop publication p")


def test_a_subscription_keeps_them(database: Database) -> None:
    """It knows its tables by their oids, and would leave the new one out without a word."""
    database.run("create table t (id int primary key)")
    as_superuser(
        database,
        "create subscription s connection 'dbname=none' publication p with (connect = false, slot_name = none)",
        "insert into pg_subscription_rel select oid, 't'::regclass, 'r', null from pg_subscription where subname = 's'",
    )
    with swapping(database, database) as swap:
        rows = {swap.job.fills[0].name: 10}
        assert why_no_swap(swap.here, rows, LoadStrategy.SWAP) == "public.t: it is filled by a subscription"
    as_superuser(database, "delete from pg_subscription_rel", "drop subscription s")


def test_many_tables_and_indexes_are_not_exchanged_under_one_lock(database: Database) -> None:
    database.run(*(f"create table t{n} (id int primary key)" for n in range(101)))
    with swapping(database, database) as swap:
        rows = {pair.name: 10 for pair in swap.job.fills}
        reason = "together they have more than 200 tables and indexes, which would be locked for long"
        assert why_no_swap(swap.here, rows, LoadStrategy.SWAP) == reason
        rows.popitem()
        assert why_no_swap(swap.here, rows, LoadStrategy.SWAP) == ""


def test_an_event_trigger_keeps_them(database: Database) -> None:
    database.run("create table t (id int primary key)")
    as_superuser(
        database,
        "create function f() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger watch on ddl_command_end execute function f()",
    )
    with swapping(database, database) as swap:
        reason = "event trigger watch would see tables created and dropped"
        assert why_no_swap(swap.here, {swap.job.fills[0].name: 10}, LoadStrategy.SWAP) == reason
