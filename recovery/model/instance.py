"""What RDS says about an instance, and the settings of the temporary one."""

from __future__ import annotations

from datetime import date

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


class InstanceFacts(Value):
    """One DB instance as DescribeDBInstances shows it."""

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
    parameter_group: str | None = None
    created_at: Moment | None = None
    tags: dict[str, str] = {}

    @property
    def major(self) -> int:
        """PostgreSQL major version."""
        return int(self.engine_version.split(".")[0])


class CopySettings(Value):
    """How the copy is made. Every default that bites (sources: RDS-defaults) is set explicitly."""

    instance_class: str
    subnet_group: str | None
    security_group_ids: tuple[str, ...]
    iam_authentication: bool
    lifecycle_support: str | None
    ca_identifier: str | None
    expires_after_hours: int
    parameter_group: str | None = None

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

        No tags, and the default parameter group unless another one is named.
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
