"""`rowback doctor`: every check once, in the order in which one would fix things. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TypeVar

from recovery.aws.instances import Instances
from recovery.config import Profile
from recovery.doctor import aws_checks, database_checks, host_checks
from recovery.doctor.context import DoctorContext, Words
from recovery.doctor.database_checks import Opened
from recovery.errors import ErrorId, RowbackError
from recovery.model.health_report import Check, Health
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import IMPATIENT, connect, translate_errors
from recovery.postgres.incident_traces import read_counters
from recovery.postgres.recovery_obstacles import database_bytes as size_of
from recovery.store.counter_readings import remember_reading

Subject = TypeVar("Subject")
Asking = Callable[[], AbstractContextManager[None]]
OF_AWS: dict[str, Callable[[DoctorContext], Iterable[Check]]] = {
    "identity": aws_checks.identity,
    "permissions": aws_checks.permissions,
    "status": aws_checks.status,
    "engine": aws_checks.engine,
    "backups": aws_checks.backups,
    "deletion-protection": aws_checks.deletion_protection,
    "quota": aws_checks.quota,
    "network": aws_checks.network,
    "class": aws_checks.instance_class,
    "key": aws_checks.encryption,
    "certificate": aws_checks.certificate,
    "leftovers": aws_checks.leftovers,
}
OF_DATABASE: dict[str, Callable[[Opened], Iterable[Check]]] = {
    "connection": database_checks.connection,
    "privileges": database_checks.privileges,
    "logging": database_checks.logging,
    "tables": database_checks.tables,
    "replication": database_checks.replication,
    "locks": database_checks.locks,
    "harmless-copy": database_checks.harmless_copy,
    "surroundings": database_checks.surroundings,
    "references": database_checks.references,
}


def run_checks(instance: str, database: str, profile: Profile) -> Health:
    """Look at everything a recovery of `database` on `instance` would need.

    Raises instance-unknown, and what AWS answers where it answers nothing at all; whatever else cannot be seen is
    reported as unknown. What the database counted is kept on this machine, for `find` to compare with.
    """
    instances, now = Instances.connect(profile.region), datetime.now(UTC)
    context = DoctorContext(instances, instances.get(instance), profile, database, now)
    database_results, size = _database_checks(context)
    checks = [*_each(OF_AWS, context, aws_checks.SAYS), *database_results, *host_checks.run_checks(context, size)]
    return Health(instance=instance, database=database, examined_at=now, checks=tuple(checks))


def _each(
    checks: Mapping[str, Callable[[Subject], Iterable[Check]]],
    subject: Subject,
    says: Words,
    asking: Asking = nullcontext,
) -> Iterator[Check]:
    for name, look in checks.items():
        try:
            with asking():
                results = list(look(subject))
        except RowbackError as error:
            results = [says.not_seen(name, error)]
            if error.id is ErrorId.PRIVILEGE_MISSING:  # a plan would fail on it as well
                results = [says.problem(name, results[0].reason, error.help)]
        yield from results


def _database_checks(context: DoctorContext) -> tuple[list[Check], int | None]:
    """The checks, and the size of the database in bytes: None where it is not known."""
    try:
        target = target_on_original(context.facts, context.database, context.profile)
        with connect(target) as session:
            session.execute(IMPATIENT)
            opened = Opened(context, session, target)
            results = list(_each(OF_DATABASE, opened, database_checks.SAYS, lambda: translate_errors(session, target)))
            with suppress(RowbackError), translate_errors(session, target):  # whatever hinders it is told by a check
                remember_reading(read_counters(session), context.facts.resource_id, context.database)
            return results, size_of(session)
    except RowbackError as error:
        return list(database_checks.not_connected(error)), None
