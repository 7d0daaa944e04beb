"""Where logs come from, mistakes, and what the rows tell where no log does."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import psycopg
import pytest

from recovery.model.incident_findings import FindReport
from recovery.model.target import format_utc
from runbooks.lab.lab_server import REGION
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, wait_until
from tests.scenarios.find.incidents import furnish


def test_a_portion_that_rds_cuts_off_is_asked_for_again_in_smaller_bites(
    cli: Cli, logged: Live, database: Database
) -> None:
    """1 MB a portion: what is behind it would be lost, and the TRUNCATE is there."""
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        for n in range(300):
            session.execute(f"select length('{'x' * 9000}{n}')".encode())
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name)
    assert "TRUNCATE child" in found.out


def test_the_export_in_cloudwatch_is_read_as_well(cli: Cli, live: Live) -> None:
    group = f"/aws/rds/instance/{live.identifier}/postgresql"
    absent = cli("find", live.identifier, "--cloudwatch")
    assert absent.code == 36
    assert f"error[aws-refused]: logs:FilterLogEvents on '{group}': ResourceNotFoundException" in absent.err
    logs = boto3.client(
        "logs",
        endpoint_url=f"http://127.0.0.1:{live.lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=f"{live.identifier}.0")
    now = datetime.now(UTC)
    head = f"{now:%Y-%m-%d %H:%M:%S} UTC:10.0.0.7(51234):ann@docs:[77]:"
    texts = ["begin", "delete\n\tfrom parent", "commit", "select 1"]
    logs.put_log_events(
        logGroupName=group,
        logStreamName=f"{live.identifier}.0",
        logEvents=[
            {"timestamp": int(now.timestamp() * 1000), "message": f"{head}LOG:  statement: {text}"} for text in texts
        ],
    )
    found = cli("find", live.identifier, "--cloudwatch")
    assert found.code == 0, found.err
    assert "1. committed: DELETE parent (without WHERE)" in found.out
    assert f"read: {group}, from " in found.out


HEAD = "2026-11-22 14:20:05 UTC:10.0.0.7(51234):ann@docs:[77]:"


LOG = "".join(f"{HEAD}LOG:  statement: {text}\n" for text in ("begin", "delete from parent", "commit", "select 1"))


def test_files_of_this_machine_need_neither_aws_nor_a_database(cli: Cli, tmp_path: Path) -> None:
    plain, packed = tmp_path / "postgresql.log", tmp_path / "older.log.gz"
    plain.write_text(LOG)
    packed.write_bytes(gzip.compress(LOG.replace("parent", "older").replace("14:20:05", "13:00:00").encode()))
    found = cli("find", "--log", str(packed), "--log", str(plain))
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[2:7] == [
        "1. committed: DELETE parent (without WHERE)",
        "  when       2026-11-22T14:20:05Z, over by 14:20:05Z",
        "  who        role ann, from 10.0.0.7, in database docs, process 77",
        "  outcome    committed: the log shows its end",
        "  statement  delete from parent",
    ]
    assert "2. committed: DELETE older (without WHERE)" in found.out
    only = cli("find", "--log", str(packed), "--log", str(plain), "--to", "2026-11-22T14:00:00Z", "--json")
    (suspect,) = json.loads(only.out)["suspects"]
    assert suspect["tables"] == ["older"]
    assert json.loads(only.out)["proposal"]["command"] == (
        "rowback plan INSTANCE --at 2026-11-22T13:00:00Z --database docs --table public.older"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        ((), 2, "error[usage]: neither an instance nor a log file was named"),
        (
            ("--log", "nowhere.log"),
            2,
            "error[log-unreadable]: the log 'nowhere.log' cannot be read: there is no such file",
        ),
        (
            ("--log", "noise.log"),
            2,
            "error[log-unreadable]: no line of 'noise.log' begins with log_line_prefix '%t:%r:%u@%d:[%p]:'",
        ),
        (
            ("--log", "broken.gz"),
            2,
            "error[log-unreadable]: the log 'broken.gz' cannot be read: Compressed file ended"
            " before the end-of-stream marker was reached",
        ),
        (("--log", "empty.log"), 43, "error[nothing-suspect]: no statement in these logs could have been the incident"),
        (
            ("staging", "--from", "2026-11-22T14:20:00"),
            2,
            "error[target-time-no-offset]: target time '2026-11-22T14:20:00' has no UTC offset",
        ),
        (
            ("staging", "--from", "2026-11-22T14:20:00Z", "--to", "2026-11-22T14:00:00Z"),
            2,
            "error[usage]: the search ends at 2026-11-22T14:00:00Z, before it begins at 2026-11-22T14:20:00Z",
        ),
        (("staging", "--since", "soon"), 2, "error[usage]: 'soon' is not a duration"),
        (("no-such-instance",), 10, "error[instance-unknown]: no DB instance 'no-such-instance' in eu-west-1"),
    ],
)
def test_mistakes(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, fact: str) -> None:
    (tmp_path / "noise.log").write_text("nothing of the kind\n" * 5)
    (tmp_path / "empty.log").touch()
    (tmp_path / "broken.gz").write_bytes(gzip.compress(LOG.encode() * 100)[:15])
    refused = cli("find", *arguments)
    assert (refused.code, fact in refused.err.splitlines()) == (code, True), refused.err


def test_a_database_that_does_not_answer_costs_only_its_part(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, PGPASSWORD="wrong")
    assert found.code == 0
    assert "TRUNCATE child" in found.out
    assert f"  database '{database.name}' could not be asked: " in found.out


def test_times_before_the_log_are_told(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10h")
    assert "  the logs begin at " in found.out
    assert format_utc(datetime.now(UTC) - timedelta(hours=10)) not in found.out


def test_commit_timestamps_tell_when(cli: Cli, live: Live, database: Database) -> None:
    """The last test of this file: the instance restarts, and logs as RDS does by default afterwards."""
    instance = live.lab.engine.instances[live.identifier]
    values = instance.parameters.values
    try:
        values["track_commit_timestamp"] = "on"
        live.lab.engine.reboot(instance)
        wait_until(lambda: instance.status == "available", "available again")
        before = datetime.now(UTC)
        database.run("create table t (id int primary key)", "insert into t select generate_series(1, 4)")
        found = cli("find", live.identifier, "--database", database.name, "--table", "public.t", "--since", "5m")
        told = re.search(
            r"public\.t: 4 of 4 rows were last written by transaction \d+, committed at (\S+Z)\n", found.out
        )
        assert told
        assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(told[1]) <= datetime.now(UTC)
    finally:
        del values["track_commit_timestamp"]
        live.lab.engine.reboot(instance)
        wait_until(lambda: instance.status == "available", "available again")


def test_the_rows_name_the_transaction_of_an_update_of_everything(cli: Cli, logged: Live, database: Database) -> None:
    """RDS's log_line_prefix has no transaction id. Behind a good statement over all rows, they tell of that alone."""
    furnish(database)
    with database.connect() as session, session.transaction():
        session.execute("update parent set email = ''")
        row = session.execute("select pg_current_xact_id()::text").fetchone()
    assert row
    database.run("update parent set email = 'x' where id = 3", "insert into parent values (99, 'new')")
    ran = cli("find", logged.identifier, "--since", "10m", "--database", database.name, "--json")
    found = FindReport.model_validate_json(ran.out)
    assert found.suspects[0].xid == int(row[0])
    why = f"; 29 of 31 rows of parent were written by transaction {row[0]}, and none before it"
    assert found.suspects[0].why.endswith(why)
    assert found.proposal
    assert found.proposal.command.endswith(f"--table public.parent --mode repair --incident-xid {row[0]}")
    database.run("update parent set email = lower(email) where email is not null")
    found = FindReport.model_validate_json(
        cli("find", logged.identifier, "--since", "10m", "--database", database.name, "--json").out
    )
    assert [suspect.xid for suspect in found.suspects if suspect.unbounded] == [0], "the rows tell of the good one"


