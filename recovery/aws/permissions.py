"""The permissions rowback needs, as one list: the policy that is printed, and what is simulated, are made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from recovery.config import IamCredentials, Profile, SecretCredentials
from recovery.model.instance import COPY_PREFIX, TAG_MANAGED, InstanceFacts

# What lists everything needs `*` (AWS service authorization reference, sources: RDS-iam).
READ = ("rds:DescribeDBInstances", "rds:DescribeDBInstanceAutomatedBackups")
# Without these a recovery works, and says less.
READ_MORE = (
    "rds:DescribeDBSnapshots",
    "rds:DescribeDBClusters",
    "rds:DescribeDBClusterSnapshots",
    "rds:DescribeEvents",
    "rds:DescribeAccountAttributes",
    "rds:DescribeOrderableDBInstanceOptions",
    "rds:DescribeDBParameters",
    "pricing:GetProducts",
    "ec2:DescribeRegions",
)
READ_LOGS = ("rds:DescribeDBLogFiles", "rds:DownloadDBLogFilePortion")
# RDS looks at the network with the caller's rights when it makes an instance (CloudFormation's own RDS provider).
READ_THE_NETWORK = (
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcs",
)
LATE_TAGS = "a new copy is proven to be ours only once RDS shows its tags, minutes later"
NEVER = (
    "rds:DeleteDBInstance",
    "rds:ModifyDBInstance",
    "rds:RebootDBInstance",
    "rds:AddTagsToResource",
)


@dataclass(frozen=True)
class Place:
    """Where the original is: what ARNs are made of.

    `kms_key`: the key it is encrypted with, unless it is AWS's own, which needs no right. `resource_id`, `backup`: of
    the instance and of its automated backups, where they could be seen. `secret_key`: the key that its master user's
    secret is encrypted with, unless it is AWS's own. `token_user`: the master user of an instance with IAM
    authentication, which a copy may want a token of.
    """

    partition: str
    region: str
    account: str
    instance: str
    kms_key: str | None = None
    resource_id: str | None = None
    major: int | None = None
    subnet_group: str | None = None
    backup: str | None = None
    secret_key: str | None = None
    token_user: str | None = None

    @classmethod
    def of(cls, facts: InstanceFacts, **seen: str | None) -> Place:
        """Of an instance, by its ARN `arn:PARTITION:rds:REGION:ACCOUNT:db:NAME`; `seen`: what else is to be named."""
        _, partition, _, region, account, _, name = facts.arn.split(":", 6)
        return cls(
            partition,
            region,
            account,
            name,
            resource_id=facts.resource_id,
            major=facts.major,
            subnet_group=facts.subnet_group,
            token_user=facts.master_username if facts.iam_authentication else None,
            **seen,
        )

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
    condition: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict)
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
    original, copies = place.rds(f"db:{place.instance}"), place.rds(f"db:{COPY_PREFIX}*")
    copy = place.rds(f"db:{COPY_PREFIX}x")
    backup = place.backup or place.rds("auto-backup:*")
    return (
        Statement("Read", READ),
        Statement("ReadMore", READ_MORE, serves="doctor, coverage, and what a plan says of time and cost"),
        Statement("ReadTheNetwork", READ_THE_NETWORK),
        Statement("ReadTheLogs", READ_LOGS, (original, copies), probes=(original, copy), serves="find"),
        Statement("ReadLateTags", ("rds:ListTagsForResource",), (copies,), probes=(copy,), serves=LATE_TAGS),
        _restore(place, profile),
        Statement(
            "TagOnlyTemporaryInstances",
            ("rds:AddTagsToResource",),
            (copies,),
            {"ForAllValues:StringLike": {"aws:TagKeys": ("rowback:*", *profile.copy_tags)}},
            probes=(copy,),
        ),
        Statement(
            "TakeOverAndRemoveTemporaryInstances",
            ("rds:ModifyDBInstance", "rds:DeleteDBInstance"),
            (copies,),
            {"StringEquals": {f"aws:ResourceTag/{TAG_MANAGED}": "true"}},
            probes=(copy,),
        ),
        *_of_the_keys(place),
        *_of_iam(place),
        *_by_profile(place, profile),
        *_of_the_copy_s_login(place),
        Statement("NeverTheOriginal", NEVER, (original,), effect="Deny"),
        Statement("NeverItsBackups", ("rds:DeleteDBInstanceAutomatedBackup",), (backup,), effect="Deny"),
        Statement("NeverItsSnapshots", ("rds:DeleteDBSnapshot",), _snapshots(place), effect="Deny"),
    )


def _snapshots(place: Place) -> tuple[str, str]:
    """As RDS and most people name them after their instance: IAM knows no other way to tell whose they are."""
    return place.rds(f"snapshot:rds:{place.instance}-*"), place.rds(f"snapshot:{place.instance}*")


def _restore(place: Place, profile: Profile) -> Statement:
    """From this instance's backups only, into a private instance of our prefix with our tag."""
    original, copies = place.rds(f"db:{place.instance}"), place.rds(f"db:{COPY_PREFIX}*")
    major = place.major or "*"
    backup = place.rds("auto-backup:*")
    resources = (
        original,
        copies,
        place.backup or backup,
        place.rds(f"og:default:postgres-{major}"),
        place.rds(f"pg:{profile.copy_parameter_group or f'default.postgres{major}'}"),
        place.rds(f"subgrp:{place.subnet_group or '*'}"),
    )
    return Statement(
        "RestoreIntoATemporaryInstance",
        ("rds:RestoreDBInstanceToPointInTime",),
        resources,
        {"StringEquals": {f"aws:RequestTag/{TAG_MANAGED}": "true"}, "Bool": {"rds:PubliclyAccessible": "false"}},
        # backups that could not be seen have an ARN that nobody can ask about
        probes=tuple(resource.replace("*", "x") for resource in resources if resource != backup),
    )


