"""The permissions rowback needs, as one list: the policy that is printed, and what is simulated, are made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recovery.aws.caller_identity import TIMEOUT_S
from recovery.aws.clients import client, translated
from recovery.config import IamCredentials, Profile, SecretCredentials
from recovery.model.approval import principal_of
from recovery.model.instance import COPY_PREFIX, TAG_MANAGED, InstanceFacts

# RDS knows no narrower resource for most of these (AWS service authorization reference, sources: RDS-iam).
READ = ("rds:DescribeDBInstances", "rds:DescribeDBInstanceAutomatedBackups")
# Without these a recovery works, and says less.
READ_MORE = (
    "rds:DescribeDBSnapshots",
    "rds:DescribeDBClusters",
    "rds:DescribeDBClusterSnapshots",
    "rds:DescribeEvents",
    "rds:DescribeDBLogFiles",
    "rds:DownloadDBLogFilePortion",
    "rds:DescribeAccountAttributes",
    "rds:DescribeOrderableDBInstanceOptions",
    "pricing:GetProducts",
    "iam:SimulatePrincipalPolicy",
    "ec2:DescribeRegions",
)
NEVER = (
    "rds:DeleteDBInstance",
    "rds:ModifyDBInstance",
    "rds:RebootDBInstance",
    "rds:DeleteDBInstanceAutomatedBackup",
    "rds:AddTagsToResource",
)


@dataclass(frozen=True)
class Place:
    """Where the original is: what ARNs are made of.

    `kms_key`: the key it is encrypted with. The others say what a restore of it touches, to simulate with.
    """

    partition: str
    region: str
    account: str
    instance: str
    kms_key: str | None = None
    resource_id: str = "db-X"
    major: int = 17
    subnet_group: str = "default"

    @classmethod
    def of(cls, facts: InstanceFacts, *, kms_key: str | None = None) -> Place:
        """Of an instance, by its ARN `arn:PARTITION:rds:REGION:ACCOUNT:db:NAME`."""
        _, partition, _, region, account, _, name = facts.arn.split(":", 6)
        group = facts.subnet_group or "default"
        return cls(partition, region, account, name, kms_key, facts.resource_id, facts.major, group)

    def rds(self, rest: str) -> str:
        """An ARN of RDS in that account and region."""
        return f"arn:{self.partition}:rds:{self.region}:{self.account}:{rest}"


@dataclass(frozen=True)
class Statement:
    """One statement of the policy.

    `probes`: concrete ARNs that `resources` stands for, to simulate with. `serves`: what suffers without it; empty
    where no recovery works then.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    effect: str = "Allow"
    probes: tuple[str, ...] = ("*",)
    serves: str = ""

    def document(self) -> dict[str, object]:
        """As IAM writes it."""
        policy: dict[str, object] = {
            "Sid": self.sid,
            "Effect": self.effect,
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        return policy | (
            {"Condition": {key: dict(value) for key, value in self.condition.items()}} if self.condition else {}
        )


def statements(place: Place, profile: Profile) -> tuple[Statement, ...]:
    """What the verbs need with this profile, and a refusal of everything destructive on the original."""
    original, copies, copy = (
        place.rds(f"db:{place.instance}"),
        place.rds(f"db:{COPY_PREFIX}*"),
        place.rds(f"db:{COPY_PREFIX}x"),
    )
    kinds = ("auto-backup", "og", "pg", "subgrp")
    groups = (f"og:default:postgres-{place.major}", f"pg:default.postgres{place.major}", f"subgrp:{place.subnet_group}")
    return (
        Statement("Read", READ),
        Statement("ReadMore", READ_MORE, serves="find, doctor, coverage, and what a plan says of time and cost"),
        Statement(
            "RestoreIntoATemporaryInstance",
            ("rds:RestoreDBInstanceToPointInTime",),
            (original, copies, *(place.rds(f"{kind}:*") for kind in kinds)),
            {"StringEquals": {f"aws:RequestTag/{TAG_MANAGED}": "true"}, "Bool": {"rds:PubliclyAccessible": "false"}},
            probes=(original, copy, *map(place.rds, groups)),
        ),
        Statement("TagOnlyTemporaryInstances", ("rds:AddTagsToResource",), (copies,), probes=(copy,)),
        Statement(
            "TakeOverAndRemoveTemporaryInstances",
            ("rds:ModifyDBInstance", "rds:DeleteDBInstance"),
            (copies,),
            {"StringEquals": {f"aws:ResourceTag/{TAG_MANAGED}": "true"}},
            probes=(copy,),
        ),
        *_by_profile(place, profile),
        Statement("NeverTheOriginal", NEVER, (original,), effect="Deny"),
    )


def _by_profile(place: Place, profile: Profile) -> Iterator[Statement]:
    group = f"arn:{place.partition}:logs:{place.region}:{place.account}:log-group:/aws/rds/instance/{place.instance}/*"
    yield Statement(
        "ReadExportedLogs",
        ("logs:FilterLogEvents",),
        (group,),
        probes=(group.replace("*", "postgresql"),),
        serves="find --cloudwatch",
    )
    if place.kms_key:
        via = {"StringEquals": {"kms:ViaService": f"rds.{place.region}.amazonaws.com"}}
        yield Statement(
            "LookAtTheKey", ("kms:DescribeKey",), (place.kms_key,), probes=(place.kms_key,), serves="doctor"
        )
        yield Statement("UseTheKeyThroughRds", ("kms:CreateGrant",), (place.kms_key,), via, probes=(place.kms_key,))
    match profile.credentials:
        case SecretCredentials(arn=arn):
            yield Statement("ReadTheLogin", ("secretsmanager:GetSecretValue",), (arn,), probes=(arn,))
        case IamCredentials(user=user):
            login = f"arn:{place.partition}:rds-db:{place.region}:{place.account}:dbuser:*/{user}"
            yield Statement("LogIn", ("rds-db:connect",), (login,), probes=(login.replace("*", place.resource_id),))
        case _:
            pass


def policy(needed: tuple[Statement, ...]) -> dict[str, object]:
    """The IAM policy document."""
    return {"Version": "2012-10-17", "Statement": [statement.document() for statement in needed]}


def as_json(place: Place, profile: Profile) -> str:
    """The policy for `aws iam create-policy --policy-document`."""
    return json.dumps(policy(statements(place, profile)), indent=2)


def as_terraform(place: Place, profile: Profile) -> str:
    """An aws_iam_policy resource."""
    body = as_json(place, profile).replace("\n", "\n  ")
    name = f"rowback-{place.instance}"
    return f'resource "aws_iam_policy" "rowback" {{\n  name   = "{name}"\n  policy = <<-POLICY\n  {body}\n  POLICY\n}}'


def as_cloudformation(place: Place, profile: Profile) -> str:
    """A template with one managed policy."""
    resource = {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "ManagedPolicyName": f"rowback-{place.instance}",
            "Description": f"What rowback needs to recover {place.instance}",
            "PolicyDocument": policy(statements(place, profile)),
        },
    }
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"RowbackPolicy": resource}}, indent=2)


