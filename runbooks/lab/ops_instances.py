"""RDS operations on instances and their automated backups. One method an action, dicts in botocore's names."""

from __future__ import annotations

from datetime import datetime, timedelta

from runbooks.lab.lab_state import Instance, Parameters, new_resource_id
from runbooks.lab.query_protocol import Refusal, Request, Result
from runbooks.lab.views import (
    SHOWN_BACK,
    LabAccount,
    attributes_of,
    page,
    show_backup,
    show_instance,
    tags_of,
)

# In these DeleteDBInstance is refused.
UNTOUCHABLE = frozenset({"modifying", "rebooting"})
SECOND = timedelta(seconds=1)


class InstanceOperations:
    """Create, describe, restore, modify, reboot and delete."""

    def __init__(self, account: LabAccount) -> None:
        self.account, self.engine = account, account.engine

    def CreateDBInstance(self, request: Request) -> Result:
        """An empty instance with its first database. Raises Refusal as RDS does."""
        identifier = self.account.claim(request["DBInstanceIdentifier"])
        self._check_engine(request)
        password = request.get("MasterUserPassword")
        if not password or "MasterUsername" not in request:
            raise Refusal("InvalidParameterCombination", "MasterUsername and MasterUserPassword are required.")
        _check_password(password)
        instance = self.build(identifier, request, {}, request.get("BackupRetentionPeriod", 1))
        instance.master = request["MasterUsername"]
        instance.database = request.get("DBName") or "postgres"
        self.engine.create(instance, password)
        return {"DBInstance": show_instance(self.account, instance)}

    def DescribeDBInstances(self, request: Request) -> Result:
        """One instance by name, or all; looking moves LatestRestorableTime on."""
        if name := request.get("DBInstanceIdentifier"):
            rows = [self._by_name_or_arn(name)]
        else:
            rows = list(self.engine.instances.values())
        for condition in request.get("Filters") or ():
            rows = [row for row in rows if _passes(row, condition["Name"], condition["Values"])]
        for row in rows:
            self.engine.beat(row)
            if self.engine.faults.remediation and row.status == "available":
                row.attributes["DeletionProtection"] = True
        odd = [] if name else self.account.odd_rows
        shown = page("DBInstances", [*odd, *(show_instance(self.account, row) for row in rows)], request)
        for row in rows:
            if name:
                row.looked_at()
            else:
                row.listed()
        return shown

    def RestoreDBInstanceToPointInTime(self, request: Request) -> Result:
        """A new instance from the automated backups of another, as of the second of RestoreTime."""
        source = self._backup_source(request)
        target = self._target_time(source, request)
        identifier = self.account.claim(request["TargetDBInstanceIdentifier"])
        base = max((b for b in source.backups if b.finished_at <= target), key=lambda backup: backup.finished_at)
        inherited = {name: source.attributes[name] for name in SHOWN_BACK if name in source.attributes}
        inherited.update(MultiAZ=False, DeletionProtection=False, CopyTagsToSnapshot=False)
        inherited.update(StorageType="io1" if "Iops" in request else "gp3")
        inherited.pop("Iops", None)
        retention = request.get("BackupRetentionPeriod", source.retention_days)
        instance = self.build(identifier, request, inherited, retention)
        instance.tags = tags_of(request) if "Tags" in request else dict(source.tags)
        instance.master, instance.database = source.master, source.database
        event = f"Restored from DB instance {source.identifier} to {target.isoformat()}"
        self.engine.restore(instance, base.path, source.cluster.archive, target, event)
        instance.settle()
        return {"DBInstance": show_instance(self.account, instance)}

    def ModifyDBInstance(self, request: Request) -> Result:
        """The master password, retention, protection, class and parameter group; everything applies at once.

        Protection can be changed in any status.
        """
        instance = self.account.find(request["DBInstanceIdentifier"])
        if set(request) - {"DBInstanceIdentifier", "DeletionProtection", "ApplyImmediately"}:
            self._must_be(instance, "available")
        instance.attributes.update({name: request[name] for name in SHOWN_BACK if name in request})
        if "BackupRetentionPeriod" in request:
            kept, instance.retention_days = instance.retention_days, request["BackupRetentionPeriod"]
            if kept == 0 < instance.retention_days:
                self.engine.begin_backups(instance)
            if instance.retention_days == 0:  # RDS deletes every automated backup at that moment
                instance.backups, instance.latest_restorable = [], None
        if name := request.get("DBParameterGroupName"):
            instance.parameters = self._parameters(name)
            self.engine.apply_parameters(instance.parameters, static=True)
        if password := request.get("MasterUserPassword"):
            _check_password(password)
            self.engine.reset_password(instance, password)
        return {"DBInstance": show_instance(self.account, instance)}

    def RebootDBInstance(self, request: Request) -> Result:
        """Restart PostgreSQL."""
        instance = self.account.find(request["DBInstanceIdentifier"])
        self._must_be(instance, "available")
        self.engine.reboot(instance)
        return {"DBInstance": show_instance(self.account, instance)}

    def DeleteDBInstance(self, request: Request) -> Result:
        """Delete, unless protected. Raises Refusal as RDS does, and for a final snapshot: the lab takes none."""
        instance = self.account.find(request["DBInstanceIdentifier"])
        if instance.attributes["DeletionProtection"]:
            raise Refusal(
                "InvalidParameterCombination",
                "Cannot delete protected DB Instance, please disable deletion protection and try again.",
            )
        if not request.get("SkipFinalSnapshot"):
            raise Refusal(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
                if "FinalDBSnapshotIdentifier" not in request
                else "The lab takes no final snapshots: call CreateDBSnapshot first.",
            )
        if instance.status == "deleting" or instance.shown_status in UNTOUCHABLE:
            raise Refusal("InvalidDBInstanceState", f"Instance {instance.identifier} is {instance.shown_status}.")
        keep = not request.get("DeleteAutomatedBackups", True) and bool(instance.backups)
        self.engine.delete(instance, keep_backups=keep)
        return {"DBInstance": show_instance(self.account, instance)}

    def DescribeDBInstanceAutomatedBackups(self, request: Request) -> Result:
        """Active backups and those retained after their instance was deleted. Raises Refusal as RDS does."""
        active = [i for i in self.engine.instances.values() if i.backups]
        for instance in active:
            self.engine.beat(instance)
        rows = [(instance, "active") for instance in active]
        rows += [(instance, "retained") for instance in self.engine.retained.values()]
        name, resource = request.get("DBInstanceIdentifier"), request.get("DbiResourceId")
        if name:
            rows = [row for row in rows if row[0].identifier == name.lower()]
        if resource:
            rows = [row for row in rows if row[0].resource_id == resource]
        if arn := request.get("DBInstanceAutomatedBackupsArn"):
            rows = [row for row in rows if self.account.backup_arn(row[0]) == arn]
        if resource and not rows:
            raise Refusal("DBInstanceAutomatedBackupNotFound", f"No automated backups found for {resource}.", 404)
        shown = [show_backup(self.account, instance, status) for instance, status in rows]
        return page("DBInstanceAutomatedBackups", shown, request)

    def _backup_source(self, request: Request) -> Instance:
        selectors = [
            request.get(name)
            for name in (
                "SourceDBInstanceIdentifier",
                "SourceDbiResourceId",
                "SourceDBInstanceAutomatedBackupsArn",
            )
        ]
        if sum(map(bool, selectors)) != 1:
            raise Refusal("InvalidParameterCombination", "Specify exactly one source of the restore.")
        name, resource, arn = selectors
        if name:
            return self.account.find(name)
        for instance in [*self.engine.instances.values(), *self.engine.retained.values()]:
            if resource == instance.resource_id or arn == self.account.backup_arn(instance):
                return instance
        raise Refusal("DBInstanceAutomatedBackupNotFound", f"No automated backups found for {resource or arn}.", 404)

    def _target_time(self, source: Instance, request: Request) -> datetime:
        restore_time, latest = request.get("RestoreTime"), request.get("UseLatestRestorableTime", False)
        if (restore_time is not None) == bool(latest):
            raise Refusal(
                "InvalidParameterCombination",
                "Specify either RestoreTime or UseLatestRestorableTime, not both.",
            )
        if source.retention_days == 0 or not source.backups:
            raise Refusal(
                "PointInTimeRestoreNotEnabled",
                f"Point in time restore is not enabled for {source.identifier}.",
            )
        if source.identifier in self.engine.instances:
            self.engine.beat(source)
        first, last = source.earliest_restorable, source.latest_restorable
        target: datetime | None = restore_time.replace(microsecond=0) if restore_time else last
        end = last and (last + SECOND if latest else last)  # RestoreTime "must be before the latest restorable time"
        if target is None or first is None or end is None or not first <= target < end or restore_time == last:
            raise Refusal(
                "InvalidParameterValue",
                f"The specified instance cannot be restored to a time before {first} or after {last}",
            )
        return target

    def build(self, identifier: str, request: Request, inherited: dict[str, object], retention_days: int) -> Instance:
        """An instance that exists only in memory yet, with everything the caller asked for and RDS's own defaults."""
        resource_id = new_resource_id()
        return Instance(
            identifier=identifier,
            resource_id=resource_id,
            cluster=self.engine.new_cluster(resource_id),
            master="",
            database="",
            parameters=self._parameters(request.get("DBParameterGroupName")),
            attributes=attributes_of(self.account, request, inherited),
            tags=tags_of(request),
            retention_days=retention_days,
        )

    def _parameters(self, name: str | None) -> Parameters:
        if name is None:
            return self.engine.default_parameters
        if group := self.engine.parameters.get(name.lower()):
            return group
        raise Refusal("DBParameterGroupNotFound", f"DBParameterGroup not found: {name}", 404)

    def _check_engine(self, request: Request) -> None:
        version = str(request.get("EngineVersion", self.engine.tools.version))
        if request["Engine"] != "postgres":
            raise Refusal("InvalidParameterValue", f"Invalid DB engine: {request['Engine']}")
        if version.split(".", maxsplit=1)[0] != str(self.engine.tools.major):
            raise Refusal("InvalidParameterCombination", f"Cannot find version {version} for postgres")

    def _by_name_or_arn(self, name: str) -> Instance:
        return self.account.find(name.rpartition(":")[2] if name.startswith("arn:") else name)

    @staticmethod
    def _must_be(instance: Instance, status: str) -> None:
        if instance.shown_status not in {status, "storage-initialization"}:
            words = f"Database instance is not in {status} state: {instance.shown_status}."
            instance.looked_at()
            raise Refusal("InvalidDBInstanceState", words)


def _passes(instance: Instance, name: str, values: list[str]) -> bool:
    match name:
        case "db-instance-id":
            return instance.identifier in values
        case "dbi-resource-id":
            return instance.resource_id in values
        case "engine":
            return "postgres" in values
    raise Refusal("InvalidParameterValue", f"Unrecognized filter name: {name}")


def _check_password(password: str) -> None:
    if not 8 <= len(password) <= 128 or any(c in '/" @' or not c.isprintable() for c in password):
        raise Refusal(
            "InvalidParameterValue",
            'The parameter MasterUserPassword must be 8 to 128 printable ASCII characters besides / @ " and space.',
        )
