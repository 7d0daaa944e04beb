"""How instances and clusters are protected, and what would stop a temporary one from being made. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from recovery.aws.clients import client, translated
from recovery.errors import ErrorId, RowbackError
from recovery.model.instance import TAG_MANAGED, InstanceFacts
from recovery.model.protection import Protection, Quota

Taken = dict[str, set[tuple[str, datetime]]]  # snapshots: kind and time, by what they were taken of


class _Backups(TypedDict):
    """What RDS says of an instance and of a cluster in the same words."""

    engine: str
    engine_version: str
    retention_days: int
    deletion_protection: bool
    encrypted: bool
    kms_key: str | None
    lasting_snapshots: int
    newest_snapshot: datetime | None
    aws_backup: bool
    managed_by_aws_backup: bool


@dataclass(frozen=True)
class Protections:
    """The read-only half of the RDS API that says how well things are backed up. Errors leave as RowbackError."""

    rds: Any
    region: str

    @classmethod
    def connect(cls, region: str | None) -> Protections:
        """Open a client for `region` (None: boto3's own default)."""
        rds = client("rds", region=region)
        return cls(rds, rds.meta.region_name)

    def of(self, instance: InstanceFacts) -> Protection:
        """One instance."""
        with translated(f"rds:DescribeDBInstances on '{instance.identifier}'"):
            row = self.rds.describe_db_instances(DBInstanceIdentifier=instance.identifier)["DBInstances"][0]
        return self._instance(row, self._windows(), self._snapshots("db_snapshots"))

    def every(self) -> list[Protection]:
        """All instances and clusters of the region.

        Aurora's members count through their cluster, and copies of rowback's do not count.
        """
        windows, snapshots = self._windows(), self._snapshots("db_snapshots")
        instances = [
            self._instance(row, windows, snapshots) for row in self._pages("describe_db_instances", "DBInstances")
        ]
        clusters = self._pages("describe_db_clusters", "DBClusters")
        cluster_snapshots = self._snapshots("db_cluster_snapshots") if clusters else {}
        return [
            *(p for p in instances if p.member_of is None and not p.ours),
            *(self._cluster(row, cluster_snapshots) for row in clusters),
        ]

    def automated_before(self, instance: InstanceFacts, moment: datetime) -> datetime | None:
        """When the last automated backup at or before `moment` was taken: from there RDS replays WAL."""
        rows = self._pages(
            "describe_db_snapshots", "DBSnapshots", DBInstanceIdentifier=instance.identifier, SnapshotType="automated"
        )
        created = [row["SnapshotCreateTime"] for row in rows if row.get("SnapshotCreateTime")]
        return max((at for at in created if at <= moment), default=None)

    def quotas(self) -> list[Quota]:
        """The account's quotas of the region."""
        with translated("rds:DescribeAccountAttributes"):
            rows = self.rds.describe_account_attributes()["AccountQuotas"]
        return [Quota(name=row["AccountQuotaName"], used=row["Used"], most=row["Max"]) for row in rows]

    def orderable(self, instance_class: str, engine_version: str) -> bool:
        """Whether RDS offers that class for PostgreSQL of that version here."""
        with translated("rds:DescribeOrderableDBInstanceOptions"):
            answer = self.rds.describe_orderable_db_instance_options(
                Engine="postgres", EngineVersion=engine_version, DBInstanceClass=instance_class, MaxRecords=20
            )
        return bool(answer["OrderableDBInstanceOptions"])

    def key_state(self, key: str) -> str:
        """The state of a KMS key, such as Enabled, Disabled or PendingDeletion."""
        with translated(f"kms:DescribeKey on '{key}'"):
            state: str = client("kms", region=self.region).describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        return state

    def customer_key(self, key: str | None) -> str | None:
        """The key, unless it is AWS's own, for which no right is needed. One that may not be looked at counts."""
        if key is None:
            return None
        try:
            with translated(f"kms:DescribeKey on '{key}'"):
                metadata = client("kms", region=self.region).describe_key(KeyId=key)["KeyMetadata"]
        except RowbackError:
            return key
        return None if metadata.get("KeyManager") == "AWS" else key

    def backup_arn(self, instance: InstanceFacts) -> str | None:
        """The ARN of the automated backups of an instance; None where there are none, or they may not be looked at."""
        try:
            rows = self._pages("describe_db_instance_automated_backups", "DBInstanceAutomatedBackups")
        except RowbackError as error:
            if error.id is not ErrorId.IAM_MISSING:
                raise
            return None
        for row in rows:
            if row.get("DbiResourceId") == instance.resource_id and "DBInstanceAutomatedBackupsArn" in row:
                arn: str = row["DBInstanceAutomatedBackupsArn"]
                return arn
        return None

    def _instance(self, row: dict[str, Any], windows: dict[str, Any], snapshots: Taken) -> Protection:
        window = windows.get(row["DbiResourceId"], {})
        group = row.get("DBSubnetGroup") or {}
        return Protection(
            identifier=row["DBInstanceIdentifier"],
            kind="instance",
            region=self.region,
            status=row["DBInstanceStatus"],
            earliest=window.get("EarliestTime"),
            latest=window.get("LatestTime") or row.get("LatestRestorableTime"),
            copied_to=tuple(
                sorted(
                    each["DBInstanceAutomatedBackupsArn"].split(":")[3]
                    for each in row.get("DBInstanceAutomatedBackupsReplications", ())
                )
            ),
            multi_az=row.get("MultiAZ", False),
            subnet_group_complete=group.get("SubnetGroupStatus", "Complete") == "Complete",
            ca_valid_until=(row.get("CertificateDetails") or {}).get("ValidTill"),
            member_of=row.get("DBClusterIdentifier"),
            replica_of=row.get("ReadReplicaSourceDBInstanceIdentifier"),
            ours=any(tag["Key"] == TAG_MANAGED for tag in row.get("TagList", ())),
            **_backups(row, snapshots.get(row["DBInstanceIdentifier"], set())),
        )

    def _cluster(self, row: dict[str, Any], snapshots: Taken) -> Protection:
        return Protection(
            identifier=row["DBClusterIdentifier"],
            kind="cluster",
            region=self.region,
            status=row["Status"],
            earliest=row.get("EarliestRestorableTime"),
            latest=row.get("LatestRestorableTime"),
            multi_az=row.get("MultiAZ", False),
            replica_of=row.get("ReplicationSourceIdentifier"),
            **_backups(row, snapshots.get(row["DBClusterIdentifier"], set())),
        )

    def _windows(self) -> dict[str, Any]:
        """Restore windows by resource id; none that have been retained of deleted instances."""
        rows = self._pages("describe_db_instance_automated_backups", "DBInstanceAutomatedBackups")
        return {
            row.get("DbiResourceId", ""): row.get("RestoreWindow", {})
            for row in rows
            if row.get("Status") != "retained"
        }

    def _snapshots(self, listing: str) -> Taken:
        """Finished snapshots by the name of what they were taken of. AWS Backup's must be asked for (rds.md §3)."""
        operation = f"describe_{listing}"
        key, name = {
            "db_snapshots": ("DBSnapshots", "DBInstanceIdentifier"),
            "db_cluster_snapshots": ("DBClusterSnapshots", "DBClusterIdentifier"),
        }[listing]
        snapshots: Taken = {}
        for row in [*self._pages(operation, key), *self._pages(operation, key, SnapshotType="awsbackup")]:
            if row.get("SnapshotCreateTime"):
                snapshots.setdefault(row[name], set()).add((row["SnapshotType"], row["SnapshotCreateTime"]))
        return snapshots

    def _pages(self, operation: str, key: str, **filters: str) -> list[dict[str, Any]]:
        action = "rds:" + "".join(part.capitalize() for part in operation.split("_")).replace("Db", "DB")
        with translated(action):
            return [row for page in self.rds.get_paginator(operation).paginate(**filters) for row in page[key]]


def _backups(row: dict[str, Any], snapshots: set[tuple[str, datetime]]) -> _Backups:
    return {
        "engine": row["Engine"],
        "engine_version": row["EngineVersion"],
        "retention_days": row.get("BackupRetentionPeriod", 0),
        "deletion_protection": row.get("DeletionProtection", False),
        "encrypted": row.get("StorageEncrypted", False),
        "kms_key": row.get("KmsKeyId"),
        "lasting_snapshots": sum(kind != "automated" for kind, _ in snapshots),
        "newest_snapshot": max((at for _, at in snapshots), default=None),
        "managed_by_aws_backup": bool(row.get("AwsBackupRecoveryPointArn")),
        "aws_backup": bool(row.get("AwsBackupRecoveryPointArn")) or any(kind == "awsbackup" for kind, _ in snapshots),
    }
