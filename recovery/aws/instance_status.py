"""The statuses of an RDS instance: in which it can be used, and which will pass."""

from __future__ import annotations

# It can be used: in "storage-initialization" while its blocks are still loaded from S3 (sources: RDS-waiting).
READY = frozenset({"available", "storage-optimization", "storage-initialization", "backing-up"})

# Everything else that is not pending is final: boto3's waiter would poll it for 30 minutes (sources: RDS-waiting).
PENDING = frozenset(
    {
        "creating",
        "delete-precheck",
        "modifying",
        "rebooting",
        "resetting-master-credentials",
        "renaming",
        "starting",
        "upgrading",
        "maintenance",
        "moving-to-vpc",
        "storage-config-upgrade",
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
    }
)

STOPPED = frozenset({"stopped", "stopping", "starting"})  # nothing is written, so nothing is backed up

# Final, and what leads out of it.
WAYS_OUT = {
    "inaccessible-encryption-credentials-recoverable": "enable its KMS key (aws kms enable-key): RDS then goes on",
    "inaccessible-encryption-credentials": "its KMS key is gone, or may not be used",
    "storage-full": "give it more storage: aws rds modify-db-instance --db-instance-identifier {name}"
    " --allocated-storage GIB",
    "insufficient-capacity": "another class may be had: copy_class in rowback.toml",
    "incompatible-parameters": "give it another parameter group (copy_parameter_group in rowback.toml)",
    "incompatible-network": "its subnets have no free address left, or are gone",
}
