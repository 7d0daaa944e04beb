"""The IAM policy that rowback prints, over random calls: what is needed is allowed, and everything else is denied.

An evaluator of its own, written after AWS's rules (an explicit deny wins; every condition must hold; a call is allowed
on all its resources or not at all), asks the printed document. What is needed stands here again, call by call.
"""

from __future__ import annotations

import fnmatch
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from recovery.aws.permissions import Place, as_json
from recovery.config import IamCredentials, LibpqCredentials, Profile, SecretCredentials

pytestmark = pytest.mark.matrix

CALLS = 100_000
ACCOUNT, REGION = "123456789012", "eu-west-1"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds-login"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"
BACKUP = f"arn:aws:rds:{REGION}:{ACCOUNT}:auto-backup:ab-orders"
PLACE = Place("aws", REGION, ACCOUNT, "orders", KEY, "db-ORDERS", 17, "default", BACKUP)
ROLE, SIMULATED = f"arn:aws:iam::{ACCOUNT}:role/path/to/engineer", f"arn:aws:iam::{ACCOUNT}:user/jo"
PROFILES = {
    "libpq": Profile(credentials=LibpqCredentials()),
    "secret": Profile(credentials=SecretCredentials(source="secretsmanager", arn=SECRET)),
    "iam": Profile(credentials=IamCredentials(source="iam", user="app")),
}


def rds(rest: str) -> str:
    return f"arn:aws:rds:{REGION}:{ACCOUNT}:{rest}"


ORIGINAL, COPY = rds("db:orders"), rds("db:rowback-20261122-142000-7f3a")
OTHERS = [
    rds("db:billing"),
    rds("db:orders2"),
    rds("db:rowback"),
    rds("db:xrowback-1"),
    f"arn:aws:rds:us-east-1:{ACCOUNT}:db:rowback-1",
    "arn:aws:rds:eu-west-1:999999999999:db:rowback-1",
    rds("cluster:rowback-1"),
    rds("snapshot:orders"),
    rds("auto-backup:ab-billing"),
    "*",
]
GROUPS = [rds("og:default:postgres-17"), rds("pg:default.postgres17"), rds("subgrp:default")]
MANAGED = {"aws:RequestTag/rowback:managed": "true"}
OURS = {"aws:ResourceTag/rowback:managed": "true"}


@dataclass(frozen=True)
class Call:
    action: str
    resources: Sequence[str]
    context: Mapping[str, str] = field(default_factory=dict)


