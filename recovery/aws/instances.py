"""RDS instances: look, restore to a point in time, wait, take over, delete under guard."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from recovery.aws.clients import client, code_of, is_loopback, translated
from recovery.aws.instance_errors import GONE, copy_failed, delete_refused, not_available
from recovery.aws.instance_status import PENDING, READY
from recovery.aws.restorable_source import StatusListener
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.deletion import Copy, objections_to_delete
from recovery.model.instance import (
    COPY_PREFIX,
    TAG_CASE,
    TAG_DATABASE,
    TAG_EXPIRES,
    TAG_MANAGED,
    TAG_NONCE,
    TAG_SOURCE,
    TAG_TARGET,
    CopySettings,
    Endpoint,
    InstanceFacts,
    RestoreWindow,
)
from recovery.model.nearest import nearest, nearest_line
from recovery.model.target import format_utc

POLL_S, POLL_LOOPBACK_S = 10.0, 0.1

BLIND_LOOKS = 12

UNSEEN_LOOKS = 30  # RDS shows a new instance within seconds; 5 minutes of nothing means that it is gone


@dataclass(frozen=True)
class Instances:
    """The RDS API as rowback uses it. Every error leaves as RowbackError."""

    rds: Any
    region: str

    @classmethod
    def connect(cls, region: str | None) -> Instances:
        """Open a client for `region` (None: boto3's own default)."""
        rds = client("rds", region=region)
        return cls(rds, rds.meta.region_name)

    @property
    def poll_s(self) -> float:
        """Seconds between two looks at a status."""
        return POLL_LOOPBACK_S if is_loopback(self.rds) else POLL_S

    def get(self, identifier: str) -> InstanceFacts:
        """One instance. Raises instance-unknown with the nearest names."""
        if instance := self.find(identifier):
            return instance
        names = [facts.identifier for facts in self.visible()]
        near = nearest(identifier, names)
        raise RowbackError(
            ErrorId.INSTANCE_UNKNOWN,
            f"no DB instance '{identifier}' in {self.region}",
            nearest_line(near, f"{len(names)} instances are visible in {self.region}"),
            state=NOTHING_CREATED,
            help="list them: aws rds describe-db-instances --query 'DBInstances[].DBInstanceIdentifier'",
        )

    def find(self, identifier: str) -> InstanceFacts | None:
        """One instance, or None when RDS knows none of that name."""
        with translated(f"rds:DescribeDBInstances on '{identifier}'"):
            try:
                answer = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)
            except ClientError as error:
                if code_of(error) == "DBInstanceNotFound":
                    return None
                raise
            return self._facts(answer["DBInstances"][0])

    def visible(self) -> list[InstanceFacts]:
        """All instances of the region."""
        with translated("rds:DescribeDBInstances"):
            pages = self.rds.get_paginator("describe_db_instances").paginate()
            return [self._facts(row) for page in pages for row in page["DBInstances"]]

    def copies(self) -> list[InstanceFacts]:
        """All instances that carry rowback's prefix."""
        return [facts for facts in self.visible() if facts.identifier.startswith(COPY_PREFIX)]

    def window(self, source: InstanceFacts) -> RestoreWindow:
        """The seconds `source` can be restored to. Raises backups-off."""
        with translated(f"rds:DescribeDBInstanceAutomatedBackups on '{source.identifier}'"):
            rows = self.rds.describe_db_instance_automated_backups(DbiResourceId=source.resource_id)[
                "DBInstanceAutomatedBackups"
            ]
            windows = [row["RestoreWindow"] for row in rows if "LatestTime" in row.get("RestoreWindow", {})]
            restorable = [RestoreWindow(earliest=each["EarliestTime"], latest=each["LatestTime"]) for each in windows]
        if source.retention_days == 0 or not restorable:
            raise RowbackError(
                ErrorId.BACKUPS_OFF,
                f"'{source.identifier}' has no automated backups to restore from",
                f"its backup retention is {source.retention_days} days",
                state=NOTHING_CREATED,
                help=f"look for a snapshot: aws rds describe-db-snapshots --db-instance-identifier {source.identifier}",
            )
        return restorable[0]

    def start_copy(
        self, copy: Copy, source: InstanceFacts, database: str | None, settings: CopySettings
    ) -> InstanceFacts:
        """Begin restoring `source` as of the target time of `copy.creation` into the copy of the case.

        `copy.creation` must have been recorded before: if the answer of the call is lost, its nonce and target time
        prove that the instance is this case's copy. `database`: the database to recover; no second copy for it is
        restored at the same time. None for a drill.
        """
        assert copy.creation is not None
        target = copy.creation.target_time
        expires = datetime.now(UTC) + timedelta(hours=settings.expires_after_hours)
        tags = {
            TAG_MANAGED: "true",
            TAG_CASE: copy.case,
            TAG_SOURCE: copy.source_resource_id,
            TAG_EXPIRES: format_utc(expires),
            TAG_NONCE: copy.creation.nonce,
            TAG_TARGET: format_utc(target),
            **({TAG_DATABASE: database_tag(database)} if database is not None else {}),
        }
        optional = {
            "DBSubnetGroupName": settings.subnet_group,
            "EngineLifecycleSupport": settings.lifecycle_support,
            "CACertificateIdentifier": settings.ca_identifier,
            "VpcSecurityGroupIds": list(settings.security_group_ids),
            "DBParameterGroupName": settings.parameter_group,
        }
        call = f"rds:RestoreDBInstanceToPointInTime on '{source.identifier}'"
        unanswered = "whether a copy was created is not known here: resuming asks RDS"
        with translated(call, state="no copy was created, nothing was written", unanswered=unanswered):
            answer = self.rds.restore_db_instance_to_point_in_time(
                SourceDbiResourceId=source.resource_id,
                TargetDBInstanceIdentifier=copy.identifier,
                RestoreTime=target,
                DBInstanceClass=settings.instance_class,
                PubliclyAccessible=False,
                MultiAZ=False,
                DeletionProtection=False,
                BackupRetentionPeriod=copy.backup_days,
                AutoMinorVersionUpgrade=False,
                CopyTagsToSnapshot=False,
                EnableIAMDatabaseAuthentication=settings.iam_authentication,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                **{key: value for key, value in optional.items() if value},
            )
        return self._facts({**answer["DBInstance"], "TagList": self._tag_list(tags)})

    def wait_ready(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> InstanceFacts:
        """Wait until the copy is available; `watch(status, seconds)` is called at each poll.

        Raises copy-failed at once when it enters a final state, or when `deadline_s` passes.
        """
        return self._wait(identifier, copy_failed, deadline_s=deadline_s, watch=watch)

    def wait_available(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> InstanceFacts:
        """Wait until an instance is available. Raises instance-unsuitable if it never will be, or too late."""
        return self._wait(identifier, not_available, deadline_s=deadline_s, watch=watch)

    def _wait(
        self, identifier: str, failed: Callable[[str, str], RowbackError], *, deadline_s: float, watch: StatusListener
    ) -> InstanceFacts:
        started, status, blind = time.monotonic(), "not visible yet", 0
        last_seen_s = 0.0
        while (waited := time.monotonic() - started) < deadline_s:
            instance, blind = self._look(identifier, blind)
            status = instance.status if instance else "not visible yet"
            watch(status, waited)
            last_seen_s = waited if instance or blind else last_seen_s
            if waited - last_seen_s > UNSEEN_LOOKS * self.poll_s:
                raise failed(identifier, GONE)
            if instance and instance.status in READY and instance.endpoint:
                return instance
            if instance and instance.status not in READY | PENDING:
                raise failed(identifier, f"is '{instance.status}', which is final")
            time.sleep(self.poll_s)
        raise failed(identifier, f"is still '{status}' after {deadline_s / 60:.0f} min")

    def _look(self, identifier: str, blind: int) -> tuple[InstanceFacts | None, int]:
        # None right after the create call: RDS is eventually consistent. A wait of half an hour outlives a
        # network that is away for a moment, but not one that stays away.
        try:
            return self.find(identifier), 0
        except RowbackError as error:
            if error.id not in (ErrorId.AWS_UNREACHABLE, ErrorId.AWS_THROTTLED) or blind >= BLIND_LOOKS:
                raise
            return None, blind + 1

    def reset_password(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> str:
        """Give the copy a random master password and return it once it is in force.

        Never stored: resume makes a new one. The restored password is the source's as of T (sources: RDS-password).
        Raises copy-failed when it is not in force in time, ValueError when the identifier is not a copy's.
        """
        if not identifier.startswith(COPY_PREFIX):
            raise ValueError(f"{identifier} is not a copy")
        password = secrets.token_urlsafe(32)
        with translated(f"rds:ModifyDBInstance on '{identifier}'", state=f"'{identifier}' keeps running"):
            self.rds.modify_db_instance(
                DBInstanceIdentifier=identifier, MasterUserPassword=password, ApplyImmediately=True
            )
        started = time.monotonic()
        while (waited := time.monotonic() - started) < deadline_s:
            with translated(f"rds:DescribeDBInstances on '{identifier}'", state=f"'{identifier}' keeps running"):
                row = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
            watch(row["DBInstanceStatus"], waited)
            pending = "MasterUserPassword" in row.get("PendingModifiedValues", {})
            if row["DBInstanceStatus"] in READY and not pending:
                return password
            time.sleep(self.poll_s)
        raise copy_failed(identifier, f"did not take its new password within {deadline_s / 60:.0f} min")

    def delete_copy(self, copy: Copy, *, deadline_s: float, watch: StatusListener) -> bool:
        """Delete the copy and wait until it is gone; False when no instance of its name exists.

        Raises delete-refused unless the instance of that name is proven to be `copy` (model/deletion.py), copy-failed
        when it is still there after `deadline_s`. RDS has no conditional delete: docs/security.md.
        """
        instance = self.find(copy.identifier)
        if instance is None:
            return False
        if objections := objections_to_delete(instance, copy):
            raise delete_refused(copy, objections)
        if instance.status != "deleting":
            self._delete(instance)
        self._wait_gone(instance, deadline_s, watch)
        return True

    def _delete(self, instance: InstanceFacts) -> None:
        """Ask RDS to delete it, and raise when it answers that it deletes another one, swapped in since the look."""
        name = instance.identifier
        with translated(f"rds:DeleteDBInstance on '{name}'", state="it was not deleted"):
            answer = self.rds.delete_db_instance(
                DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
            )
        deleted = answer.get("DBInstance", {}).get("DbiResourceId", instance.resource_id)
        if deleted != instance.resource_id:
            raise RowbackError(
                ErrorId.DELETE_REFUSED,
                f"'{name}' was replaced by another instance while it was being removed",
                f"RDS deletes {deleted}; the copy was {instance.resource_id}",
                state=f"{deleted} is being deleted, without a final snapshot",
                help=f"restore it from its snapshots: aws rds describe-db-snapshots --dbi-resource-id {deleted}",
            )

    def _wait_gone(self, doomed: InstanceFacts, deadline_s: float, watch: StatusListener) -> None:
        started = time.monotonic()
        while (waited := time.monotonic() - started) < deadline_s:
            instance = self.find(doomed.identifier)
            if instance is None or instance.resource_id != doomed.resource_id:
                return
            watch(instance.status, waited)
            time.sleep(self.poll_s)
        raise copy_failed(doomed.identifier, f"is still 'deleting' after {deadline_s / 60:.0f} min")

    def _facts(self, row: dict[str, Any]) -> InstanceFacts:
        endpoint = row.get("Endpoint") or {}
        return InstanceFacts(
            identifier=row["DBInstanceIdentifier"],
            resource_id=row["DbiResourceId"],
            arn=row["DBInstanceArn"],
            region=self.region,
            engine=row["Engine"],
            engine_version=row["EngineVersion"],
            status=row["DBInstanceStatus"],
            instance_class=row["DBInstanceClass"],
            master_username=row["MasterUsername"],
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
            created_at=row.get("InstanceCreateTime"),
            tags={tag["Key"]: tag.get("Value", "") for tag in row.get("TagList", ())},
        )

    @staticmethod
    def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in tags.items()]


def database_tag(database: str) -> str:
    """A database's name as a tag value: AWS allows few characters there, PostgreSQL nearly all."""
    return database.encode().hex()[:250]
