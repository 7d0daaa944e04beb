"""How an instance or cluster is protected against loss, as RDS shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from recovery.model.values import Moment, Value

USUAL_LAG = timedelta(minutes=15)  # RDS uploads WAL every 5 minutes (sources: RDS-window): more is a fault


class Protection(Value):
    """One instance or Aurora cluster. `retention_days` 0: no automated backups. `latest`: where its window ends.

    `lasting_snapshots`: manual ones and AWS Backup's, which outlive the instance; `newest_snapshot`: of any kind.
    `aws_backup`: AWS Backup keeps a continuous backup. `copied_to`: regions that automated backups are replicated to.
    `member_of`: the cluster that backs an Aurora instance up; `replica_of`: the instance a replica follows.
    `ours`: a copy of rowback's. `managed_by_aws_backup`: its continuous backups are AWS Backup's, and only there their
    retention can be changed.
    """

    identifier: str
    kind: Literal["instance", "cluster"]
    region: str
    engine: str
    engine_version: str
    status: str
    retention_days: int
    earliest: Moment | None = None
    latest: Moment | None = None
    deletion_protection: bool
    encrypted: bool
    kms_key: str | None = None
    lasting_snapshots: int = 0
    newest_snapshot: Moment | None = None
    aws_backup: bool = False
    copied_to: tuple[str, ...] = ()
    multi_az: bool = False
    subnet_group_complete: bool = True
    ca_valid_until: Moment | None = None
    member_of: str | None = None
    replica_of: str | None = None
    ours: bool = False
    managed_by_aws_backup: bool = False

    def keep_backups_for(self, days: int) -> str:
        """How to keep automated backups for so many days, and what that does to the instance (sources: RDS-backups)."""
        modify = f"aws rds modify-db-{self.kind} --region {self.region} --db-{self.kind}-identifier {self.identifier}"
        modify += f" --backup-retention-period {days}"
        if self.managed_by_aws_backup:
            return f"AWS Backup keeps its backups: change the rule of its backup plan to {days} days"
        if self.kind == "instance" and self.retention_days == 0:
            return (
                f"{modify} (in the next maintenance window: turning backups on restarts the server, an OUTAGE; with"
                " --apply-immediately it comes at once)"
            )
        return f"{modify} --apply-immediately"


class Quota(Value):
    """A quota of the account in one region, and how much of it is used."""

    name: str
    used: int
    most: int
