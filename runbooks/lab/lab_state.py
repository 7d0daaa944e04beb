"""What the lab remembers: instances, backups, snapshots, parameter groups, events. No behaviour beyond lookups."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from runbooks.lab.iam_policy import IdentityPolicy
from runbooks.lab.lab_cluster import Cluster
from runbooks.lab.query_protocol import Refusal

DOMAIN = "lab.rds.invalid"  # of the endpoints of an account that has names; nobody resolves them (RFC 2606)
CERTIFICATE_LIFETIME = timedelta(days=365)
# What a restored instance shows, one entry a look, before it stays available: it is available in between (sources:
# RDS-waiting), and from "storage-initialization" on it can be used while its blocks are still loaded from S3.
SETTLING = ("modifying", "available", "rebooting", "storage-initialization")
LOADING_PERCENT = (5, 35, 70)  # StorageOperationPercentProgress, one a look once it stays available
UNTAGGED_LOOKS = 2  # DescribeDBInstances shows the tags of a new instance only then; ListTagsForResource at once
# Statuses in which RDS shows no endpoint, because there is nothing to connect to yet or any more.
UNREACHABLE = frozenset(
    {"creating", "failed", "incompatible-restore", "insufficient-capacity", "restore-error", "deleting"}
)


def utc_now() -> datetime:
    """The lab's clock."""
    return datetime.now(UTC)


def new_resource_id() -> str:
    """A DbiResourceId: unique per instance, never reused, unlike the name."""
    return "db-" + secrets.token_hex(13).upper()


@dataclass(frozen=True)
class BaseBackup:
    """A finished base backup: usable for any target at or after `finished_at`."""

    finished_at: datetime
    path: Path


@dataclass
class Parameters:
    """A DB parameter group: its name, family and the values that differ from the engine's defaults."""

    name: str
    family: str
    description: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class SubnetGroup:
    """A DB subnet group; networks do not exist in the lab, so it is only a name that must match."""

    name: str
    description: str
    vpc_id: str
    subnet_ids: tuple[str, ...]
    status: str = "Complete"


@dataclass
class LabEvent:
    """One line of DescribeEvents."""

    at: datetime
    source: str
    source_type: str
    message: str
    categories: tuple[str, ...]


@dataclass
class Instance:
    """A DB instance. `attributes`: parameters of calls that are only returned again, under botocore's names."""

    identifier: str
    resource_id: str
    cluster: Cluster
    master: str
    database: str
    parameters: Parameters
    attributes: dict[str, object]
    tags: dict[str, str]
    retention_days: int
    status: str = "creating"
    ready_at: datetime | None = None
    backups: list[BaseBackup] = field(default_factory=list)
    latest_restorable: datetime | None = None
    pending: dict[str, object] = field(default_factory=dict)
    pending_reboot: bool = False
    segments_at_backup: int = 0
    trouble: str = ""
    settling: list[str] = field(default_factory=list)
    loading_percent: list[int] = field(default_factory=list)
    untagged_looks: int = 0
    certificate_until: datetime = field(default_factory=lambda: utc_now() + CERTIFICATE_LIFETIME)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def shown_status(self) -> str:
        """What DescribeDBInstances shows: an instance that is up settles first."""
        return self.settling[0] if self.status == "available" and self.settling else self.status

    def settle(self) -> None:
        """Once it is up it shows what a restored instance shows."""
        self.settling, self.loading_percent, self.untagged_looks = [*SETTLING], [*LOADING_PERCENT], UNTAGGED_LOOKS

    def looked_at(self) -> None:
        """It was described: what is shown moves on by one."""
        if self.status != "available":
            return
        if self.settling:
            self.settling.pop(0)
        elif self.loading_percent:
            self.loading_percent.pop(0)
        self.listed()

    def listed(self) -> None:
        """It was shown among others."""
        self.untagged_looks = max(0, self.untagged_looks - 1)

    @property
    def reachable(self) -> bool:
        """Whether RDS would show an endpoint."""
        return self.status not in UNREACHABLE and self.ready_at is not None

    @property
    def earliest_restorable(self) -> datetime | None:
        """End of the first base backup: PostgreSQL would silently restore *later* than asked before it."""
        return self.backups[0].finished_at if self.backups else None


@dataclass
class Snapshot:
    """A DB snapshot: a base backup of its own, independent of the instance it was taken from."""

    identifier: str
    source_identifier: str
    source_resource_id: str
    path: Path
    master: str
    database: str
    attributes: dict[str, object]
    parameters: Parameters
    kind: str = "manual"
    status: str = "creating"
    created_at: datetime = field(default_factory=utc_now)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Faults:
    """Trouble on order.

    Each entry of `calls` is used up by the calls it spoils; `denied` are actions (`rds:…`) that these credentials may
    not call. `idle_after_restore`: rdsadmin writes nothing in restored instances, which RDS's does.
    `remediation`: a rule of the account protects every instance from deletion. `ordered`: names of fault_catalogue.py.
    `policy`: what all credentials may, where it is not everything; `policies`: what sessions of a role may, by its ARN;
    `organization`: the service control policy.
    """

    denied: set[str] = field(default_factory=set)
    quotas_told: tuple[str, ...] | None = None  # these only, where it is not None
    calls: list[CallFault] = field(default_factory=list)
    next_restores: list[str] = field(default_factory=list)
    creating_delay_s: float = 0.0
    restorable_lag_s: float = 0.0
    idle_after_restore: bool = False
    remediation: bool = False
    ordered: set[str] = field(default_factory=set)
    policy: IdentityPolicy | None = None
    policies: dict[str, IdentityPolicy] = field(default_factory=dict)
    organization: IdentityPolicy | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_call(self, action: str) -> CallFault | None:
        """The fault that spoils this call, if any is left for it."""
        with self.lock:
            for fault in self.calls:
                if fault.action in (action, "*") and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def take_restore(self) -> str | None:
        """The status in which the next restore shall end instead of `available`."""
        with self.lock:
            return self.next_restores.pop(0) if self.next_restores else None


@dataclass
class CallFault:
    """Answer `action` (or `*`) with this error, `times` times: instead of carrying it out, or after it was."""

    action: str
    code: str
    message: str = "injected by the lab"
    http_status: int = 400
    times: int = 1
    moment: Literal["instead", "after"] = "instead"

    def refusal(self) -> Refusal:
        """What is answered."""
        return Refusal(self.code, self.message, self.http_status)
