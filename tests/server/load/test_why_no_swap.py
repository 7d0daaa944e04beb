"""When tables are swapped, and what in the database keeps all of them from it."""

from __future__ import annotations

from recovery.reload.load_by_swap import why_no_swap
from tests.fix_lab import Database
from tests.server.load.swapping import swapping


def test_tables_of_several_schemas_are_loaded_in_place(database: Database) -> None:
    database.run("create schema other", "create table t (id int primary key)", "create table other.t (id int)")
    with swapping(database, database) as swap:
        assert swap.why_not() == "the tables are in several schemas"


def test_a_publication_of_all_tables_or_of_the_schema_keeps_them(database: Database) -> None:
    """Rows that come into a table that is not published would never reach the subscribers."""
    database.run("create table t (id int primary key)")
    for publication in ("for all tables", "for tables in schema public"):
        database.as_superuser(f"create publication p {publication}")
        with swapping(database, database) as swap:
            published = "public.t: it is published: subscribers would not see the rows"
            assert swap.why_not() == published
        database.as_superuser("drop publication p")


def test_a_subscription_keeps_them(database: Database) -> None:
    """It knows its tables by their oids, and would leave the new one out without a word."""
    database.run("create table t (id int primary key)")
    database.as_superuser(
        "create subscription s connection 'dbname=none' publication p with (connect = false, slot_name = none)",
        "insert into pg_subscription_rel select oid, 't'::regclass, 'r', null from pg_subscription where subname = 's'",
    )
    with swapping(database, database) as swap:
        assert swap.why_not() == "public.t: it is filled by a subscription"
    database.as_superuser("delete from pg_subscription_rel", "drop subscription s")


def test_many_tables_and_indexes_are_not_exchanged_under_one_lock(database: Database) -> None:
    database.run(*(f"create table t{n} (id int primary key)" for n in range(101)))
    with swapping(database, database) as swap:
        reason = "together they have more than 200 tables and indexes, which would be locked for long"
        assert swap.why_not() == reason
        assert why_no_swap(swap.here, swap.job.filled[1:]) == ""


def test_an_event_trigger_keeps_them(database: Database) -> None:
    database.run("create table t (id int primary key)")
    database.as_superuser(
        "create function f() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger watch on ddl_command_end execute function f()",
    )
    with swapping(database, database) as swap:
        reason = "event trigger watch would see tables created and dropped"
        assert swap.why_not() == reason
