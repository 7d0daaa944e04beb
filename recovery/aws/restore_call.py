"""RestoreDBInstanceToPointInTime: what is passed, and what leads on where RDS refuses it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from recovery.aws.clients import code_of
from recovery.aws.instance_errors import backups_off, events_of
from recovery.aws.instance_rows import tag_list
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy
from recovery.model.instance import (
    TAG_CASE,
    TAG_DATABASE,
    TAG_EXPIRES,
    TAG_MANAGED,
    TAG_NONCE,
    TAG_SOURCE,
    TAG_TARGET,
    CopySettings,
    InstanceFacts,
)
from recovery.model.target import format_utc

NO_CERTIFICATE = "CertificateNotFound"  # the original's CA may be one that RDS does not give any more

# What RDS's model says that the restore may answer → what has to be chosen otherwise, since the same call is refused
# again. The settings are part of the plan: another choice needs another case.
_CHOICES = {
    "InsufficientDBInstanceCapacity": "choose another class: copy_class in rowback.toml",
    "InvalidDBCapacityReservationState": "choose another class: copy_class in rowback.toml",
    "StorageTypeNotSupported": 'choose another storage type: copy_storage = "gp3" in rowback.toml',
    "ProvisionedIopsNotAvailableInAZ": 'choose storage without provisioned IOPS: copy_storage = "gp3" in rowback.toml',
    "KMSKeyNotAccessible": "let these credentials use the key of the backups (kms:CreateGrant and kms:DescribeKey, in"
    " IAM and in the key's own policy), and see that it is enabled",
    "DBSubnetGroupDoesNotCoverEnoughAZs": "add a subnet in another availability zone to the subnet group",
    "DBSubnetGroupNotFound": "the original's subnet group is gone: make one of that name again",
    "InvalidSubnet": "the original's subnet group names subnets that are gone: repair it",
    "InvalidVPCNetworkState": "the original's subnets have no address left or were changed: repair its subnet group",
    "VpcEncryptionControlViolationException": "choose a class that encrypts its traffic (Nitro): copy_class in"
    " rowback.toml",
    "VpcEncryptionControlViolation": "choose a class that encrypts its traffic (Nitro): copy_class in rowback.toml",
    "NetworkTypeNotSupported": "the subnet group does not allow the original's network type: repair it",
    "DBParameterGroupNotFound": "name a parameter group that exists: copy_parameter_group in rowback.toml",
}
# Nothing that is chosen otherwise helps: there is nothing to restore from any more.
_NO_BACKUPS = frozenset({"PointInTimeRestoreNotEnabled", "DBInstanceAutomatedBackupNotFound"})


def arguments(source: InstanceFacts, copy: Copy, tags: dict[str, str], settings: CopySettings) -> dict[str, object]:
    """Every argument of the call. Each default of RDS's that bites is set explicitly (sources: RDS-defaults)."""
    assert copy.creation is not None
    optional = {
        "DBSubnetGroupName": settings.subnet_group,
        "EngineLifecycleSupport": settings.lifecycle_support,
        "CACertificateIdentifier": settings.ca_identifier,
        "VpcSecurityGroupIds": list(settings.security_group_ids),
        "DBParameterGroupName": settings.parameter_group,
        "StorageType": settings.storage,
        "Iops": settings.iops,
    }
    return {
        "SourceDbiResourceId": source.resource_id,
        "TargetDBInstanceIdentifier": copy.identifier,
        "RestoreTime": copy.creation.target_time,
        "DBInstanceClass": settings.instance_class,
        "PubliclyAccessible": False,
        "MultiAZ": False,
        "DeletionProtection": False,
        "BackupRetentionPeriod": 0,
        "AutoMinorVersionUpgrade": False,
        "CopyTagsToSnapshot": False,
        "EnableIAMDatabaseAuthentication": settings.iam_authentication,
        "Tags": tag_list(tags),
        **{key: value for key, value in optional.items() if value},
    }


def tags_for(copy: Copy, database: str | None, settings: CopySettings) -> dict[str, str]:
    """Whose copy it is, and what the organisation wants to see on whatever is created."""
    assert copy.creation is not None
    expires = datetime.now(UTC) + timedelta(hours=settings.expires_after_hours)
    return {
        **settings.tags,
        TAG_MANAGED: "true",
        TAG_CASE: copy.case,
        TAG_SOURCE: copy.source_resource_id,
        TAG_EXPIRES: format_utc(expires),
        TAG_NONCE: copy.creation.nonce,
        TAG_TARGET: format_utc(copy.creation.target_time),
        **({TAG_DATABASE: database_tag(database)} if database is not None else {}),
    }


def restore_refused(error: ClientError, source: InstanceFacts, case: str | None) -> RowbackError | None:
    """The refusal with what has to be chosen otherwise; None where AWS's own words have to do.

    `case`: whose copy it is; None for a drill's.
    """
    code, words = code_of(error), error.response.get("Error", {}).get("Message", "")
    if code in _NO_BACKUPS:
        return backups_off(source)
    if code == "InvalidDBInstanceState":
        choice = f"look what '{source.identifier}' is doing ({events_of(source.identifier)}); once that is over,"
        choice += f" rowback resume {case}" if case else " the drill again"
    elif code in _CHOICES:
        choice = f"{_CHOICES[code]}; then"
        choice += f" rowback close {case}, and the same command again" if case else " the drill again"
    else:
        return None
    return RowbackError(
        ErrorId.AWS_REFUSED,
        f"RDS does not restore '{source.identifier}': {code}",
        words,
        state="no copy was created, nothing was written",
        help=choice,
    )


def database_tag(database: str) -> str:
    """A database's name as a tag value: AWS allows few characters there, PostgreSQL nearly all."""
    return database.encode().hex()[:250]
