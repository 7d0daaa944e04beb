"""Passwords, logs, parameters, classes, pages, errors."""

from __future__ import annotations

import contextlib
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config

from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import CallFault
from tests.contract.lab.rds_calls import QUICK, create, refused
from tests.fix_lab import Live, wait_until


def _accepts(live: Live) -> bool:
    with contextlib.suppress(psycopg.OperationalError), live.connect():
        return True
    return False


def test_the_master_password_changes_without_an_outage(rds: Any, lab: Lab, gone: list[str]) -> None:
    gone.append("secretive")
    old = lab.create_instance("secretive", BackupRetentionPeriod=0)
    with Live(lab, "secretive", old).connect() as session:
        answer = rds.modify_db_instance(
            DBInstanceIdentifier="secretive", MasterUserPassword="brand-new-one", ApplyImmediately=True
        )["DBInstance"]
        assert answer["DBInstanceStatus"] in ("resetting-master-credentials", "available")
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="secretive", WaiterConfig=QUICK)
        wait_until(lambda: _accepts(Live(lab, "secretive", "brand-new-one")), "the new password is in force")
        assert session.execute("select 1").fetchone() == (1,)
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
    parameters = {p["ParameterName"]: p.get("ParameterValue") for page in found for p in page["Parameters"]}
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
