"""Which statement is suggested first, and which time."""

from __future__ import annotations

import re
from datetime import datetime

import psycopg
import pytest

from recovery.model.incident_findings import FindReport
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, Live
from tests.scenarios.find.incidents import emptied, furnish, settings


def test_what_was_rolled_back_is_told_and_not_proposed(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name)) as session:
        session.execute("delete from child")
        session.rollback()
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--json")
    finding = FindReport.model_validate_json(found.out)
    (suspect,) = [s for s in finding.suspects if s.tables == ("child",)]
    assert (suspect.outcome, suspect.why) == ("rolled back", "ROLLBACK")
    assert finding.proposal is None


def test_the_server_is_asked_where_the_log_only_names_the_transaction(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    settings(logged, log_destination="stderr,csvlog")
    kept = psycopg.connect(logged.dsn(database.name))
    kept.execute("insert into parent values (99)")
    kept.execute("delete from child")
    kept.commit()
    try:
        found = cli("find", logged.identifier, "--database", database.name, "--json")
        (suspect,) = [s for s in FindReport.model_validate_json(found.out).suspects if s.tables == ("child",)]
        assert suspect.outcome == "committed"
        assert suspect.why == f"the server says that transaction {suspect.xid} is committed"
        assert suspect.exact
    finally:
        kept.close()


def psql(database: Database, *statements: str) -> None:
    """Each in a session of its own, as `psql -c` sends it."""
    for statement in statements:
        with psycopg.connect(database.live.dsn(database.name), autocommit=True, application_name="psql") as session:
            session.execute(statement)


def test_a_whole_table_among_bounded_writes_is_first_and_nothing_is_proposed_behind_it(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    psql(database, *(f"update parent set email = 'b' where id between {n} and {n + 1}" for n in range(6)))
    before = pass_a_second()
    psql(database, "update parent set email = 'gone'")
    psql(database, *(f"update parent set email = 'c' where id between {n} and {n + 1}" for n in range(20, 40)))
    for extra in ((), ("--table", "public.parent")):
        asked = ("find", logged.identifier, "--database", database.name, "--since", "10m", *extra, "--json")
        finding = FindReport.model_validate_json(cli(*asked).out)
        assert finding.suspects[0].effects == ("UPDATE parent (without WHERE)",)
        assert finding.proposal is not None
        assert finding.proposal.choices == ()
        assert before <= finding.proposal.target_time <= finding.suspects[0].from_time


def test_two_incidents_are_a_choice_with_a_time_and_a_command_each(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    pass_a_second()
    psql(database, "truncate child")
    between = pass_a_second()
    psql(database, "delete from parent", "select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert "\nnext: " not in found.out
    assert "which of 2 was it? each with its own target time:\n" in found.out
    commands = [line.strip() for line in found.out.splitlines() if line.startswith("    rowback plan ")]
    assert [command.rpartition(" --table ")[2] for command in commands] == ["public.child", "public.parent"]
    times = [datetime.fromisoformat(command.split(" --at ")[1].split()[0]) for command in commands]
    assert times[0] < between <= times[1]


def test_a_dropped_database_is_among_the_first_though_nobody_named_it(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    with logged.connect() as server:
        server.execute(f'create database "{database.name}_gone"')
        server.execute(f'drop database "{database.name}_gone"')
        server.execute("select 1")
    psql(database, *(f"update parent set email = 'b' where id between {n} and {n + 1}" for n in range(40)))
    finding = FindReport.model_validate_json(cli("find", logged.identifier, "--since", "10m", "--json").out)
    assert finding.suspects[0].effects[0].startswith("DROP DATABASE")
    assert finding.suspects[0].database == f"{database.name}_gone"


def test_what_rowback_sent_is_left_out_and_counted(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    target = pass_a_second()
    psql(database, "delete from child where p > 4")
    assert cli(*restoring(cli, database, target)).code == 0
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert found.out.startswith("1 statement ")
    assert re.search(r"\nleft out: \d+ statements? that rowback itself sent\n", found.out)


def test_values_are_shown_only_on_demand(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("delete from child where p::text like 'secret@%' or true")
        session.execute("delete from child where p::text <> %s", ("hush",))
        session.execute("select 1")
    plain = cli("find", logged.identifier, "--database", database.name)
    assert "secret@" not in plain.out + plain.err
    assert "hush" not in plain.out + plain.err
    assert "delete from child where p::text like $1 or $2" in plain.out
    shown = cli("find", logged.identifier, "--database", database.name, "--show-values")
    assert "delete from child where p::text like 'secret@%' or true" in shown.out
    assert "$1 = 'hush'" in shown.out


def test_logs_that_cannot_show_it_say_so(cli: Cli, live: Live, database: Database) -> None:
    furnish(database)
    database.run("truncate parent cascade")
    emptied(database)
    found = cli("find", live.identifier, "--database", database.name, "--table", "public.parent", "--since", "1m")
    assert found.code == 43
    tail = found.err.splitlines()
    assert "error[nothing-suspect]: no statement in these logs could have been the incident" in tail
    assert "  log_statement = none: statements that succeed are not logged" in tail
    assert (
        "no target time is proposed: nothing here is likely enough, and a wrong time gives plausible wrong data"
        in found.out
    )
    assert "  public.parent: empty, 30 rows were inserted once; its file was replaced, as TRUNCATE does" in found.out
    settings(live, log_statement="ddl")
    told = cli("find", live.identifier, "--database", database.name, "--table", "parent", "--since", "1m")
    assert "log_statement = ddl: DROP and ALTER are logged, TRUNCATE, DELETE and UPDATE are not" in told.out
    settings(live, log_statement="none")


def test_where_errors_are_not_logged_confidence_is_low_and_it_says_why(
    cli: Cli, logged: Live, database: Database
) -> None:
    """LOG ranks above ERROR in log_min_messages: what failed looks like what went well."""
    furnish(database)
    settings(logged, log_min_messages="log")
    try:
        with psycopg.connect(logged.dsn(database.name)) as session:
            session.execute("truncate parent cascade")
            with pytest.raises(psycopg.errors.DivisionByZero):
                session.execute("select 1/0")
        found = cli("find", logged.identifier, "--database", database.name, "--table", "parent", "--since", "1m")
    finally:
        settings(logged, log_min_messages="warning")
    why = "log_min_messages = log: errors are not logged, and statements that failed may count as committed"
    assert (f"  {why}" in found.out, "confidence low" in found.out) == (True, True), found.out + found.err
