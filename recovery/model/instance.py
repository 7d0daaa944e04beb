"""What RDS says about an instance, and the settings of the temporary one."""

from __future__ import annotations

from datetime import date

from pydantic import SerializerFunctionWrapHandler, model_serializer

from recovery.model.values import Moment, Value

# Names and tags by which a copy is recognised as ours (deletion.py).
COPY_PREFIX = "rowback-"
TAG_MANAGED, TAG_CASE, TAG_SOURCE, TAG_EXPIRES = (
    "rowback:managed",
    "rowback:case",
    "rowback:source",
    "rowback:expires",
)
TAG_DATABASE, TAG_NONCE, TAG_TARGET = "rowback:database", "rowback:nonce", "rowback:target"

# End of standard support of RDS for PostgreSQL (sources: RDS-versions, AWS's calendar as of 2026-08-22).
STANDARD_SUPPORT_UNTIL = {
    13: date(2026, 2, 28),
    14: date(2027, 2, 28),
    15: date(2028, 2, 29),
    16: date(2029, 2, 28),
    17: date(2030, 2, 28),
    18: date(2031, 2, 28),
}


class Endpoint(Value):
    """Where an instance listens."""

    host: str
    port: int


class RestoreWindow(Value):
    """RDS can restore to any second from `earliest` to `latest`."""

    earliest: Moment
    latest: Moment


class Storage(Value):
    """What the volume is. `iops`, `mib_per_s`: where they are provisioned."""

    kind: str = ""
    iops: int | None = None
    mib_per_s: int | None = None

    def __str__(self) -> str:
        speed = [f"{self.iops:,} IOPS"] if self.iops else []
        speed += [f"{self.mib_per_s:,} MiB/s"] if self.mib_per_s else []
        return " with ".join([self.kind or "storage of a kind that RDS does not say", *speed[:1]])


# Fields that older plans do not have: where they say nothing, a plan reads and hashes as it did.
LATER = (
    "master_secret_key",
    "kms_key",
    "storage",
    "loaded_percent",
    "cluster",
    "replica_of",
    "deletion_protection",
    "changing",
)


class InstanceFacts(Value):
    """One DB instance as DescribeDBInstances shows it.

    `loaded_percent`: of a volume that was restored and still loads its blocks from S3; None when it does not.
    `cluster`: the Multi-AZ DB cluster of which it is a member. `changing`: whether a change is still being applied
    that the status does not show.
    """

    identifier: str
    resource_id: str
    arn: str
    region: str
    engine: str
    engine_version: str
    status: str
    instance_class: str
    master_username: str
    endpoint: Endpoint | None
    retention_days: int
    security_group_ids: tuple[str, ...]
    subnet_group: str | None
    iam_authentication: bool
    lifecycle_support: str | None
    ca_identifier: str | None
    allocated_gib: int
    publicly_accessible: bool = False
    master_secret_arn: str | None = None
    master_secret_key: str | None = None
    kms_key: str | None = None
    parameter_group: str | None = None
    created_at: Moment | None = None
    tags: dict[str, str] = {}
    storage: Storage = Storage()
    loaded_percent: int | None = None
    cluster: str | None = None
    replica_of: str | None = None
    deletion_protection: bool = False
    changing: bool = False

    @property
    def major(self) -> int:
        """PostgreSQL major version."""
        return int(self.engine_version.split(".")[0])

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = handler(self)
        fresh = {name: type(self).model_fields[name].default for name in LATER}
        return {name: each for name, each in fields.items() if name not in fresh or getattr(self, name) != fresh[name]}


class CopySettings(Value):
    """How the copy is made. Every default that bites (sources: RDS-defaults) is set explicitly.

    `tags`: more than rowback's own, where the organisation demands some. `storage`, `iops`: where they are chosen.
    `inside_vpc`: it was said that private addresses of its network are reached, though the original has a public one.
    """

    instance_class: str
    subnet_group: str | None
    security_group_ids: tuple[str, ...]
    iam_authentication: bool
    lifecycle_support: str | None
    ca_identifier: str | None
    expires_after_hours: int
    parameter_group: str | None = None
    tags: dict[str, str] = {}
    storage: str | None = None
    iops: int | None = None
    inside_vpc: bool = False

    @classmethod
    def like(
        cls,
        source: InstanceFacts,
        *,
        instance_class: str | None,
        expires_after_hours: int,
        parameter_group: str | None = None,
    ) -> CopySettings:
        """Reachable the way `source` is (its network), nothing else of it.

        None of its tags, and the default parameter group unless another one is named.
        """
        return cls(
            instance_class=instance_class or source.instance_class,
            subnet_group=source.subnet_group,
            security_group_ids=source.security_group_ids,
            iam_authentication=False,
            lifecycle_support=source.lifecycle_support,
            ca_identifier=source.ca_identifier,
            expires_after_hours=expires_after_hours,
            parameter_group=parameter_group,
        )

    def storage_like(self, source: InstanceFacts) -> Storage:
        """What is to be paid for: the chosen type, else the original's, which costs at least what RDS gives."""
        return Storage(kind=self.storage, iops=self.iops) if self.storage else source.storage

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = handler(self)
        return {
            name: each for name, each in fields.items() if each or name not in ("tags", "storage", "iops", "inside_vpc")
        }
