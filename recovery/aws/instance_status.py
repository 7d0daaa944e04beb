"""The statuses of an RDS instance: in which it can be used, and which will pass."""

from __future__ import annotations

READY = frozenset({"available", "storage-optimization"})

# Everything else that is not pending is final: boto3's waiter would poll it for 30 minutes (sources: RDS-waiting).
PENDING = frozenset(
    {
        "creating",
        "backing-up",
        "modifying",
        "rebooting",
        "resetting-master-credentials",
        "renaming",
        "starting",
        "upgrading",
        "maintenance",
        "moving-to-vpc",
        "storage-initialization",
        "storage-config-upgrade",
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
    }
)