def _of_the_keys(place: Place) -> Iterator[Statement]:
    """Keys of the account's own. RDS uses them with the caller's rights."""
    if place.kms_key:
        service = {"kms:ViaService": f"rds.{place.region}.amazonaws.com"}
        yield Statement("LookAtTheKey", ("kms:DescribeKey",), (place.kms_key,), probes=(place.kms_key,))
        yield Statement(
            "UseTheKeyThroughRds",
            ("kms:CreateGrant",),
            (place.kms_key,),
            {"StringEquals": service, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            probes=(place.kms_key,),
        )
    if place.secret_key:
        yield Statement("DecryptTheLogin", ("kms:Decrypt",), (place.secret_key,), probes=(place.secret_key,))


def _of_iam(place: Place) -> Iterator[Statement]:
    """Doctor's look at the permissions themselves."""
    roles, users = (f"arn:{place.partition}:iam::{place.account}:{kind}/*" for kind in ("role", "user"))
    one = roles.replace("*", "x")
    yield Statement("LookAtTheRole", ("iam:GetRole",), (roles,), probes=(one,), serves="doctor")
    yield Statement("Simulate", ("iam:SimulatePrincipalPolicy",), (roles, users), probes=(one,), serves="doctor")


def _of_the_copy_s_login(place: Place) -> Iterator[Statement]:
    """A copy has a resource id of its own, which is not known before."""
    if place.token_user:
        user = f"arn:{place.partition}:rds-db:{place.region}:{place.account}:dbuser:*/{place.token_user}"
        serves = f"the copy, where {place.token_user} is a member of rds_iam"
        yield Statement(
            "LogInToTheCopy", ("rds-db:connect",), (user,), probes=(user.replace("*", "db-X"),), serves=serves
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
    match profile.credentials:
        case SecretCredentials(arn=arn):
            yield Statement("ReadTheLogin", ("secretsmanager:GetSecretValue",), (arn,), probes=(arn,))
        case IamCredentials(user=user):
            users = f"arn:{place.partition}:rds-db:{place.region}:{place.account}:dbuser"
            login = f"{users}:{place.resource_id or '*'}/{user}"
            yield Statement("LogIn", ("rds-db:connect",), (login,), probes=(login.replace("*", "db-X"),))
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
