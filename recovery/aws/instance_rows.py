"""What DescribeDBInstances shows of an instance, as facts. Half-made rows and other engines' lack most of it."""

from __future__ import annotations

from typing import Any

from recovery.model.instance import Endpoint, InstanceFacts, Storage


def facts_of(row: dict[str, Any], region: str) -> InstanceFacts:
    """One row. Only its name, resource id, ARN, engine and status are demanded."""
    endpoint = row.get("Endpoint") or {}
    return InstanceFacts(
        identifier=row["DBInstanceIdentifier"],
        resource_id=row["DbiResourceId"],
        arn=row["DBInstanceArn"],
        region=region,
        engine=row["Engine"],
        engine_version=row.get("EngineVersion", "0"),
        status=row["DBInstanceStatus"],
        instance_class=row.get("DBInstanceClass", ""),
        master_username=row.get("MasterUsername", ""),
        endpoint=Endpoint(host=endpoint["Address"], port=endpoint["Port"]) if "Address" in endpoint else None,
        retention_days=row.get("BackupRetentionPeriod", 0),
        security_group_ids=tuple(group["VpcSecurityGroupId"] for group in row.get("VpcSecurityGroups", ())),
        subnet_group=(row.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        iam_authentication=row.get("IAMDatabaseAuthenticationEnabled", False),
        lifecycle_support=row.get("EngineLifecycleSupport"),
        ca_identifier=row.get("CACertificateIdentifier"),
        allocated_gib=row.get("AllocatedStorage", 0),
        publicly_accessible=row.get("PubliclyAccessible", False),
        parameter_group=next((g["DBParameterGroupName"] for g in row.get("DBParameterGroups", ())), None),
        master_secret_arn=(row.get("MasterUserSecret") or {}).get("SecretArn"),
        master_secret_key=(row.get("MasterUserSecret") or {}).get("KmsKeyId"),
        kms_key=row.get("KmsKeyId"),
        created_at=row.get("InstanceCreateTime"),
        tags=tags_of(row.get("TagList", ())),
        storage=Storage(kind=row.get("StorageType", ""), iops=row.get("Iops"), mib_per_s=row.get("StorageThroughput")),
        loaded_percent=row.get("StorageOperationPercentProgress"),
        cluster=row.get("DBClusterIdentifier"),
        replica_of=row.get("ReadReplicaSourceDBInstanceIdentifier"),
        deletion_protection=row.get("DeletionProtection", False),
        changing=_changing(row),
    )


def _changing(row: dict[str, Any]) -> bool:
    """Whether a change is still being applied that its status need not show (CloudFormation waits for the same)."""
    groups = [group.get("Status", "active") for group in row.get("VpcSecurityGroups", ())]
    parameters = [group.get("ParameterApplyStatus", "") for group in row.get("DBParameterGroups", ())]
    return any(status != "active" for status in groups) or "applying" in parameters


def tags_of(tag_list: Any) -> dict[str, str]:
    """AWS's list of Key and Value."""
    return {tag["Key"]: tag.get("Value", "") for tag in tag_list}


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """The same the other way round."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
