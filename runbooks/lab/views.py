"""How instances, snapshots and backups look through the RDS API, and the rules every operation shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runbooks.lab.engine import Engine
from runbooks.lab.lab_state import DOMAIN, UNREACHABLE, Instance, Snapshot, SubnetGroup
from runbooks.lab.query_protocol import Refusal, Request, Result

IDENTIFIER = re.compile(r"[a-zA-Z](?:-?[a-zA-Z0-9])*")
# What CreateDBInstance and the restores take and DescribeDBInstances shows back under the same name.
SHOWN_BACK = (
    "DBInstanceClass",
    "AllocatedStorage",
    "StorageType",
    "Iops",
    "MultiAZ",
    "PubliclyAccessible",
    "AutoMinorVersionUpgrade",
    "CopyTagsToSnapshot",
    "DeletionProtection",
    "EngineLifecycleSupport",
    "CACertificateIdentifier",
    "DBSubnetGroupName",
    "MaxAllocatedStorage",
    "StorageEncrypted",
    "KmsKeyId",
)
DEFAULTS: dict[str, Any] = {
    "DBInstanceClass": "db.t3.micro",
    "AllocatedStorage": 20,
    "StorageType": "gp2",
    "MultiAZ": False,
    "AutoMinorVersionUpgrade": True,
    "CopyTagsToSnapshot": False,
    "DeletionProtection": False,
    "StorageEncrypted": False,
    "EngineLifecycleSupport": "open-source-rds-extended-support",
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "DBSubnetGroupName": "default",
}


# Shown where a test says that it is one.
MEMBERSHIPS = ("DBClusterIdentifier", "ReadReplicaSourceDBInstanceIdentifier", "AwsBackupRecoveryPointArn")


@dataclass(frozen=True)
class LabAccount:
    """Whose lab this is: the engine with the region and account number that go into ARNs, and its quotas.

    `odd_rows`: what DescribeDBInstances lists beside: other engines' instances, and half-made ones. `private`:
    prefixes of instances that are reached by a name which this machine does not resolve, as in another VPC.
    """

    engine: Engine
    region: str
    number: str
    instance_quota: int = 40
    odd_rows: list[dict[str, Any]] = field(default_factory=list)
    private: set[str] = field(default_factory=set)

    def endpoint(self, instance: Instance) -> dict[str, object]:
        """Where it listens."""
        named = any(instance.identifier.startswith(each) for each in self.private)
        host = f"{instance.identifier}.{DOMAIN}" if named else "127.0.0.1"
        return {"Address": host, "Port": instance.cluster.port, "HostedZoneId": "ZLAB"}

    def arn(self, kind: str, name: str) -> str:
        """`arn:aws:rds:<region>:<account>:<kind>:<name>`."""
        return f"arn:aws:rds:{self.region}:{self.number}:{kind}:{name}"

    def backup_arn(self, instance: Instance) -> str:
        """ARN of the automated backups of one resource id."""
        return self.arn("auto-backup", "ab-" + instance.resource_id[3:].lower())

    def find(self, identifier: str) -> Instance:
        """The instance of that name. Raises DBInstanceNotFound as RDS words it."""
        instance = self.engine.instances.get(identifier.lower())
        if instance is None:
            raise Refusal("DBInstanceNotFound", f"DBInstance {identifier} not found.", 404)
        return instance

    def claim(self, identifier: str) -> str:
        """A name for a new instance in lower case. Raises Refusal by RDS's rules for names and its quota."""
        if not IDENTIFIER.fullmatch(identifier) or len(identifier) > 63:
            raise Refusal(
                "InvalidParameterValue",
                "The parameter DBInstanceIdentifier is not a valid identifier. Identifiers must begin with a "
                "letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or "
                "contain two consecutive hyphens.",
            )
        if identifier.lower() in self.engine.instances:
            raise Refusal("DBInstanceAlreadyExists", "DB instance already exists")
        if len(self.engine.instances) >= self.instance_quota:
            raise Refusal("InstanceQuotaExceeded", "The maximum number of DB instances for this account was reached.")
        return identifier.lower()

    def subnet_group(self, name: str) -> SubnetGroup:
        """The subnet group of that name. Raises DBSubnetGroupNotFoundFault."""
        if group := self.engine.subnet_groups.get(name.lower()):
            return group
        raise Refusal("DBSubnetGroupNotFoundFault", f"DBSubnetGroup {name} not found.", 404)


def attributes_of(account: LabAccount, request: Request, inherited: dict[str, object]) -> dict[str, object]:
    """What the API will show back: defaults, then `inherited`, then what the caller said (False and 0 included).

    Networking is never inherited: unspoken, RDS takes the default security group and subnet group, and a public
    address when the group is the default one (sources: RDS-defaults).
    """
    requested = {name: request[name] for name in SHOWN_BACK if name in request}
    attributes = {**DEFAULTS, **inherited, "DBSubnetGroupName": "default", **requested}
    account.subnet_group(str(attributes["DBSubnetGroupName"]))
    public_by_default = attributes["DBSubnetGroupName"] == "default"
    attributes.setdefault("PubliclyAccessible", public_by_default)
    if "PubliclyAccessible" not in requested:
        attributes["PubliclyAccessible"] = public_by_default
    attributes["SecurityGroups"] = tuple(request.get("VpcSecurityGroupIds") or ("sg-default",))
    attributes["IAMDatabaseAuthenticationEnabled"] = request.get("EnableIAMDatabaseAuthentication", False)
    return attributes


