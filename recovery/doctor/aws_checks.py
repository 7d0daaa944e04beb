"""What AWS says: may we, can the instance be restored, would a temporary one come up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from recovery.aws.caller_identity import caller
from recovery.aws.instance_status import PENDING, READY, STOPPED
from recovery.aws.permissions import statements
from recovery.aws.restore_call import database_tag
from recovery.aws.simulate_permissions import missing, principal_arn
from recovery.doctor.context import DoctorContext, Words, listed
from recovery.model.health_report import Area, Check, State
from recovery.model.instance import (
    STANDARD_SUPPORT_UNTIL,
    TAG_CASE,
    TAG_DATABASE,
    TAG_EXPIRES,
    TAG_SOURCE,
)
from recovery.model.protection import USUAL_LAG
from recovery.model.target import format_utc

SAYS = Words(Area.AWS)
CERTIFICATE_WARNING = timedelta(days=60)
OLDEST_MAJOR = 13


def identity(context: DoctorContext) -> Iterator[Check]:
    """Who these credentials are."""
    yield SAYS.ok("identity", f"{caller(context.instances.region)} in {context.instances.region}")


def permissions(context: DoctorContext) -> Iterator[Check]:
    """Each action of the policy, by IAM's own simulator."""
    needed = statements(context.place, context.profile)
    region = context.instances.region
    lacking = missing(needed, principal_arn(caller(region), region), region)
    allow = f"rowback doctor {context.facts.identifier} --iam-policy prints the policy that allows it"
    for action, denial in lacking.items():
        reason, fix = f"these credentials may not call {action}", allow
        if denial.by_organization:
            reason += ": a service control policy of the organization denies it"
            fix = "ask who manages the organization's policies: no policy of this account can allow it"
        if denial.serves:
            yield SAYS.warning(f"permission {action}", f"{reason}: {denial.serves}", fix)
        else:
            yield SAYS.problem(f"permission {action}", reason, fix)
    if not lacking:
        count = len({action for statement in needed if statement.effect == "Allow" for action in statement.actions})
        yield SAYS.ok("permissions", f"IAM's simulator allows all {count} that rowback uses")


def status(context: DoctorContext) -> Iterator[Check]:
    """Whether the instance is up. RDS restores from backups, whatever else it is doing to it."""
    state, name = context.facts.status, context.facts.identifier
    fix = f"aws rds describe-events --source-type db-instance --source-identifier {name} --duration 1440"
    if state in READY:
        yield SAYS.ok("status", f"'{name}' is {state}")
    elif state in PENDING:
        yield SAYS.warning("status", f"'{name}' is '{state}'", fix)
    else:
        yield SAYS.problem("status", f"'{name}' is '{state}'", fix)


def engine(context: DoctorContext) -> Iterator[Check]:
    """Whether rowback can restore it at all, and to the same major version."""
    facts, replica_of = context.facts, context.protection.replica_of
    if facts.engine != "postgres" or facts.major < OLDEST_MAJOR:
        yield SAYS.problem(
            "engine",
            f"it runs {facts.engine} {facts.engine_version}",
            f"rowback restores engine 'postgres' from {OLDEST_MAJOR} on",
        )
    elif context.facts.cluster:
        yield SAYS.problem(
            "engine",
            f"it is a member of Multi-AZ DB cluster '{context.facts.cluster}', whose backups are the cluster's",
            "rowback restores instances; a snapshot of the cluster can be restored by hand:"
            f" aws rds describe-db-cluster-snapshots --db-cluster-identifier {context.facts.cluster}",
        )
    elif replica_of:
        yield SAYS.problem(
            "engine",
            f"it is a read replica of '{replica_of}', which RDS restores to no point in time",
            f"rowback doctor {replica_of}",
        )
    elif (until := STANDARD_SUPPORT_UNTIL.get(facts.major)) and until < context.now.date():
        yield _out_of_support(context, until)
    else:
        yield SAYS.ok("engine", f"PostgreSQL {facts.engine_version}")


def _out_of_support(context: DoctorContext, until: date) -> Check:
    fact = f"PostgreSQL {context.facts.major} left standard support on {until}"
    if context.facts.lifecycle_support == "open-source-rds-extended-support-disabled":
        return SAYS.problem(
            "engine",
            f"{fact}, and RDS would upgrade the copy to a newer major",
            "upgrade the instance, or turn Extended Support on",
        )
    return SAYS.warning("engine", f"{fact}: the copy is charged Extended Support", "upgrade the instance")


def backups(context: DoctorContext) -> Iterator[Check]:
    """Automated backups, how far back, and how recent their end is."""
    protection, least = context.protection, context.profile.minimum_retention_days
    if protection.retention_days == 0:
        reason = "automated backups are off (retention 0 days)"
        yield SAYS.problem("backups", reason, protection.keep_backups_for(least))
        return
    if protection.earliest is None or protection.latest is None:
        reason = "automated backups are on, but RDS shows no moment that could be restored"
        yield SAYS.problem("backups", reason, "the first backup may be under way: look again in an hour")
        return
    yield SAYS.ok("backups", f"restorable from {format_utc(protection.earliest)} to {format_utc(protection.latest)}")
    if protection.retention_days < least:
        reason = f"backups are kept for {protection.retention_days} days, less than {least}"
        yield SAYS.warning("retention", reason, protection.keep_backups_for(least))
    else:
        yield SAYS.ok("retention", f"backups are kept for {protection.retention_days} days")
    lag = context.now - protection.latest
    if lag > USUAL_LAG and context.facts.status in STOPPED:
        reason = f"it is {context.facts.status}, so the restore window ended {lag.total_seconds() / 60:.0f} min ago"
        yield SAYS.warning(
            "window", reason, f"aws rds start-db-instance --db-instance-identifier {protection.identifier}"
        )
    elif lag > USUAL_LAG:
        reason = f"the restore window ends {lag.total_seconds() / 60:.0f} min ago; RDS usually moves it on every 5"
        yield SAYS.problem("window", reason, "ask AWS support; until then a snapshot is the only way back to now")
    else:
        yield SAYS.ok("window", f"the restore window ends {max(lag.total_seconds(), 0):.0f} s ago")


