"""`rowback coverage`: every instance and cluster the account shows, and what is missing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from recovery.model.recovery_report import Objectives
from recovery.store.drill_history import DrillRecord
from runbooks.lab.lab_server import REGION, Lab
from tests.fix_cli import Cli
from tests.fix_lab import Live, discard, end_instance, wait_until

ELSEWHERE = "us-east-1"
BY_SEVERITY = {
    "high": ["no automated backups: no moment of the past can be restored"],
    "medium": [
        "deletion protection is off, and automated backups go with the instance",
        "nothing outlives it: no manual snapshot, no AWS Backup",
    ],
    "low": [
        "no copy in another region",
        "neither it nor its backups are encrypted",
        "no recovery of it was ever rehearsed from this machine",
    ],
}


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[Live]:
    """A well kept instance here; an Aurora cluster here and an instance without backups elsewhere, which moto shows."""
    password = lab.create_instance("kept", PubliclyAccessible=False, DeletionProtection=True, StorageEncrypted=True)
    client(lab, REGION).create_db_snapshot(DBInstanceIdentifier="kept", DBSnapshotIdentifier="before")
    wait_until(lambda: lab.engine.snapshots["before"].status == "available", "the snapshot")
    client(lab, REGION).create_db_cluster(
        DBClusterIdentifier="aurora",
        Engine="aurora-postgresql",
        MasterUsername="p",
        MasterUserPassword="secretsecret",
        BackupRetentionPeriod=3,
        DeletionProtection=True,
        StorageEncrypted=True,
    )
    client(lab, ELSEWHERE).create_db_instance(
        DBInstanceIdentifier="orders",
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="p",
        MasterUserPassword="secretsecret",
        BackupRetentionPeriod=0,
    )
    yield Live(lab, "kept", password)
    client(lab, ELSEWHERE).delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
    client(lab, REGION).modify_db_cluster(DBClusterIdentifier="aurora", DeletionProtection=False)
    client(lab, REGION).delete_db_cluster(DBClusterIdentifier="aurora", SkipFinalSnapshot=True)
    # moto keeps a cluster's automatic snapshots, named by the minute: a second set-up would meet them.
    for kept in client(lab, REGION).describe_db_cluster_snapshots()["DBClusterSnapshots"]:
        client(lab, REGION).delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=kept["DBClusterSnapshotIdentifier"])
    client(lab, REGION).delete_db_snapshot(DBSnapshotIdentifier="before")
    end_instance(lab, "kept")


def client(lab: Lab, region: str) -> Any:
    return boto3.client(
        "rds",
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=region,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )


def gaps(each: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for gap in each["gaps"]:
        found.setdefault(gap["severity"], []).append(gap["what"])
    return found


def covered(cli: Cli, *arguments: str) -> dict[str, dict[str, Any]]:
    found = cli("coverage", "--json", *arguments)
    return {each["protection"]["identifier"]: each for each in json.loads(found.out)["covered"]}


def test_one_region(cli: Cli) -> None:
    found = cli("coverage", "--json")
    assert (found.code, found.err) == (0, f"{REGION} …\n")
    by_name = covered(cli)
    assert gaps(by_name["kept"]) == {
        "low": ["no copy in another region", "no recovery of it was ever rehearsed from this machine"]
    }
    assert by_name["kept"]["protection"]["lasting_snapshots"] == 1
    assert 0 <= by_name["kept"]["lag_s"] < 60
    assert gaps(by_name["aurora"]) == {
        "medium": [
            "backups are kept for 3 days, less than 7",
            "nothing outlives it: no manual snapshot, no AWS Backup",
        ],
        "low": ["no copy in another region", "no recovery of it was ever rehearsed from this machine"],
    }
    assert "orders" not in by_name


def test_all_regions_and_the_exit_code(cli: Cli) -> None:
    found = cli("coverage", "--json", "--all-regions")
    by_name = {each["protection"]["identifier"]: each for each in json.loads(found.out)["covered"]}
    assert (by_name["orders"]["protection"]["region"], by_name["orders"]["lag_s"]) == (ELSEWHERE, None)
    assert gaps(by_name["orders"]) == BY_SEVERITY
    assert found.code == 46
    assert found.err.splitlines()[-3:] == [
        "error[coverage-gaps]: a loss today could not be undone: orders",
        "  nothing was created, nothing was written",
        "  help: the fixes are above",
    ]


def test_backups_without_a_moment_to_restore_are_high(cli: Cli, lab: Lab) -> None:
    instance = lab.engine.instances["kept"]
    backups, latest = instance.backups, instance.latest_restorable
    instance.backups, instance.latest_restorable = [], None
    try:
        assert gaps(covered(cli)["kept"])["high"] == [
            "automated backups are on, but RDS shows no moment that could be restored"
        ]
    finally:
        instance.backups, instance.latest_restorable = backups, latest


def test_a_window_that_stands_still_is_high(cli: Cli, lab: Lab) -> None:
    instance, faults = lab.engine.instances["kept"], lab.engine.faults
    faults.restorable_lag_s, instance.latest_restorable = 7200.0, datetime.now(UTC) - timedelta(hours=2)
    try:
        (what,) = gaps(covered(cli)["kept"])["high"]
        assert re.fullmatch(r"the restore window ends 1(19|20) min ago; RDS usually moves it on every 5", what)
    finally:
        faults.restorable_lag_s, instance.latest_restorable = 0.0, datetime.now(UTC)


def test_the_last_drill_of_an_instance_counts(cli: Cli) -> None:
    drill = DrillRecord(
        at=datetime.now(UTC),
        target="kept",
        fault="truncate",
        passed=False,
        recovery_time_s=3.0,
        data_loss_s=1.0,
        objectives=Objectives(),
        phases_s={},
        rows=1,
        tool_version="0",
    )
    (cli.home / "drills").mkdir(parents=True)
    (cli.home / "drills" / "one.json").write_text(drill.model_dump_json())
    found = covered(cli)["kept"]
    assert gaps(found)["medium"] == [f"the last drill, on {drill.at:%Y-%m-%d}, failed"]
    assert found["rehearsal"]["passed"] is False


def test_table_csv_and_page_tell_the_same(cli: Cli) -> None:
    text = cli("coverage", "--region", ELSEWHERE)
    lines = text.out.splitlines()
    assert lines[0] == f"account 123456789012, {ELSEWHERE}: 1 instance or cluster"
    assert lines[3].split()[:5] == ["orders", ELSEWHERE, "postgres", lines[3].split()[3], "OFF"]
    assert [line for line in lines if line.startswith("  orders: ")] == [
        f"  orders: {what}" for whats in BY_SEVERITY.values() for what in whats
    ]
    rows = list(csv.DictReader(io.StringIO(cli("coverage", "--region", ELSEWHERE, "--format", "csv").out)))
    assert [(row["severity"], row["gap"]) for row in rows] == [
        (severity, what) for severity, whats in BY_SEVERITY.items() for what in whats
    ]
    page = cli("coverage", "--region", ELSEWHERE, "--format", "html").out
    assert all(what in page for whats in BY_SEVERITY.values() for what in whats)
    assert not re.search(r"""(src|href|action)\s*=|@import|url\(|<script""", page), "the page asks nobody for anything"


def test_what_may_not_be_seen_is_told(cli: Cli, lab: Lab) -> None:
    lab.engine.faults.denied = {"rds:DescribeDBInstanceAutomatedBackups"}
    try:
        found = cli("coverage")
        assert (found.code, found.out) == (34, "")
        assert "may not call rds:DescribeDBInstanceAutomatedBackups" in found.err
        several = cli("coverage", "--all-regions")
        assert several.code == 46
        assert "error[coverage-gaps]: 1 regions could not be looked at\n" in several.err
        lines = cli("coverage", "--all-regions", "--format", "csv").out.splitlines()
        assert [line for line in lines if line.startswith(f"{REGION},")] == [
            f"{REGION}{',' * 18}unknown,these credentials may not call rds:DescribeDBInstanceAutomatedBackups,"
        ]
        assert several.out.splitlines()[-2:] == [
            "could not be looked at:",
            f"  {REGION}: these credentials may not call rds:DescribeDBInstanceAutomatedBackups",
        ]
    finally:
        lab.engine.faults.denied = set()


def test_a_copy_is_no_gap(cli: Cli, lab: Lab) -> None:
    lab.create_instance("rowback-z", BackupRetentionPeriod=0, Tags=[{"Key": "rowback:managed", "Value": "true"}])
    try:
        found = cli("coverage", "--json")
    finally:
        discard(lab, lambda name: name == "rowback-z")
    assert found.code == 0
    assert "rowback-z" not in found.out


def test_seeing_nothing_is_no_success(cli: Cli) -> None:
    found = cli("coverage", "--region", "ap-south-1")
    assert found.code == 46
    assert "error[coverage-gaps]: these credentials see no instance in ap-south-1" in found.err
