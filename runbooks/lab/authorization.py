"""Which resources and which conditions AWS checks a call of RDS against (Service Authorization Reference, rds)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks.lab.iam_policy import Authorization, IdentityPolicy
from runbooks.lab.lab_state import Instance
from runbooks.lab.query_protocol import Refusal
from runbooks.lab.views import LabAccount

# Checked with the caller's rights when an instance is created in a VPC.
NETWORK = (
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcs",
)
BY_INSTANCE = frozenset(
    {
        "ModifyDBInstance",
        "DeleteDBInstance",
        "RebootDBInstance",
        "DescribeDBLogFiles",
        "DownloadDBLogFilePortion",
    }
)


@dataclass(frozen=True)
class Checked:
    """One action on one resource, under the conditions of the call."""

    action: str
    resource: str = "*"
    context: dict[str, list[str]] = field(default_factory=dict)


def authorize(
    account: LabAccount, policy: IdentityPolicy, service: str, action: str, request: Mapping[str, Any]
) -> None:
    """Raises Refusal as AWS words it where the policy does not allow the call."""
    for each in checks(account, service, action, request):
        if policy.decide(each.action, each.resource, each.context) is not Authorization.ALLOWED:
            where = f" on resource: {each.resource}" if each.resource != "*" else ""
            words = f"User: arn:aws:iam::{account.number}:user/lab is not authorized to perform: {each.action}{where}"
            raise Refusal("AccessDenied", words, 403)


def checks(account: LabAccount, service: str, action: str, request: Mapping[str, Any]) -> Iterator[Checked]:
    """Everything that has to be allowed for one call."""
    name = f"{service}:{action}"
    if service == "rds" and action in BY_INSTANCE:
        yield _on_instance(account, name, str(request["DBInstanceIdentifier"]))
    elif name == "rds:RestoreDBInstanceToPointInTime":
        yield from _of_restore(account, request)
    elif name in {"rds:ListTagsForResource", "rds:AddTagsToResource", "rds:RemoveTagsFromResource"}:
        yield Checked(name, str(request["ResourceName"]), _requested_tags(request))
    elif name == "rds:DeleteDBInstanceAutomatedBackup":
        owners = [each for each in account.engine.instances.values() if each.resource_id == request["DbiResourceId"]]
        yield from (Checked(name, account.backup_arn(each)) for each in owners)
    elif name == "rds:DeleteDBSnapshot":
        yield Checked(name, account.arn("snapshot", str(request["DBSnapshotIdentifier"])))
    elif name == "iam:SimulatePrincipalPolicy":
        yield Checked(name, str(request["PolicySourceArn"]).replace(":sts:", ":iam:"))  # moto calls its user so
    else:
        yield Checked(name)


def _of_restore(account: LabAccount, request: Mapping[str, Any]) -> Iterator[Checked]:
    """The source, its backups, the target and what it is put into; then what depends on it."""
    name, engine = "rds:RestoreDBInstanceToPointInTime", account.engine
    resource_id, identifier = request.get("SourceDbiResourceId"), request.get("SourceDBInstanceIdentifier")
    every: list[Instance] = [*engine.instances.values(), *engine.retained.values()]
    source = next(each for each in every if each.resource_id == resource_id or each.identifier == identifier)
    target = account.arn("db", str(request["TargetDBInstanceIdentifier"]))
    context = {
        **_requested_tags(request),
        "rds:PubliclyAccessible": [str(request.get("PubliclyAccessible", True)).lower()],
    }
    major = engine.tools.major
    for resource in (
        account.arn("db", source.identifier),
        account.backup_arn(source),
        target,
        account.arn("og", f"default:postgres-{major}"),
        account.arn("pg", str(request.get("DBParameterGroupName") or f"default.postgres{major}")),
        account.arn("subgrp", str(request.get("DBSubnetGroupName") or "default")),
    ):
        yield Checked(name, resource, context)
    if request.get("Tags"):
        yield Checked("rds:AddTagsToResource", target, _requested_tags(request))
    yield from map(Checked, NETWORK)
    if key := source.attributes.get("KmsKeyId"):
        via = {"kms:ViaService": [f"rds.{account.region}.amazonaws.com"], "kms:GrantIsForAWSResource": ["true"]}
        yield Checked("kms:CreateGrant", str(key), via)
        yield Checked("kms:DescribeKey", str(key), via)


def _on_instance(account: LabAccount, name: str, identifier: str) -> Checked:
    """With the tags that IAM sees: it sees those of a new instance late."""
    instance = account.engine.instances.get(identifier.lower())
    tags = instance.tags if instance and not instance.untagged_looks else {}
    return Checked(
        name, account.arn("db", identifier.lower()), {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
    )


def _requested_tags(request: Mapping[str, Any]) -> dict[str, list[str]]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags") or ()}
    by_key = {f"aws:RequestTag/{key}": [value] for key, value in tags.items()}
    return {**by_key, "aws:TagKeys": list(tags)} if tags else {}
