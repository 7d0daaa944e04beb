"""`rowback coverage`: what of an account could be recovered, region by region. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from recovery.aws.caller_identity import caller, regions
from recovery.aws.describe_protection import Protections
from recovery.aws.instance_status import STOPPED
from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.coverage_report import Coverage, Covered, Gap, Rehearsal, Severity
from recovery.model.protection import USUAL_LAG, Protection
from recovery.store.drill_history import DRILL_AGE, DrillRecord, held_drills, rehearse

ORDER = list(Severity)


def survey(profile: Profile, *, all_regions: bool, say: Callable[[str], None]) -> Coverage:
    """Every instance and cluster of the profile's region, or of all.

    A region that refuses is listed in `unseen`. Raises aws-credentials, aws-unreachable, and iam-missing where every
    region refused.
    """
    now, home = datetime.now(UTC), Protections.connect(profile.region).region
    account = caller(home).split(":")[4]
    names = regions(home) if all_regions else [home]
    protections: list[Protection] = []
    unseen, refused = [], None
    for name in names:
        say(f"{name} …")
        try:
            protections += Protections.connect(name).every()
        except RowbackError as error:
            if error.id is not ErrorId.IAM_MISSING:
                raise
            unseen.append(f"{name}: {error.fact}")
            refused = error
    if refused and len(unseen) == len(names):
        raise refused
    drills = held_drills()
    covered = [_covered(each, profile, drills, now) for each in protections]
    return Coverage(at=now, account=account, regions=tuple(names), covered=tuple(covered), unseen=tuple(unseen))


def _covered(protection: Protection, profile: Profile, drills: Sequence[DrillRecord], now: datetime) -> Covered:
    own_drills = [drill for drill in drills if drill.target == protection.identifier]
    last = own_drills[-1] if own_drills else None
    gaps = [
        *_of_backups(protection, profile, now),
        *_of_loss(protection),
        *_of_practice(protection.identifier, last, now),
    ]
    return Covered(
        protection=protection,
        lag_s=max(0.0, (now - protection.latest).total_seconds())
        if protection.latest and protection.retention_days
        else None,
        rehearsal=Rehearsal(target=last.target, at=last.at, passed=last.passed) if last else None,
        gaps=tuple(sorted(gaps, key=lambda gap: ORDER.index(gap.severity))),
    )


def _of_backups(protection: Protection, profile: Profile, now: datetime) -> Iterator[Gap]:
    """Point-in-time recovery: is there any, how far back, and up to when."""
    if protection.replica_of:
        return  # restored through what it follows
    if protection.retention_days == 0:
        yield Gap(
            severity=Severity.HIGH,
            what="no automated backups: no moment of the past can be restored",
            fix=protection.keep_backups_for(profile.minimum_retention_days),
        )
        return
    if protection.latest is None:
        yield Gap(
            severity=Severity.HIGH,
            what="automated backups are on, but RDS shows no moment that could be restored",
            fix="the first backup may be under way: look again in an hour; else take a snapshot, and ask AWS support",
        )
    elif now - protection.latest > USUAL_LAG and protection.status in STOPPED:
        minutes = (now - protection.latest).total_seconds() / 60
        yield Gap(
            severity=Severity.LOW,
            what=f"it is {protection.status}: its restore window ended {minutes:,.0f} min ago",
            fix=f"aws rds start-db-{protection.kind} --db-{protection.kind}-identifier {protection.identifier}",
        )
    elif now - protection.latest > USUAL_LAG:
        minutes = (now - protection.latest).total_seconds() / 60
        yield Gap(
            severity=Severity.HIGH,
            what=f"the restore window ends {minutes:,.0f} min ago; RDS usually moves it on every 5",
            fix="take a snapshot, and ask AWS support",
        )
    if protection.retention_days < profile.minimum_retention_days:
        yield Gap(
            severity=Severity.MEDIUM,
            what=f"backups are kept for {protection.retention_days} days, less than {profile.minimum_retention_days}",
            fix=protection.keep_backups_for(profile.minimum_retention_days),
        )


def _of_loss(protection: Protection) -> Iterator[Gap]:
    """What outlives the instance, and the region."""
    modify = _modify(protection)
    if not protection.deletion_protection:
        yield Gap(
            severity=Severity.MEDIUM,
            what=f"deletion protection is off, and automated backups go with the {protection.kind}",
            fix=f"{modify} --deletion-protection",
        )
    if not protection.replica_of and not protection.lasting_snapshots and not protection.aws_backup:
        yield Gap(
            severity=Severity.MEDIUM,
            what="nothing outlives it: no manual snapshot, no AWS Backup",
            fix="put it into an AWS Backup plan, or take manual snapshots",
        )
    if not protection.replica_of and not protection.copied_to and not protection.aws_backup:
        fix = "aws rds start-db-instance-automated-backups-replication, or a copy rule in AWS Backup"
        yield Gap(severity=Severity.LOW, what="no copy in another region", fix=fix)
    if not protection.encrypted:
        yield Gap(
            severity=Severity.LOW,
            what="neither it nor its backups are encrypted",
            fix="restore an encrypted copy of a snapshot, and switch over",
        )


def _of_practice(instance: str, last: DrillRecord | None, now: datetime) -> Iterator[Gap]:
    how = rehearse(instance)
    if last is None:
        yield Gap(severity=Severity.LOW, what="no recovery of it was ever rehearsed from this machine", fix=how)
    elif not last.passed:
        yield Gap(severity=Severity.MEDIUM, what=f"the last drill, on {last.at:%Y-%m-%d}, failed", fix=how)
    elif now - last.at > DRILL_AGE:
        yield Gap(severity=Severity.LOW, what=f"the last drill was {(now - last.at).days} days ago", fix=how)


def _modify(protection: Protection) -> str:
    kind, name = protection.kind, protection.identifier
    return f"aws rds modify-db-{kind} --region {protection.region} --db-{kind}-identifier {name}"
