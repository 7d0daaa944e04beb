"""What was asked for does not exist, is out of reach, or may not be had."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recovery.model.target import format_utc
from runbooks.lab.lab_state import CallFault
from tests.fix_cli import Cli
from tests.fix_lab import Database, discard, wait_until
from tests.scenarios.refusals.requests import NOTHING, plan


def test_unknown_instance(cli: Cli) -> None:
    ran = cli("plan", "lvie-1", "--at", "2026-11-22T14:20:00Z", "--database", "x")
    assert ran.code == 10
    assert ran.err.startswith("error[instance-unknown]: no DB instance 'lvie-1' in eu-west-1\n  nearest names: live-")
    assert NOTHING in ran.err


def test_unknown_database_and_table(cli: Cli, database: Database, target: datetime) -> None:
    ran = plan(cli, database.name + "x", target)
    assert ran.code == 14
    assert ran.err.startswith(
        f"error[database-unknown]: instance '{cli.live.identifier}' has no database '{database.name}x'\n"
        "  nearest names: "
    )
    ran = plan(cli, database.name, target, "--table", "public.tt")
    assert (ran.code, ran.err) == (
        15,
        f"error[table-unknown]: no table matches 'public.tt' in '{database.name}' now\n  nearest names: public.t\n"
        "  one that was dropped since T is made anew, with what hung on it, by mode recreate\n"
        f"  {NOTHING}\n  help: correct the name; or, if it was dropped: rowback restore {cli.live.identifier}"
        f" --at {format_utc(target)} --database {database.name} --mode recreate --table public.tt\n",
    )


def test_times_without_offset_and_outside_the_window(cli: Cli, database: Database, target: datetime) -> None:
    for text, code, message in (
        ("2026-11-22T14:20:00", 2, "has no UTC offset"),
        ("noon", 2, "is not an ISO 8601 time"),
        ("1999-01-01T00:00:00Z", 11, r"before the earliest restorable time of 'live-\d+'"),
        (format_utc(datetime.now(UTC) + timedelta(days=3)), 12, "it lies in the future"),
    ):
        ran = cli("plan", cli.live.identifier, "--at", text, "--database", database.name)
        assert ran.code == code
        assert re.search(message, ran.err)
        assert NOTHING in ran.err


def test_a_target_that_is_too_recent_can_be_waited_for(cli: Cli, database: Database, target: datetime) -> None:
    faults = cli.live.lab.engine.faults
    faults.restorable_lag_s = 3.0
    try:
        recent = datetime.now(UTC).replace(microsecond=0)
        ran = plan(cli, database.name, recent)
        assert ran.code == 12
        assert "help: run the same command again later, or add --wait-for-window 10m" in ran.err
        assert plan(cli, database.name, recent, "--wait-for-window", "1x").code == 2
        ran = plan(cli, database.name, recent, "--wait-for-window", "60s")
        assert ran.code == 0
        assert f"waiting until the restore window reaches {format_utc(recent)}" in ran.err
    finally:
        faults.restorable_lag_s = 0.0


def test_tables_that_hold_rows_are_compared_row_by_row(cli: Cli, database: Database, target: datetime) -> None:
    database.run('create table "Weird Name; --" as select generate_series(1, 1200)')
    ran = plan(cli, database.name, target)
    assert ran.code == 0, ran.err
    rows = [line.split() for line in ran.out.splitlines() if "whole database" in line]
    assert sorted(rows) == [
        ['public."Weird', "Name;", '--"', "holds", "rows", "whole", "database"],
        ["public.t", "empty", "whole", "database"],
    ]


def test_wrong_password_and_unreachable_server(cli: Cli, database: Database, target: datetime) -> None:
    ran = plan(cli, database.name, target, PGPASSWORD="wrong")
    assert (ran.code, ran.err) == (
        31,
        f"error[authentication-failed]: user 'postgres' may not log in to '{database.name}' on"
        f" 127.0.0.1:{cli.live.port} (instance '{cli.live.identifier}')\n"
        '  password authentication failed for user "postgres"\n'
        f"  {NOTHING}\n"
        "  help: check PGUSER with PGPASSWORD, ~/.pgpass, or the credentials of the profile in rowback.toml\n",
    )
    cluster = cli.live.lab.engine.instances[cli.live.identifier].cluster
    port, cluster.port = cluster.port, 1
    try:
        ran = plan(cli, database.name, target)
    finally:
        cluster.port = port
    assert ran.code == 30
    assert ran.err.startswith(
        f"error[server-unreachable]: no connection to instance '{cli.live.identifier}' at 127.0.0.1:1\n"
    )


def test_missing_and_too_old_client_tools(cli: Cli, database: Database, target: datetime, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    ran = plan(cli, database.name, target, ROWBACK_PG_BIN=str(old))
    assert ran.code == 37
    assert "no pg_dump at all was found" in ran.err
    for tool in ("pg_dump", "pg_restore"):
        (old / tool).write_text("#!/bin/sh\necho pg_dump '(PostgreSQL)' 12.4\n")
        (old / tool).chmod(0o755)
    ran = plan(cli, database.name, target, ROWBACK_PG_BIN=str(old))
    assert ran.code == 37
    assert f"  {old}: 12.4 is older than the server\n" in ran.err
    assert "--transport copy, which needs none" in ran.err
    assert plan(cli, database.name, target, "--transport", "copy", ROWBACK_PG_BIN=str(old)).code == 0


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (
            CallFault("DescribeDBInstances", "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized", 403),
            34,
            "error[iam-missing]: these credentials may not call rds:DescribeDBInstances on '{name}'\n"
            "  User: arn:aws:iam::1:user/x is not authorized\n"
            "  nothing was created, nothing was written\n"
            "  help: who am I: aws sts get-caller-identity; the policy rowback needs is in docs/reference/iam.md\n",
        ),
        (
            CallFault("DescribeDBInstances", "ExpiredToken", "The security token included is expired", 403),
            33,
            "error[aws-credentials]: rds:DescribeDBInstances on '{name}': AWS does not accept these credentials"
            " (ExpiredToken)\n  The security token included is expired\n"
            "  nothing was created, nothing was written\n"
            "  help: log in again (aws sso login), then run the same command again\n",
        ),
        (
            CallFault("DescribeDBInstances", "Throttling", "Rate exceeded", 400, times=99),
            35,
            "error[aws-throttled]: rds:DescribeDBInstances on '{name}': AWS is throttling this account (Throttling)\n"
            "  nothing was created, nothing was written\n"
            "  help: run the same command again in a minute\n",
        ),
    ],
)
def test_what_aws_refuses(
    cli: Cli, database: Database, target: datetime, fault: CallFault, code: int, message: str
) -> None:
    faults = cli.live.lab.engine.faults
    faults.calls.append(fault)
    try:
        ran = plan(cli, database.name, target, AWS_MAX_ATTEMPTS="2")
    finally:
        faults.calls.clear()
    assert (ran.code, ran.err) == (code, message.format(name=cli.live.identifier))


def test_no_aws_at_all(cli: Cli, database: Database, target: datetime) -> None:
    ran = plan(cli, database.name, target, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert ran.code == 32
    assert ran.err.startswith("error[aws-unreachable]: rds:DescribeDBInstances on ")
    ran = plan(cli, database.name, target, AWS_PROFILE="no-such-profile")
    assert ran.code == 33
    assert "no-such-profile" in ran.err


def test_backups_off(cli: Cli) -> None:
    cli.live.lab.create_instance("careless", BackupRetentionPeriod=0)
    try:
        ran = cli("plan", "careless", "--at", "2026-11-22T14:20:00Z", "--database", "postgres")
    finally:
        discard(cli.live.lab, lambda name: name == "careless")
    assert ran.code == 13
    assert ran.err.startswith("error[backups-off]: 'careless' has no automated backups to restore from\n")


@pytest.mark.parametrize(
    ("membership", "words"),
    [
        (
            {"DBClusterIdentifier": "trio"},
            "error[instance-unsuitable]: '{name}' is a member of Multi-AZ DB cluster 'trio'\n"
            "  its backups are the cluster's\n  {nothing}\n"
            "  help: rowback restores instances; a snapshot of the cluster can be restored by hand: aws rds"
            " describe-db-cluster-snapshots --db-cluster-identifier trio\n",
        ),
        (
            {"ReadReplicaSourceDBInstanceIdentifier": "arn:aws:rds:eu-west-1:123456789012:db:origin"},
            "error[instance-unsuitable]: '{name}' is a read replica of 'origin', which RDS restores to no point in"
            " time\n  {nothing}\n"
            "  help: run the same command for 'origin': what is put back there reaches the replica\n",
        ),
    ],
)
def test_what_rds_restores_through_another_is_led_there(
    cli: Cli, database: Database, target: datetime, membership: dict[str, str], words: str
) -> None:
    attributes = cli.live.lab.engine.instances[cli.live.identifier].attributes
    attributes |= membership
    try:
        ran = plan(cli, database.name, target)
    finally:
        for name in membership:
            del attributes[name]
    assert (ran.code, ran.err) == (17, words.format(name=cli.live.identifier, nothing=NOTHING))


def test_what_had_its_name_before_a_switchover_is_named(cli: Cli) -> None:
    """Blue/green: the name went to an instance whose backups begin when it was made."""
    lab, now = cli.live.lab, format_utc(datetime.now(UTC) - timedelta(days=2))
    for name in ("shop", "shop-old1", "shop-older"):
        lab.create_instance(name)
    try:
        ran = cli("plan", "shop", "--at", now, "--database", "my db")
    finally:
        discard(lab, lambda name: name.startswith("shop"))
    assert ran.code == 11
    assert ran.err.splitlines()[2:4] == [
        "  before a blue/green switchover 'shop-old1' had its name, and has backups of its own; to look at what it"
        f" held: rowback open shop-old1 --at {now} --database 'my db', then rowback peek CASE 'select …'",
        f"  {NOTHING}",
    ]


def test_a_time_at_the_very_end_of_the_window_is_waited_for_or_refused(cli: Cli, database: Database) -> None:
    """RestoreTime "must be before the latest restorable time", and RDS's is often a whole second."""
    engine, instance = cli.live.lab.engine, cli.live.lab.engine.instances[cli.live.identifier]
    earliest = instance.earliest_restorable
    assert earliest
    wait_until(lambda: datetime.now(UTC) - earliest > timedelta(seconds=4), "a window of some seconds")
    latest = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    beat, kept = engine.beat, instance.latest_restorable
    engine.beat, instance.latest_restorable = lambda instance: None, latest  # type: ignore[method-assign]
    try:
        ran = plan(cli, database.name, latest)
    finally:
        engine.beat, instance.latest_restorable = beat, kept  # type: ignore[method-assign]
    assert (ran.code, ran.err.splitlines()[0]) == (
        12,
        f"error[target-after-window]: target {format_utc(latest)} is at the latest restorable time of"
        f" '{cli.live.identifier}' ({format_utc(latest)}), before which it has to lie",
    )