def test_a_database_that_never_was_is_corrected(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    ran = cli("find", logged.identifier, "--since", "10m", "--database", f"{database.name}x")
    assert ran.code == 14
    assert ran.err.splitlines()[-5:-3] == [
        f"error[database-unknown]: instance '{logged.identifier}' has no database '{database.name}x'",
        f"  nearest names: {database.name}",
    ]


def test_a_table_that_a_foreign_key_emptied_is_reached(cli: Cli, logged: Live, database: Database) -> None:
    """And one that nothing touched is told as that."""
    database.run(
        "create table house (id int primary key)",
        "create table spare (id int)",
        "create table room (id int primary key, house int references house on delete cascade)",
        "create table bed (id int, room int references room on delete set null)",
        "insert into house select generate_series(1, 9)",
        "insert into room select g, g from generate_series(1, 9) g",
        "insert into bed select g, g from generate_series(1, 9) g",
    )
    database.run("delete from house where id < 20")
    asked = ("find", logged.identifier, "--since", "10m", "--database", database.name, "--table")
    for table in ("room", "bed"):
        found = cli(*asked, table)
        assert "1. unknown: DELETE house" in found.out or "1. committed: DELETE house" in found.out
        assert "--table public.house" in found.out.partition("next: ")[2]
        assert "none of them names or reaches" not in found.out
    untouched = cli(*asked, "spare")
    assert "none of them names or reaches 'spare' in this log" in untouched.out + untouched.err, untouched


def test_domains_over_times_and_times_before_christ(cli: Cli, logged: Live, database: Database) -> None:
    database.run(
        "create domain moment as timestamptz",
        "create domain seen as moment check (value is not null)",
        "create table t (id int, created_at seen, changed_at timestamp)",
        "insert into t values (1, '2026-11-22 14:00:00Z', '0044-03-15 12:00:00 BC'),"
        " (2, '2026-11-22 15:00:00Z', '0044-03-15 12:00:00')",
    )
    found = cli("find", logged.identifier, "--database", database.name, "--table", "t", "--since", "2h")
    assert {line.strip() for line in found.out.splitlines() if '_at" is' in line} == {
        'public.t: "created_at" is 2026-11-22T14:00:00.000Z to 2026-11-22T15:00:00.000Z in 2 rows',
        'public.t: "changed_at" is 0044-03-15T12:00:00.000 BC to 0044-03-15T12:00:00.000 in 2 rows',
    }