def missing(needed: tuple[Statement, ...], caller: str, region: str) -> dict[str, str]:
    """Actions that IAM's own simulator denies `caller` (an ARN), each with what does not work without it.

    Service control policies and the key's own policy are not simulated. Raises iam-missing where the caller may not
    simulate, aws-refused for the root user, for which AWS does not simulate.
    """
    denied: dict[str, str] = {}
    iam = client("iam", region=region, timeout_s=TIMEOUT_S)
    for statement in needed:
        if statement.effect != "Allow":
            continue
        with translated("iam:SimulatePrincipalPolicy"):
            pages = iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal_of(caller),
                ActionNames=list(statement.actions),
                ResourceArns=list(statement.probes),
                ContextEntries=list(_context(statement)),
            )
            results = [result for page in pages for result in page["EvaluationResults"]]
        refused = {result["EvalActionName"] for result in results if not _allows(result)}
        refused |= set(statement.actions) - {result["EvalActionName"] for result in results}
        denied |= dict.fromkeys((action for action in statement.actions if action in refused), statement.serves)
    return denied


def _allows(result: dict[str, Any]) -> bool:
    """On every resource: AWS tells of several together, and of each of them below."""
    each = [one["EvalResourceDecision"] for one in result.get("ResourceSpecificResults", ())]
    return {result["EvalDecision"], *each} == {"allowed"}


def _context(statement: Statement) -> Iterator[dict[str, object]]:
    for operator, conditions in statement.condition.items():
        for key, value in conditions.items():
            kind = "boolean" if operator == "Bool" else "string"
            yield {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": kind}