def tags_of(request: Request) -> dict[str, str]:
    """The Tags of a request as a dict."""
    return {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags") or ()}


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """A dict as AWS's list of Key and Value."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def page(key: str, rows: Sequence[Any], request: Request) -> Result:
    """One page of `rows` with the Marker of the next."""
    size, start = request.get("MaxRecords", 100), int(request.get("Marker") or 0)
    more = start + size < len(rows)
    return {key: list(rows[start : start + size]), "Marker": str(start + size) if more else None}


def show_instance(account: LabAccount, instance: Instance) -> Result:
    """DescribeDBInstances' view: no endpoint and no create time while `creating`."""
    attributes = instance.attributes
    group = account.engine.subnet_groups[str(attributes["DBSubnetGroupName"])]
    return {
        **{name: attributes[name] for name in SHOWN_BACK if name in attributes and name != "DBSubnetGroupName"},
        "DBInstanceIdentifier": instance.identifier,
        "DBInstanceStatus": instance.shown_status,
        "DbiResourceId": instance.resource_id,
        "DBInstanceArn": account.arn("db", instance.identifier),
        "Engine": "postgres",
        "EngineVersion": account.engine.tools.version,
        "MasterUsername": instance.master,
        "DBName": instance.database,
        "Endpoint": account.endpoint(instance) if instance.reachable else None,
        "InstanceCreateTime": instance.ready_at if instance.status not in UNREACHABLE else None,
        "LatestRestorableTime": instance.latest_restorable,
        "BackupRetentionPeriod": instance.retention_days,
        "PendingModifiedValues": dict(instance.pending),
        "VpcSecurityGroups": [
            {"VpcSecurityGroupId": name, "Status": "active"}
            for name in attributes["SecurityGroups"]  # type: ignore[attr-defined]
        ],
        "DBSubnetGroup": show_subnet_group(account, group),
        "DBParameterGroups": [
            {
                "DBParameterGroupName": instance.parameters.name,
                "ParameterApplyStatus": "pending-reboot" if instance.pending_reboot else "in-sync",
            }
        ],
        "IAMDatabaseAuthenticationEnabled": attributes["IAMDatabaseAuthenticationEnabled"],
        "CertificateDetails": {
            "CAIdentifier": attributes["CACertificateIdentifier"],
            "ValidTill": instance.certificate_until,
        },
        "AvailabilityZone": f"{account.region}a",
        "LicenseModel": "postgresql-license",
        **{name: attributes[name] for name in MEMBERSHIPS if name in attributes},
        "TagList": [] if instance.untagged_looks else tag_list(instance.tags),
        **_loading(instance),
    }


def _loading(instance: Instance) -> Result:
    """Both members are absent when nothing goes on."""
    if instance.status != "available" or instance.settling or not instance.loading_percent:
        return {}
    return {
        "StorageOperationStatus": "Initializing",
        "StorageOperationPercentProgress": instance.loading_percent[0],
    }


def show_subnet_group(account: LabAccount, group: SubnetGroup) -> Result:
    """A subnet group with its status."""
    return {
        "DBSubnetGroupName": group.name,
        "DBSubnetGroupDescription": group.description,
        "VpcId": group.vpc_id,
        "SubnetGroupStatus": group.status,
        "DBSubnetGroupArn": account.arn("subgrp", group.name),
        "Subnets": [{"SubnetIdentifier": name, "SubnetStatus": "Active"} for name in group.subnet_ids],
    }


def show_snapshot(account: LabAccount, snapshot: Snapshot) -> Result:
    """DescribeDBSnapshots' view."""
    complete = snapshot.status == "available"
    return {
        "DBSnapshotIdentifier": snapshot.identifier,
        "DBInstanceIdentifier": snapshot.source_identifier,
        "DbiResourceId": snapshot.source_resource_id,
        "DBSnapshotArn": account.arn("snapshot", snapshot.identifier),
        "Status": snapshot.status,
        "SnapshotType": snapshot.kind,
        "SnapshotCreateTime": snapshot.created_at if complete else None,
        "PercentProgress": 100 if complete else 0,
        "Engine": "postgres",
        "EngineVersion": account.engine.tools.version,
        "MasterUsername": snapshot.master,
        "AllocatedStorage": snapshot.attributes["AllocatedStorage"],
        "TagList": tag_list(snapshot.tags),
    }


def show_backup(account: LabAccount, instance: Instance, status: str) -> Result:
    """DescribeDBInstanceAutomatedBackups' view, with the restore window."""
    return {
        "DBInstanceIdentifier": instance.identifier,
        "DbiResourceId": instance.resource_id,
        "DBInstanceArn": account.arn("db", instance.identifier),
        "DBInstanceAutomatedBackupsArn": account.backup_arn(instance),
        "Status": status,
        "Engine": "postgres",
        "EngineVersion": account.engine.tools.version,
        "Region": account.region,
        "BackupRetentionPeriod": instance.retention_days,
        "RestoreWindow": {
            "EarliestTime": instance.earliest_restorable,
            "LatestTime": instance.latest_restorable,
        },
    }
