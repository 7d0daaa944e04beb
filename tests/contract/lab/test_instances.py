"""The life of an instance, restores and snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from tests.contract.lab.rds_calls import QUICK, create, refused, wait_for_window
from tests.fix_lab import Live, wait_until


def test_the_life_of_an_instance_by_boto3s_waiters(rds: Any, gone: list[str], lab: Lab) -> None:
    lab.engine.faults.creating_delay_s = 0.3
    try:
        created = create(rds, "Life-1", BackupRetentionPeriod=1, Tags=[{"Key": "team", "Value": "docs"}])
    finally:
        lab.engine.faults.creating_delay_s = 0.0
    gone.append("life-1")
    assert (created["DBInstanceIdentifier"], created["DBInstanceStatus"]) == ("life-1", "creating")
    assert "Endpoint" not in created
    assert "InstanceCreateTime" not in created
    seen: list[str] = []

    def status() -> str:
        row = rds.describe_db_instances(DBInstanceIdentifier="life-1")["DBInstances"][0]
        if not seen or seen[-1] != row["DBInstanceStatus"]:
            seen.append(row["DBInstanceStatus"])
        assert ("Endpoint" in row) == (row["DBInstanceStatus"] != "creating")
        return str(row["DBInstanceStatus"])

    wait_until(lambda: status() == "available", "available")
    assert seen[0] == "creating"
    assert set(seen) <= {"creating", "backing-up", "available"}
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="life-1", WaiterConfig=QUICK)
    rds.delete_db_instance(DBInstanceIdentifier="life-1", SkipFinalSnapshot=True)
    assert rds.describe_db_instances(DBInstanceIdentifier="life-1")["DBInstances"][0]["DBInstanceStatus"] == "deleting"
    rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="life-1", WaiterConfig=QUICK)
    with pytest.raises(rds.exceptions.DBInstanceNotFoundFault, match="DBInstance life-1 not found"):
        rds.describe_db_instances(DBInstanceIdentifier="life-1")


def test_the_master_is_no_superuser(live: Live) -> None:
    with live.connect() as master:
        assert master.execute(
            "select rolsuper, rolreplication, rolbypassrls from pg_roles where rolname = current_user"
        ).fetchone() == (False, False, False)
        assert master.execute("select pg_has_role('rds_superuser', 'member')").fetchone() == (True,)
        master.execute("create table trial (id int primary key references trial)")
        master.execute("set session_replication_role = replica")
        master.execute("set session_replication_role = origin")
        for denied in (
            "alter table trial disable trigger all",
            "select pg_switch_wal()",
            "copy trial to program 'cat'",
            "select pg_read_file('/etc/passwd')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                master.execute(denied)
        master.execute("drop table trial")
    with pytest.raises(psycopg.OperationalError, match="pg_hba.conf rejects|no pg_hba.conf entry"):
        psycopg.connect(host="127.0.0.1", port=live.port, user="rdsadmin", dbname="rdsadmin")


def test_plain_text_connections_are_refused_where_rds_refuses_them(live: Live) -> None:
    arguments: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": live.port,
        "user": live.user,
        "password": live.password,
        "dbname": "postgres",
    }
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(**arguments, sslmode="disable")
    bundle = str(live.lab.ca_bundle)
    with psycopg.connect(**arguments, sslmode="verify-full", sslrootcert=bundle) as session:
        row = session.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
        assert row == (True,)


def restore(rds: Any, source: str, name: str, gone: list[str], **extra: Any) -> dict[str, Any]:
    gone.append(name)
    answer = rds.restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier=source, TargetDBInstanceIdentifier=name, BackupRetentionPeriod=0, **extra
    )
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=name, WaiterConfig=QUICK)
    row: dict[str, Any] = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    assert row["DbiResourceId"] == answer["DBInstance"]["DbiResourceId"]
    return row


def read(live: Live, row: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(
        host=row["Endpoint"]["Address"],
        port=row["Endpoint"]["Port"],
        user=live.user,
        password=live.password,
        dbname="postgres",
    ) as session:
        return session.execute(query).fetchall()


def test_a_restore_replays_wal_to_the_second(live: Live, rds: Any, gone: list[str]) -> None:
    with live.connect() as master:
        master.execute("create table steps (n int)")
        moments = []
        for n in range(3):
            master.execute("insert into steps values (%s)", (n,))
            moments.append(pass_a_second())
        master.execute("truncate steps")
    wait_for_window(rds, live.identifier, moments[-1])
    for n, moment in enumerate(moments):
        row = restore(rds, live.identifier, f"steps-{n}", gone, RestoreTime=moment + timedelta(microseconds=900_000))
        assert read(live, row, "select n from steps order by 1") == [(i,) for i in range(n + 1)]
    assert read(
        live,
        restore(rds, live.identifier, "steps-now", gone, UseLatestRestorableTime=True),
        "select count(*) from steps",
    ) == [(0,)]


def test_a_restore_takes_rdss_defaults_unless_told(live: Live, rds: Any, gone: list[str]) -> None:
    arn = rds.describe_db_instances(DBInstanceIdentifier=live.identifier)["DBInstances"][0]["DBInstanceArn"]
    rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "env", "Value": "staging"}])
    row = restore(rds, live.identifier, "defaults-1", gone, UseLatestRestorableTime=True)
    assert row["PubliclyAccessible"] is True
    assert row["VpcSecurityGroups"][0]["VpcSecurityGroupId"] == "sg-default"
    assert row["TagList"] == [{"Key": "env", "Value": "staging"}]
    assert row["DBParameterGroups"][0]["DBParameterGroupName"].startswith("default.postgres")
    told = restore(
        rds,
        live.identifier,
        "defaults-2",
        gone,
        UseLatestRestorableTime=True,
        PubliclyAccessible=False,
        VpcSecurityGroupIds=["sg-1"],
        Tags=[{"Key": "a", "Value": "b"}],
        DeletionProtection=True,
    )
    assert (told["PubliclyAccessible"], told["DeletionProtection"], told["BackupRetentionPeriod"]) == (False, True, 0)
    assert told["VpcSecurityGroups"] == [{"VpcSecurityGroupId": "sg-1", "Status": "active"}]
    assert told["TagList"] == [{"Key": "a", "Value": "b"}]
    with refused("InvalidParameterCombination"):
        rds.delete_db_instance(DBInstanceIdentifier="defaults-2", SkipFinalSnapshot=True)
    rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["env"])
    assert rds.list_tags_for_resource(ResourceName=arn)["TagList"] == []


def test_times_outside_the_window_and_muddled_sources_are_refused(live: Live, rds: Any) -> None:
    far = datetime(1999, 1, 1, tzinfo=UTC)
    ask: dict[str, Any] = {"TargetDBInstanceIdentifier": "never", "SourceDBInstanceIdentifier": live.identifier}
    for moment in (far, datetime.now(UTC) + timedelta(hours=1)):
        with refused("InvalidParameterValue"):
            rds.restore_db_instance_to_point_in_time(**ask, RestoreTime=moment)
    with refused("InvalidParameterCombination"):
        rds.restore_db_instance_to_point_in_time(**ask)
    with refused("InvalidParameterCombination"):
        rds.restore_db_instance_to_point_in_time(**ask, SourceDbiResourceId="db-x", UseLatestRestorableTime=True)
    with refused("DBInstanceAutomatedBackupNotFound"):
        rds.restore_db_instance_to_point_in_time(
            TargetDBInstanceIdentifier="never", SourceDbiResourceId="db-x", UseLatestRestorableTime=True
        )
    for bad in ("9lives", "two--hyphens", "ends-", "x" * 64):
        with refused("InvalidParameterValue"):
            rds.restore_db_instance_to_point_in_time(
                **{**ask, "TargetDBInstanceIdentifier": bad}, UseLatestRestorableTime=True
            )


def test_backups_outlive_their_instance_when_retained(rds: Any, lab: Lab, gone: list[str]) -> None:
    password = lab.create_instance("mortal", BackupRetentionPeriod=1)
    first = Live(lab, "mortal", password)
    with first.connect() as master:
        master.execute("create table t as select 42 as answer")
    pass_a_second()
    row = rds.describe_db_instances(DBInstanceIdentifier="mortal")["DBInstances"][0]
    rds.delete_db_instance(DBInstanceIdentifier="mortal", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="mortal", WaiterConfig=QUICK)
    backups = rds.describe_db_instance_automated_backups(DbiResourceId=row["DbiResourceId"])[
        "DBInstanceAutomatedBackups"
    ]
    assert [(b["Status"], b["DbiResourceId"]) for b in backups] == [("retained", row["DbiResourceId"])]
    for n, source in enumerate(
        (
            {"SourceDbiResourceId": row["DbiResourceId"]},
            {"SourceDBInstanceAutomatedBackupsArn": backups[0]["DBInstanceAutomatedBackupsArn"]},
        )
    ):
        gone.append(f"reborn-{n}")
        rds.restore_db_instance_to_point_in_time(
            TargetDBInstanceIdentifier=f"reborn-{n}", UseLatestRestorableTime=True, BackupRetentionPeriod=0, **source
        )
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=f"reborn-{n}", WaiterConfig=QUICK)
        reborn = rds.describe_db_instances(DBInstanceIdentifier=f"reborn-{n}")["DBInstances"][0]
        assert reborn["DbiResourceId"] != row["DbiResourceId"]
        assert read(first, reborn, "select answer from t") == [(42,)]


def test_without_retention_there_is_no_restore(rds: Any, gone: list[str]) -> None:
    gone.append("no-backups")
    create(rds, "no-backups", BackupRetentionPeriod=0)
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="no-backups", WaiterConfig=QUICK)
    with refused("PointInTimeRestoreNotEnabled"):
        rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier="no-backups", TargetDBInstanceIdentifier="x", UseLatestRestorableTime=True
        )


def test_snapshots(live: Live, rds: Any, gone: list[str]) -> None:
    with live.connect() as master:
        master.execute("create table snapped as select 7 as n")
        rds.create_db_snapshot(DBInstanceIdentifier=live.identifier, DBSnapshotIdentifier="snap-1")
        rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="snap-1", WaiterConfig=QUICK)
        master.execute("drop table snapped")
    with refused("DBSnapshotAlreadyExists"):
        rds.create_db_snapshot(DBInstanceIdentifier=live.identifier, DBSnapshotIdentifier="snap-1")
    gone.append("from-snap")
    rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="from-snap", DBSnapshotIdentifier="snap-1")
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="from-snap", WaiterConfig=QUICK)
    row = rds.describe_db_instances(DBInstanceIdentifier="from-snap")["DBInstances"][0]
    assert read(live, row, "select n from snapped") == [(7,)]
    rds.delete_db_snapshot(DBSnapshotIdentifier="snap-1")
    with refused("DBSnapshotNotFound"):
        rds.describe_db_snapshots(DBSnapshotIdentifier="snap-1")
