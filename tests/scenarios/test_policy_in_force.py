"""The printed policy, in force on the lab: a whole recovery works with it and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from runbooks.lab.background import pass_a_second
from runbooks.lab.iam_policy import IdentityPolicy
from runbooks.lab.lab_server import REGION
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, aws_client, discard, rds_client, wait_until

ROWS = "select count(*), sum(hashtextextended(t::text, 0)) from t"
SSO = "/aws-reserved/sso.amazonaws.com/eu-west-1/"
TRUST = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture
def printed(cli: Cli) -> IdentityPolicy:
    ran = cli("doctor", cli.live.identifier, "--iam-policy")
    assert ran.code == 0, ran.err
    return IdentityPolicy.of(json.loads(ran.out))


@pytest.fixture
def in_force(cli: Cli, printed: IdentityPolicy) -> Iterator[IdentityPolicy]:
    faults = cli.live.lab.engine.faults
    faults.policy = printed
    yield printed
    faults.policy = faults.organization = None


@pytest.fixture
def target(database: Database) -> datetime:
    database.run("create table t (n int primary key)", "insert into t select generate_series(1, 300)")
    moment = pass_a_second()
    database.run("delete from t where n > 100")
    return moment


def test_a_recovery_needs_nothing_else(
    cli: Cli, database: Database, target: datetime, in_force: IdentityPolicy
) -> None:
    """Also while IAM does not see the new instance's tags."""
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 0, ran.err
    assert database.rows("select count(*), sum(n) from t") == [(300, 45150)]
    assert the_case(cli)["outcome"] == "recovered"
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []


@pytest.mark.parametrize(
    "action",
    [
        "rds:DescribeDBInstances",
        "rds:DescribeDBInstanceAutomatedBackups",
        "rds:RestoreDBInstanceToPointInTime",
        "rds:AddTagsToResource",
        "ec2:DescribeVpcAttribute",
    ],
)
def test_without_it_the_recovery_ends_with_its_name(
    cli: Cli, database: Database, target: datetime, in_force: IdentityPolicy, action: str
) -> None:
    before = database.rows(ROWS)
    cli.live.lab.engine.faults.policy = in_force.without(action)
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 34, ran.err
    assert f"is not authorized to perform: {action}" in ran.err
    assert database.rows(ROWS) == before
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []


def denied(call: Any, **arguments: object) -> None:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] == "AccessDenied", refused.value


def test_its_holder_can_do_nothing_else(cli: Cli, in_force: IdentityPolicy) -> None:
    lab, rds = cli.live.lab, aws_client(cli.live.lab, "rds")
    original = lab.engine.instances[cli.live.identifier]
    arn = f"arn:aws:rds:{REGION}:123456789012:db:"
    for name in ("neighbour", "rowback-theirs"):
        lab.create_instance(name)
    try:
        for name in (original.identifier, "neighbour", "rowback-theirs"):  # the last one has no tag of ours
            denied(rds.delete_db_instance, DBInstanceIdentifier=name, SkipFinalSnapshot=True)
            denied(rds.modify_db_instance, DBInstanceIdentifier=name, MasterUserPassword="password1")
        denied(
            rds.add_tags_to_resource, ResourceName=f"{arn}neighbour", Tags=[{"Key": "rowback:managed", "Value": "true"}]
        )
        denied(rds.add_tags_to_resource, ResourceName=f"{arn}rowback-theirs", Tags=[{"Key": "Owner", "Value": "me"}])
        denied(rds.describe_db_log_files, DBInstanceIdentifier="neighbour")
        restore = {
            "SourceDbiResourceId": original.resource_id,
            "TargetDBInstanceIdentifier": "rowback-x",
            "UseLatestRestorableTime": True,
            "PubliclyAccessible": False,
            "Tags": [{"Key": "rowback:managed", "Value": "true"}],
        }
        neighbour = lab.engine.instances["neighbour"].resource_id
        for change in (
            {"SourceDbiResourceId": neighbour},
            {"TargetDBInstanceIdentifier": "other"},
            {"PubliclyAccessible": True},
            {"Tags": [{"Key": "Owner", "Value": "me"}]},
            {"DBSubnetGroupName": "elsewhere"},
        ):
            denied(rds.restore_db_instance_to_point_in_time, **{**restore, **change})
        rds.describe_db_log_files(DBInstanceIdentifier=original.identifier)
    finally:
        lab.engine.faults.policy = None
        discard(lab, lambda name: name in {"neighbour", "rowback-theirs"})


