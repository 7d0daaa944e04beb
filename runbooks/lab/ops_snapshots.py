"""RDS operations on snapshots and tags."""

from __future__ import annotations

import shutil

from runbooks.lab.lab_state import Instance, Snapshot
from runbooks.lab.ops_instances import InstanceOperations
from runbooks.lab.query_protocol import Refusal, Request, Result
from runbooks.lab.views import (
    SHOWN_BACK,
    LabAccount,
    page,
    show_instance,
    show_snapshot,
    tag_list,
    tags_of,
)


class SnapshotOperations:
    """Manual snapshots, and instances restored from them."""

    def __init__(self, account: LabAccount, instances: InstanceOperations) -> None:
        self.account, self.engine, self.instances = account, account.engine, instances

    def CreateDBSnapshot(self, request: Request) -> Result:
        """A snapshot of an available instance. Raises Refusal as RDS does."""
        instance = self.account.find(request["DBInstanceIdentifier"])
        identifier = request["DBSnapshotIdentifier"].lower()
        if instance.status != "available":
            raise Refusal("InvalidDBInstanceState", f"Instance {instance.identifier} is not in available state.")
        if identifier in self.engine.snapshots:
            raise Refusal("DBSnapshotAlreadyExists", f"Cannot create the snapshot because {identifier} already exists.")
        snapshot = Snapshot(
            identifier=identifier,
            source_identifier=instance.identifier,
            source_resource_id=instance.resource_id,
            path=self.engine.root / "snapshots" / identifier,
            master=instance.master,
            database=instance.database,
            attributes=dict(instance.attributes),
            parameters=instance.parameters,
            tags=tags_of(request),
        )
        self.engine.take_snapshot(instance, snapshot)
        return {"DBSnapshot": show_snapshot(self.account, snapshot)}

    def DescribeDBSnapshots(self, request: Request) -> Result:
        """Snapshots by name, instance or type."""
        rows = [*self.engine.snapshots.values(), *self._automated()]
        if name := request.get("DBSnapshotIdentifier"):
            rows = [self._snapshot(name)]
        if source := request.get("DBInstanceIdentifier"):
            rows = [row for row in rows if row.source_identifier == source.lower()]
        if kind := request.get("SnapshotType"):
            rows = [row for row in rows if row.kind == kind]
        return page("DBSnapshots", [show_snapshot(self.account, row) for row in rows], request)

    def _automated(self) -> list[Snapshot]:
        """The base backups, as RDS shows its daily ones."""
        return [
            Snapshot(
                identifier=f"rds:{instance.identifier}-{backup.finished_at:%Y-%m-%d-%H-%M-%S}",
                source_identifier=instance.identifier,
                source_resource_id=instance.resource_id,
                path=backup.path,
                master=instance.master,
                database=instance.database,
                attributes=dict(instance.attributes),
                parameters=instance.parameters,
                kind="automated",
                status="available",
                created_at=backup.finished_at,
            )
            for instance in list(self.engine.instances.values())
            for backup in list(instance.backups)
        ]

    def DeleteDBSnapshot(self, request: Request) -> Result:
        """Forget a snapshot and remove its files. Raises Refusal while it is being made."""
        snapshot = self._snapshot(request["DBSnapshotIdentifier"])
        if snapshot.status != "available":
            raise Refusal("InvalidDBSnapshotState", f"Snapshot {snapshot.identifier} is not available.")
        shutil.rmtree(snapshot.path, ignore_errors=True)
        del self.engine.snapshots[snapshot.identifier]
        return {"DBSnapshot": {**show_snapshot(self.account, snapshot), "Status": "deleted"}}

    def RestoreDBInstanceFromDBSnapshot(self, request: Request) -> Result:
        """A new instance with the content of a snapshot. Raises Refusal as RDS does."""
        snapshot = self._snapshot(request["DBSnapshotIdentifier"])
        if snapshot.status != "available":
            raise Refusal("InvalidDBSnapshotState", f"Snapshot {snapshot.identifier} is not available.")
        identifier = self.account.claim(request["DBInstanceIdentifier"])
        inherited = {name: snapshot.attributes[name] for name in SHOWN_BACK if name in snapshot.attributes}
        inherited.update(MultiAZ=False, DeletionProtection=False)
        instance = self.instances.build(identifier, request, inherited, int(request.get("BackupRetentionPeriod", 1)))
        instance.tags = tags_of(request) if "Tags" in request else dict(snapshot.tags)
        instance.master, instance.database = snapshot.master, snapshot.database
        event = f"Restored from snapshot {snapshot.identifier}"
        # A base backup taken with -X fetch carries the WAL it needs: the archive stays unused.
        self.engine.restore(instance, snapshot.path, snapshot.path / "none", None, event)
        instance.settle()
        return {"DBInstance": show_instance(self.account, instance)}

    def _snapshot(self, identifier: str) -> Snapshot:
        if snapshot := self.engine.snapshots.get(identifier.lower()):
            return snapshot
        raise Refusal("DBSnapshotNotFound", f"DBSnapshot {identifier} not found.", 404)


class TagOperations:
    """Tags of instances and snapshots, by ARN."""

    def __init__(self, account: LabAccount) -> None:
        self.account, self.engine = account, account.engine

    def AddTagsToResource(self, request: Request) -> Result:
        """Add or overwrite."""
        self._tagged(request["ResourceName"]).tags.update(tags_of(request))
        return {}

    def RemoveTagsFromResource(self, request: Request) -> Result:
        """Remove by key; absent keys are no error, as on RDS."""
        tags = self._tagged(request["ResourceName"]).tags
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    def ListTagsForResource(self, request: Request) -> Result:
        """All tags of one resource."""
        return {"TagList": tag_list(self._tagged(request["ResourceName"]).tags)}

    def _tagged(self, arn: str) -> Instance | Snapshot:
        *_, kind, name = ["", "", *arn.split(":")]
        if kind == "snapshot" and (snapshot := self.engine.snapshots.get(name)):
            return snapshot
        if kind == "db":
            return self.account.find(name)
        raise Refusal("InvalidParameterValue", f"The lab knows no taggable resource {arn}.")