def _modify(context: DoctorContext) -> str:
    where = f"--region {context.facts.region} --db-instance-identifier {context.facts.identifier}"
    return f"aws rds modify-db-instance {where}"


def deletion_protection(context: DoctorContext) -> Iterator[Check]:
    """With the instance its automated backups go."""
    if context.protection.deletion_protection:
        yield SAYS.ok("deletion-protection", "it is on")
        return
    reason = "it is off: who deletes the instance may delete its backups with it"
    yield SAYS.warning("deletion-protection", reason, f"{_modify(context)} --deletion-protection")


def quota(context: DoctorContext) -> Iterator[Check]:
    """Room for one more instance, with its storage."""
    needed = {"DBInstances": 1, "AllocatedStorage": context.facts.allocated_gib}
    quotas = {limit.name: limit for limit in context.protections.quotas()}
    if silent := needed.keys() - quotas.keys():
        reason = f"AWS tells no quota {listed(sorted(silent))}"
        yield Check(
            name="quota", area=Area.AWS, state=State.UNKNOWN, reason=reason, fix="look: AWS Service Quotas, rds"
        )
        return
    for limit in (quotas[name] for name in needed):
        if limit.most - limit.used < needed[limit.name]:
            yield SAYS.problem(
                f"quota {limit.name}",
                f"{limit.used:,} of {limit.most:,} are used; the copy takes {needed[limit.name]:,}",
                "rowback reap, or ask AWS for a higher quota",
            )
            return
    yield SAYS.ok("quota", "there is room for the copy")


def network(context: DoctorContext) -> Iterator[Check]:
    """The subnet group that the copy is put into."""
    if context.protection.subnet_group_complete:
        yield SAYS.ok(
            "network",
            f"subnet group '{context.facts.subnet_group}', security groups {listed(context.facts.security_group_ids)}",
        )
        return
    group = context.facts.subnet_group
    yield SAYS.problem(
        "network",
        f"subnet group '{group}' is not complete",
        f"aws rds describe-db-subnet-groups --db-subnet-group-name {group}",
    )


def instance_class(context: DoctorContext) -> Iterator[Check]:
    """Whether RDS offers the class of the copy."""
    copy_class = context.profile.copy_class or context.facts.instance_class
    if context.protections.orderable(copy_class, context.facts.engine_version):
        yield SAYS.ok("class", f"{copy_class} is offered for PostgreSQL {context.facts.engine_version}")
        return
    yield SAYS.problem(
        "class",
        f"RDS does not offer {copy_class} for PostgreSQL {context.facts.engine_version} here",
        "choose another copy_class in rowback.toml",
    )


def encryption(context: DoctorContext) -> Iterator[Check]:
    """The key that the backups are encrypted with: without it they cannot be restored."""
    if not context.protection.encrypted or context.protection.kms_key is None:
        yield SAYS.ok("key", "the storage is not encrypted with a key of KMS")
        return
    state = context.protections.key_state(context.protection.kms_key)
    if state == "Enabled":
        yield SAYS.ok("key", f"{context.protection.kms_key} is enabled")
        return
    yield SAYS.problem(
        "key",
        f"key {context.protection.kms_key} is {state}: nothing can be restored without it",
        f"aws kms enable-key --key-id {context.protection.kms_key}, or cancel-key-deletion",
    )


def certificate(context: DoctorContext) -> Iterator[Check]:
    """How long clients that verify it can connect."""
    until = context.protection.ca_valid_until
    if until is None:
        yield SAYS.ok("certificate", "RDS names no end of the server's certificate")
    elif until - context.now < CERTIFICATE_WARNING:
        yield SAYS.warning(
            "certificate",
            f"the server's certificate ends at {format_utc(until)}",
            "rotate it: aws rds modify-db-instance --ca-certificate-identifier …",
        )
    else:
        yield SAYS.ok("certificate", f"the server's certificate is valid until {until:%Y-%m-%d}")


def leftovers(context: DoctorContext) -> Iterator[Check]:
    """Copies of it: one of this database blocks a new case, one that outlived its time costs money."""
    ours = [c for c in context.instances.copies() if c.tags.get(TAG_SOURCE) == context.facts.resource_id]
    blocking = [c for c in ours if c.tags.get(TAG_DATABASE) == database_tag(context.database)]
    old = [c.identifier for c in ours if (end := c.tags.get(TAG_EXPIRES)) and end < format_utc(context.now)]
    if blocking:
        case = blocking[0].tags.get(TAG_CASE, "CASE")
        reason = f"copy '{blocking[0].identifier}' of this database exists, so no new case can be opened"
        fix = f"on the machine that opened it: rowback resume {case}, or rowback close {case}"
        yield SAYS.problem("open-copy", reason, fix)
    elif old:
        yield SAYS.warning("leftovers", f"copies past their end: {listed(old)}", "rowback reap")
    else:
        yield SAYS.ok("leftovers", f"{len(ours)} copies of it, none past its end" if ours else "none")