def wrong_of(cli: Cli, **environment: str) -> dict[str, dict[str, str]]:
    ran = cli("doctor", cli.live.identifier, "--database", "postgres", "--json", **environment)
    checks = json.loads(ran.out)["checks"]
    return {
        check["name"]: check for check in checks if check["name"].startswith("permission") and check["state"] != "ok"
    }


def test_doctor_names_exactly_the_one_that_is_missing(cli: Cli, in_force: IdentityPolicy) -> None:
    """Every single one of the policy."""
    actions = [
        action
        for statement in in_force.statements
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
        if action != "iam:SimulatePrincipalPolicy"
    ]
    assert len(actions) > 25
    assert wrong_of(cli) == {}
    for action in actions:
        cli.live.lab.engine.faults.policy = in_force.without(action)
        if action == "rds:DescribeDBInstances":  # without it doctor cannot begin
            ran = cli("doctor", cli.live.identifier, "--database", "postgres", "--json")
            assert ran.code == 34
            assert f"these credentials may not call {action} on" in ran.err
            continue
        assert list(wrong_of(cli)) == [f"permission {action}"]


def test_a_service_control_policy_is_told_apart(cli: Cli, in_force: IdentityPolicy) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    never = {"Effect": "Deny", "Action": "rds:RestoreDBInstance*", "Resource": "*"}
    cli.live.lab.engine.faults.organization = IdentityPolicy((everything, never))
    (check,) = wrong_of(cli).values()
    assert check["reason"] == (
        "these credentials may not call rds:RestoreDBInstanceToPointInTime: a service control policy of the"
        " organization denies it"
    )
    assert check["fix"] == ("ask who manages the organization's policies: no policy of this account can allow it")


def test_a_role_with_a_path_is_looked_up(cli: Cli, in_force: IdentityPolicy) -> None:
    """As IAM Identity Center makes them: the caller's ARN shows the role's name only."""
    iam = aws_client(cli.live.lab, "iam")
    iam.create_role(RoleName="AWSReservedSSO_Admin_ab12", Path=SSO, AssumeRolePolicyDocument=TRUST)
    session = aws_client(cli.live.lab, "sts").assume_role(
        RoleArn=f"arn:aws:iam::123456789012:role{SSO}AWSReservedSSO_Admin_ab12", RoleSessionName="jo"
    )["Credentials"]
    environment = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    try:
        assert wrong_of(cli, **environment) == {}
        cli.live.lab.engine.faults.policy = in_force.without("rds:DeleteDBInstance")
        assert list(wrong_of(cli, **environment)) == ["permission rds:DeleteDBInstance"]
    finally:
        iam.delete_role(RoleName="AWSReservedSSO_Admin_ab12")


def test_an_instance_whose_tags_iam_does_not_see_yet_is_waited_for(
    cli: Cli, database: Database, target: datetime, in_force: IdentityPolicy
) -> None:
    opened = cli("open", *restoring(cli, database, target)[1:-2])
    assert opened.code == 0, opened.err
    case = opened.out.strip()
    instance = cli.live.lab.engine.instances[f"rowback-{case}"]
    wait_until(lambda: instance.status == "available", "it is there")
    instance.untagged_looks = 5
    assert cli("close", case).code == 0
    assert rds_client(cli.live.lab).describe_db_instances()["DBInstances"]
    assert f"rowback-{case}" not in cli.live.lab.engine.instances