READS = [
    "rds:DescribeDBInstances",
    "rds:DescribeDBInstanceAutomatedBackups",
    "rds:DescribeDBSnapshots",
    "rds:DescribeDBClusters",
    "rds:DescribeDBClusterSnapshots",
    "rds:DescribeEvents",
    "rds:DescribeAccountAttributes",
    "rds:DescribeOrderableDBInstanceOptions",
    "rds:DescribeDBParameters",
    "pricing:GetProducts",
    "ec2:DescribeRegions",
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcs",
]
THROUGH_RDS = {"kms:ViaService": f"rds.{REGION}.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
NEEDED = [
    *(Call(action, ["*"]) for action in READS),
    *(Call(action, [ORIGINAL]) for action in READS if action[:3] == "rds"),
    *(Call(f"rds:{action}", [ORIGINAL, COPY]) for action in ("DescribeDBLogFiles", "DownloadDBLogFilePortion")),
    Call(
        "rds:RestoreDBInstanceToPointInTime",
        [ORIGINAL, COPY, BACKUP, *GROUPS],
        {**MANAGED, "rds:PubliclyAccessible": "false"},
    ),
    Call("rds:ListTagsForResource", [COPY]),
    Call("rds:AddTagsToResource", [COPY], {"aws:TagKeys": "rowback:managed"}),
    Call("rds:ModifyDBInstance", [COPY], OURS),
    Call("rds:DeleteDBInstance", [COPY], OURS),
    Call("logs:FilterLogEvents", [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/rds/instance/orders/postgresql"]),
    Call("kms:DescribeKey", [KEY]),
    Call("kms:CreateGrant", [KEY], THROUGH_RDS),
    Call("iam:GetRole", [ROLE]),
    Call("iam:SimulatePrincipalPolicy", [ROLE, SIMULATED]),
]
BY_PROFILE = {
    "libpq": [],
    "secret": [Call("secretsmanager:GetSecretValue", [SECRET])],
    "iam": [Call("rds-db:connect", [f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ORDERS/app"])],
}


def allows(policy: Mapping[str, Any], call: Call) -> bool:
    """Whether IAM would allow the call on each of its resources."""
    return all(_decides(policy, call, resource) for resource in call.resources)


def _decides(policy: Mapping[str, Any], call: Call, resource: str) -> bool:
    applying = [s for s in policy["Statement"] if _applies(s, call, resource)]
    return any(s["Effect"] == "Allow" for s in applying) and all(s["Effect"] == "Allow" for s in applying)


def _applies(statement: Mapping[str, Any], call: Call, resource: str) -> bool:
    return (
        any(_like(call.action.lower(), action.lower()) for action in statement["Action"])
        and any(_like(resource, pattern) for pattern in statement["Resource"])
        and all(
            _holds(operator, wanted, call.context.get(key))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def _holds(operator: str, wanted: str | Sequence[str], value: str | None) -> bool:
    if operator == "ForAllValues:StringLike":  # holds as well where the call has no such key
        return value is None or any(_like(value, pattern) for pattern in wanted)
    assert operator in ("StringEquals", "Bool")
    return value == wanted


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def random_call(chance: random.Random, actions: Sequence[str], resources: Sequence[str]) -> Call:
    context = {
        key: chance.choice(["true", "false"])
        for key in (*MANAGED, *OURS, "rds:PubliclyAccessible")
        if chance.random() < 0.6
    }
    if chance.random() < 0.5:
        context["kms:GrantIsForAWSResource"] = chance.choice(["true", "false"])
        context["kms:ViaService"] = chance.choice([f"rds.{REGION}.amazonaws.com", f"ec2.{REGION}.amazonaws.com"])
    if chance.random() < 0.5:
        context["aws:TagKeys"] = chance.choice(["rowback:managed", "rowback:case", "owner"])
    count = chance.choice([1, 1, 1, 2, 5])
    return Call(chance.choice(actions), chance.choices(resources, k=count), context)


def is_needed(call: Call, profile: str) -> bool:
    """Whether each resource of the call is one of those that some needed call of that action, in that context, names.

    A restore names the original and groups as well as the copy, so each of them alone is allowed.
    """
    known = [
        each
        for each in (*NEEDED, *BY_PROFILE[profile])
        if each.action == call.action and all(_like_needed(call, *wanted) for wanted in each.context.items())
    ]
    places = {resource for each in known for resource in each.resources}
    whole = "*" in places  # a read: RDS knows no narrower resource for most of them
    return bool(known) and all(whole or resource in places for resource in call.resources)


def _like_needed(call: Call, key: str, value: str) -> bool:
    if key == "aws:TagKeys":
        return call.context.get(key, value).startswith("rowback:")
    return call.context.get(key) == value


@pytest.fixture(scope="module")
def every_action() -> list[str]:
    """Every operation that AWS's own models know of the services the policy names."""
    services = {"rds": "rds", "kms": "kms", "logs": "logs", "iam": "iam", "secretsmanager": "secretsmanager"}
    return [
        f"{prefix}:{operation}"
        for name, prefix in services.items()
        for operation in boto3.client(name, region_name=REGION).meta.service_model.operation_names
    ] + ["rds-db:connect", "pricing:GetProducts", "ec2:DescribeRegions", "ec2:TerminateInstances"]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_needed_is_allowed(profile: str) -> None:
    policy = json.loads(as_json(PLACE, PROFILES[profile]))
    for call in (*NEEDED, *BY_PROFILE[profile]):
        assert allows(policy, call), call


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_else_is_denied(profile: str, every_action: list[str]) -> None:
    """Over random calls: any action AWS has, on the original, copies, groups and things of others, in any context."""
    policy = json.loads(as_json(PLACE, PROFILES[profile]))
    chance = random.Random(20261129)  # noqa: S311 (replayable, no secret)
    ours = sorted({call.action for call in (*NEEDED, *BY_PROFILE[profile])})
    of_logins = (resource for calls in BY_PROFILE.values() for call in calls for resource in call.resources)
    resources = [ORIGINAL, COPY, BACKUP, *OTHERS, *GROUPS, KEY, SECRET, ROLE, SIMULATED, *of_logins]
    counts: Counter[tuple[bool, bool]] = Counter()
    for _ in range(CALLS):
        call = random_call(chance, chance.choice([ours, every_action]), resources)
        allowed, needed = allows(policy, call), is_needed(call, profile)
        counts[allowed, needed] += 1
        assert allowed == needed, call
    assert counts[True, True] > CALLS // 20, "calls that are allowed are among them"
    assert counts[False, False] > CALLS // 20


DESTRUCTIVE = (
    "Delete",
    "Modify",
    "Reboot",
    "Stop",
    "Start",
    "Restore",
    "Reset",
    "Promote",
    "Failover",
    "Remove",
    "Add",
)


def test_no_action_changes_the_original(every_action: list[str]) -> None:
    policy = json.loads(as_json(PLACE, PROFILES["iam"]))
    for action in every_action:
        if action.startswith("rds:") and action.removeprefix("rds:").startswith(DESTRUCTIVE):
            for context in ({}, MANAGED, OURS, {**MANAGED, **OURS, "rds:PubliclyAccessible": "false"}):
                restores = action == "rds:RestoreDBInstanceToPointInTime" and "rds:PubliclyAccessible" in context
                assert allows(policy, Call(action, [ORIGINAL], context)) is restores, (action, context)
                if restores:
                    assert not allows(policy, Call(action, [ORIGINAL, OTHERS[0]], context)), "into no other instance"
