"""What of the original would keep its copy from starting, from being reached, or from being harmless.

Refused before anything is created: an hour later it would be known from the copy itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from socket import getaddrinfo

from recovery.aws.credentials import end_unrenewed
from recovery.aws.restorable_source import RestorableSource
from recovery.compare.read_ahead import READERS
from recovery.config import Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import CopySettings, InstanceFacts
from recovery.postgres.connect import Session, one
from recovery.postgres.recovery_obstacles import slots, slots_taken_from

FIRST_READ_MIB_S, WORTH_SAYING_GIB = 50, 1.0  # sources: RDS-lazy
PREPARED, NO_WORKERS = "max_prepared_transactions", "max_logical_replication_workers"


def copy_settings(
    source: InstanceFacts, profile: Profile, *, parameter_group: str | None = None, inside_vpc: bool = False
) -> CopySettings:
    """How the copy of `source` is made: as the profile says, but for what was chosen for once.

    Raises instance-unsuitable where it would not be reached.
    """
    settings = CopySettings.like(
        source,
        instance_class=profile.copy_class,
        expires_after_hours=profile.copy_expires_hours,
        parameter_group=parameter_group or profile.copy_parameter_group,
    )
    settings = settings.model_copy(
        update={
            "tags": profile.copy_tags,
            "storage": profile.copy_storage,
            "iops": profile.copy_iops,
            "inside_vpc": inside_vpc or profile.inside_vpc,
        }
    )
    refuse_unreachable_copy(source, profile, settings)
    return settings


def fit_for(
    original: Session, source: InstanceFacts, settings: CopySettings, instances: RestorableSource
) -> CopySettings:
    """The settings, with the way of logging in that the original's master user has.

    Raises instance-unsuitable for a copy that would not start, or would subscribe.
    """
    refuse_unstartable_copy(original, source, settings, instances)
    refuse_subscribing_copy(original, source, settings, instances)
    by_token = source.iam_authentication or logs_in_by_token(original, source)  # at T it may have been otherwise
    return settings.model_copy(update={"iam_authentication": by_token})


def refuse_unstartable_copy(
    original: Session, source: InstanceFacts, settings: CopySettings, instances: RestorableSource
) -> None:
    """Raise instance-unsuitable when the copy would not start with the prepared transactions that it replays.

    One that was prepared between the backup and T is replayed in the copy, which does not start where
    max_prepared_transactions is 0, as in RDS's default parameter groups.
    """
    allowed, group = int(one(original, "show max_prepared_transactions")), settings.parameter_group
    if not allowed or (group and instances.parameter(group, PREPARED) not in {None, "0"}):
        return
    pending = int(one(original, "select count(*) from pg_prepared_xacts"))
    own = source.parameter_group or "GROUP"
    raise RowbackError(
        ErrorId.INSTANCE_UNSUITABLE,
        f"'{source.identifier}' runs with max_prepared_transactions = {allowed}, and its copy would have none",
        f"{pending} prepared transactions are pending now; one that was prepared between the last backup and T is"
        " replayed in the copy, and without room for it the copy does not start",
        *([f"parameter group '{group}' does not set it"] if group else []),
        state=NOTHING_CREATED,
        help=f"give the copy a parameter group that allows them, such as its own: --copy-parameter-group {own}, or"
        f' copy_parameter_group = "{own}" in rowback.toml',
    )


def refuse_subscribing_copy(
    original: Session, source: InstanceFacts, settings: CopySettings, instances: RestorableSource
) -> None:
    """Raise instance-unsuitable where the copy would come up subscribed to what the original is subscribed to.

    From its start to the takeover it would fetch from the same slot, and confirm what the original has never seen. One
    that is disabled now may have been enabled at T. A parameter group without workers keeps the copy from that.
    """
    names, group = slots_taken_from(original), settings.parameter_group
    if not names or (group and instances.parameter(group, NO_WORKERS) == "0"):
        return
    raise RowbackError(
        ErrorId.INSTANCE_UNSUITABLE,
        f"'{source.identifier}' is subscribed ({', '.join(names)}), and its copy would be as well: until it is taken"
        " over it would take changes from the same slots, which the original then never gets",
        *([f"parameter group '{group}' does not set {NO_WORKERS} to 0"] if group else []),
        state=NOTHING_CREATED,
        help=_contained(original, source),
    )


def _contained(original: Session, source: InstanceFacts) -> str:
    """How a parameter group is made with which the copy starts, and does not subscribe."""
    name, allowed = f"{source.identifier}-copy", one(original, "show max_prepared_transactions")
    values = {NO_WORKERS: "0"} | ({PREPARED: str(allowed)} if allowed != "0" else {})
    values |= {"rds.logical_replication": "1"} if slots(original) else {}
    parameters = " ".join(
        f"ParameterName={parameter},ParameterValue={value},ApplyMethod=pending-reboot"
        for parameter, value in values.items()
    )
    return (
        f"make a parameter group without workers once: aws rds create-db-parameter-group --db-parameter-group-name"
        f" {name} --db-parameter-group-family postgres{source.major} --description rowback, then aws rds"
        f" modify-db-parameter-group --db-parameter-group-name {name} --parameters {parameters}; then"
        f' copy_parameter_group = "{name}" in rowback.toml, or --copy-parameter-group {name}'
    )


def refuse_unreachable_copy(source: InstanceFacts, profile: Profile, settings: CopySettings) -> None:
    """Raise instance-unsuitable where the original is reached by a public address: its copy will not have one."""
    if settings.inside_vpc or profile.tunnel or not source.endpoint or not source.publicly_accessible:
        return
    if address := _public_address(source.endpoint.host):
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' is reached at its public address {address} from here, and its copy will have none",
            state=NOTHING_CREATED,
            help="run it inside the VPC, or through a tunnel (rowback.toml); where private addresses of the VPC are"
            " reached from here: inside_vpc = true in rowback.toml, or --inside-vpc",
        )


def _public_address(host: str) -> str | None:
    """An address of `host` that is public, as this machine resolves it; inside the VPC RDS's names are private."""
    try:
        addresses = [str(entry[4][0]) for entry in getaddrinfo(host, None)]
    except OSError:
        return None  # that it cannot be reached at all is for the connection to say
    public = [each for each in addresses if ipaddress.ip_address(each).is_global]
    return public[0] if public and len(public) == len(addresses) else None  # one that is private leads inside


