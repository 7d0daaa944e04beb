"""RDS instances: look, restore to a point in time, wait, take over, delete under guard."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from recovery.aws.clients import DENIED, EXISTS, client, code_of, is_loopback, translated
from recovery.aws.instance_errors import GONE, copy_failed, delete_refused, not_available, too_slow
from recovery.aws.instance_rows import facts_of, tags_of
from recovery.aws.instance_status import PENDING, READY
from recovery.aws.restorable_source import StatusListener
from recovery.aws.restore_call import NO_CERTIFICATE, arguments, restore_refused, tags_for
from recovery.aws.restore_window import window_of
from recovery.aws.settling import LOOKS_TO_BELIEVE, SETTLED, Insistence, settled, shown
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.deletion import Copy, objections_to_delete
from recovery.model.instance import COPY_PREFIX, TAG_MANAGED, CopySettings, InstanceFacts, RestoreWindow
from recovery.model.nearest import nearest, nearest_line

POLL_S, POLL_LOOPBACK_S = 10.0, 0.1
BLIND_LOOKS = 12
UNSEEN_LOOKS = 30  # RDS shows a new instance within seconds; 5 minutes of nothing means that it is gone
TAG_LOOKS = 30  # tags are "eventually consistent", also those that IAM's conditions read


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
        names = self.names()
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
            return self._tagged(facts_of(answer["DBInstances"][0], self.region))

    def names(self) -> list[str]:
        """Of all instances of the region, whatever their engine."""
        return [row["DBInstanceIdentifier"] for row in self._rows()]

    def copies(self) -> list[InstanceFacts]:
        """All instances that carry rowback's prefix."""
        rows = [row for row in self._rows() if row["DBInstanceIdentifier"].startswith(COPY_PREFIX)]
        with translated("rds:DescribeDBInstances"):
            return [self._tagged(facts_of(row, self.region)) for row in rows]

    def _rows(self) -> list[dict[str, Any]]:
        with translated("rds:DescribeDBInstances"):
            pages = self.rds.get_paginator("describe_db_instances").paginate()
            return [row for page in pages for row in page["DBInstances"] if row.get("DBInstanceIdentifier")]

    def _tagged(self, facts: InstanceFacts) -> InstanceFacts:
        """With the tags that RDS does not show yet where it describes a new instance: they are asked for by themselves.

        Where that is not allowed, it has those that are shown.
        """
        if not facts.identifier.startswith(COPY_PREFIX) or TAG_MANAGED in facts.tags or not facts.arn:
            return facts
        try:
            answer = self.rds.list_tags_for_resource(ResourceName=facts.arn)
        except ClientError as error:
            if code_of(error) in {*DENIED, "DBInstanceNotFound"}:
                return facts
            raise
        return facts.model_copy(update={"tags": tags_of(answer.get("TagList", ()))})

    def identify(self, copy: Copy, watch: StatusListener) -> tuple[InstanceFacts | None, list[str]]:
        """What has the name of the copy, and why it is not proven to be the copy. Late tags are waited for."""
        instance, began = self.find(copy.identifier), time.monotonic()
        for _ in range(TAG_LOOKS):
            if instance is None:
                return None, []
            young = instance.created_at is None or datetime.now(UTC) - instance.created_at < SETTLED
            if instance.tags or not young:
                break
            watch("its tags are not to be seen yet", time.monotonic() - began)
            time.sleep(self.poll_s)
            instance = self.find(copy.identifier)
        return instance, objections_to_delete(instance, copy) if instance else []

    def window(self, source: InstanceFacts) -> RestoreWindow:
        """The seconds `source` can be restored to. Raises backups-off."""
        return window_of(self.rds, source)

    def predecessors(self, source: InstanceFacts) -> list[str]:
        """Instances that a blue/green switchover renamed: NAME-old1 and so on."""
        renamed = re.compile(re.escape(source.identifier) + r"-old\d+")
        return [name for name in self.names() if renamed.fullmatch(name)]

    def parameter(self, group: str, name: str) -> str | None:
        """What a parameter group sets one parameter to; None where it leaves it to the engine's default."""
        with translated(f"rds:DescribeDBParameters on '{group}'"):
            pages = self.rds.get_paginator("describe_db_parameters").paginate(DBParameterGroupName=group, Source="user")
            rows = [row for page in pages for row in page["Parameters"]]
        return next((row.get("ParameterValue") for row in rows if row["ParameterName"] == name), None)

    def start_copy(
        self, copy: Copy, source: InstanceFacts, database: str | None, settings: CopySettings
    ) -> InstanceFacts:
        """Begin restoring `source` as of the target time of `copy.creation` into the copy of the case.

        `copy.creation` must have been recorded before: if the answer of the call is lost, its nonce and target time
        prove that the instance is this case's copy. `database`: the database to recover; no second copy for it is
        restored at the same time. None for a drill. Raises aws-refused with what has to be chosen otherwise, or what
        AWS's answer stands for.
        """
        tags = tags_for(copy, database, settings)
        call = f"rds:RestoreDBInstanceToPointInTime on '{source.identifier}'"
        unanswered = "whether a copy was created is not known here: resuming asks RDS"
        with translated(call, state="no copy was created, nothing was written", unanswered=unanswered):
            try:
                row = self._restore(arguments(source, copy, tags, settings))
            except ClientError as error:
                if code_of(error) == EXISTS and (ours := self.made_before(copy)):
                    return ours
                if refused := restore_refused(error, source, copy.case if database is not None else None):
                    raise refused from error
                raise
            return facts_of(row, self.region).model_copy(update={"tags": tags})

    def _restore(self, wanted: dict[str, object]) -> dict[str, Any]:
        try:
            answer = self.rds.restore_db_instance_to_point_in_time(**wanted)
        except ClientError as error:
            if code_of(error) != NO_CERTIFICATE or "CACertificateIdentifier" not in wanted:
                raise
            wanted = {name: value for name, value in wanted.items() if name != "CACertificateIdentifier"}
            answer = self.rds.restore_db_instance_to_point_in_time(**wanted)
        row: dict[str, Any] = answer["DBInstance"]
        return row

    def made_before(self, copy: Copy) -> InstanceFacts | None:
        """The copy, where an earlier attempt of the same call was carried out and its answer was lost."""
        instance, objections = self.identify(copy, lambda *_: None)
        return None if objections else instance

    def wait_ready(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> InstanceFacts:
        """Wait until the copy is available and stays so; `watch(status, seconds)` is called at each poll.

        Raises copy-failed at once when it enters a final state, or when `deadline_s` passes.
        """
        return self._wait(identifier, copy_failed, deadline_s=deadline_s, watch=watch)

    def wait_available(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> InstanceFacts:
        """Wait until an instance is available. Raises instance-unsuitable if it never will be, or too late."""
        return self._wait(identifier, not_available, deadline_s=deadline_s, watch=watch)

    def _wait(
        self, identifier: str, failed: Callable[[str, str], RowbackError], *, deadline_s: float, watch: StatusListener
    ) -> InstanceFacts:
        started, blind, believed = time.monotonic(), 0, 0
        last_seen_s, instance = 0.0, None
        while (waited := time.monotonic() - started) < deadline_s:
            instance, blind = self._look(identifier, blind)
            watch(shown(instance), waited)
            last_seen_s = waited if instance or blind else last_seen_s
            if waited - last_seen_s > UNSEEN_LOOKS * self.poll_s:
                raise failed(identifier, GONE)
            if instance and instance.status not in READY | PENDING:
                raise failed(identifier, f"is '{instance.status}', which is final")
            usable = instance is not None and instance.status in READY and instance.endpoint and not instance.changing
            believed = believed + 1 if usable else 0
            if instance and believed and (believed >= LOOKS_TO_BELIEVE or settled(instance)):
                return instance
            time.sleep(self.poll_s)
        raise too_slow(failed, identifier, shown(instance), deadline_s)

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
        deadline = time.monotonic() + deadline_s
        self._modify(identifier, deadline, watch, MasterUserPassword=password)
        unchanged = 0
        while time.monotonic() < deadline:
            with translated(f"rds:DescribeDBInstances on '{identifier}'", state=f"'{identifier}' keeps running"):
                row = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
            watch(row["DBInstanceStatus"], deadline_s - (deadline - time.monotonic()))
            pending = "MasterUserPassword" in row.get("PendingModifiedValues", {})
            unchanged = unchanged + 1 if row["DBInstanceStatus"] in READY and not pending else 0
            if unchanged >= LOOKS_TO_BELIEVE:  # at first nothing of the change is to be seen
                return password
            time.sleep(self.poll_s)
        raise copy_failed(identifier, f"did not take its new password within {deadline_s / 60:.0f} min")

    def _modify(self, identifier: str, deadline: float, watch: StatusListener, **changes: object) -> None:
        """ModifyDBInstance, once its status and its tags allow it."""
        call = Insistence(f"rds:ModifyDBInstance on '{identifier}'", f"'{identifier}' keeps running", deadline, watch)
        self._insist(
            identifier,
            lambda: self.rds.modify_db_instance(DBInstanceIdentifier=identifier, ApplyImmediately=True, **changes),
            call,
        )

    def _insist(self, identifier: str, act: Callable[[], Any], call: Insistence) -> Any:
        """The answer of `act`, asked again while the instance's status, or tags of it that IAM sees late, forbid it."""
        began = time.monotonic()
        while True:
            with translated(call.name, state=call.state):
                try:
                    return act()
                except ClientError as error:
                    code = code_of(error)
                    if time.monotonic() > call.deadline or not self._passes(identifier, code):
                        raise
            call.watch(f"RDS answers {code}, asking again", time.monotonic() - began)
            time.sleep(self.poll_s)

    def _passes(self, identifier: str, code: str) -> bool:
        """Whether such a refusal goes away by itself."""
        if code not in {*DENIED, "InvalidDBInstanceState"}:
            return False
        instance = self.find(identifier)
        if instance is None or instance.status not in READY | PENDING | {"deleting"}:
            return False
        # "is not authorized" is said until the tags of a new instance are seen
        return code not in DENIED or instance.created_at is None or not settled(instance)

    def keep_backups(self, identifier: str, *, days: int, deadline_s: float, watch: StatusListener) -> None:
        """Turn automated backups of a copy on, so that it can be restored itself. Raises ValueError for no copy."""
        if not identifier.startswith(COPY_PREFIX):
            raise ValueError(f"{identifier} is not a copy")
        self._modify(identifier, time.monotonic() + deadline_s, watch, BackupRetentionPeriod=days)

    def delete_copy(self, copy: Copy, *, deadline_s: float, watch: StatusListener) -> bool:
        """Delete the copy and wait until it is gone; False when no instance of its name exists.

        Raises delete-refused unless the instance of that name is proven to be `copy` (model/deletion.py), copy-failed
        when it is still there after `deadline_s`. RDS has no conditional delete: docs/security.md.
        """
        if (instance := self._proven(copy, watch)) is None:
            return False
        if instance.status != "deleting":
            self._delete(copy, instance, deadline_s, watch)
        self._wait_gone(instance, deadline_s, watch)
        return True

    def _proven(self, copy: Copy, watch: StatusListener) -> InstanceFacts | None:
        """The instance of its name, None where there is none. Raises delete-refused where it is not proven to be it."""
        instance, objections = self.identify(copy, watch)
        if objections:
            raise delete_refused(copy, objections)
        return instance

    def _delete(self, copy: Copy, instance: InstanceFacts, deadline_s: float, watch: StatusListener) -> None:
        """Ask RDS to delete it, and raise when it answers that it deletes another one, swapped in since the look.

        Each attempt proves it anew before it changes anything. A rule of the account may have protected it meanwhile,
        as it does every instance: that is taken back.
        """
        name, deadline = instance.identifier, time.monotonic() + deadline_s

        def delete() -> Any:
            now = self._proven(copy, watch)
            if now is None or now.status == "deleting":
                return {}
            if now.deletion_protection:
                watch("taking back its deletion protection, which was switched on by others", 0.0)
                self.rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, DeletionProtection=False)
            return self.rds.delete_db_instance(
                DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
            )

        call = Insistence(f"rds:DeleteDBInstance on '{name}'", "it was not deleted", deadline, watch)
        answer = self._insist(name, delete, call)
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