def logs_in_by_token(original: Session, source: InstanceFacts) -> bool:
    """Whether the master user is let in by IAM alone, whatever its password (sources: RDS-iam-login)."""
    query = (
        "select exists (select from pg_roles where rolname = 'rds_iam') and exists (select from pg_roles where rolname"
        " = %s and pg_has_role(oid, 'rds_iam', 'member'))"
    )
    return bool(one(original, query, (source.master_username,)))


def surroundings_notices(
    original: Session, source: InstanceFacts, settings: CopySettings, size_bytes: int
) -> Iterator[str]:
    """What a person should know of the copy beforehand. `size_bytes`: of the tables that will be read, now."""
    gib = size_bytes / 2**30
    if gib >= WORTH_SAYING_GIB:
        yield (
            f"a copy's blocks are loaded from S3 when they are first read: these tables are {gib:,.0f} GiB now, at some"
            f" {FIRST_READ_MIB_S} MiB a second in each of {READERS} sessions {_hours(gib)}; the wait says how far RDS"
            " is"
        )
    if settings.iam_authentication:
        yield (
            f"the copy is made with IAM authentication: should master user {source.master_username} have been a member"
            " of rds_iam at T, it is logged in to by token, which needs rds-db:connect on"
            f" dbuser:*/{source.master_username}"
        )
    if end_unrenewed():
        yield (
            "these credentials are a session's, in the environment, and nothing renews them: should they end while RDS"
            " restores, log in again, then rowback resume goes on"
        )
    if slots(original) and not settings.parameter_group:
        yield (
            "replication slots exist here: should the copy end in incompatible-parameters, it needs a parameter group"
            " with the original's rds.logical_replication (--copy-parameter-group)"
        )


def _hours(gib: float) -> str:
    hours = gib * 1024 / (FIRST_READ_MIB_S * READERS) / 3600
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"
