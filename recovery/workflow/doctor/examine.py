"""`rowback doctor`: every check once, in the order in which one would fix things. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TypeVar

from recovery.aws.instances import Instances
from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.health import Check, Health
from recovery.postgres.connect import IMPATIENT, connect, told
from recovery.postgres.examining import database_bytes as size_of
from recovery.postgres.traces import read_counters
from recovery.workflow.access import original
from recovery.workflow.doctor import of_aws, of_database, of_machine
from recovery.workflow.doctor.of_database import Opened
from recovery.workflow.doctor.patient import Patient, Words
from recovery.workflow.readings import remember_reading

Subject = TypeVar("Subject")
Asking = Callable[[], AbstractContextManager[None]]
OF_AWS: dict[str, Callable[[Patient], Iterable[Check]]] = {
    "identity": of_aws.identity,
    "permissions": of_aws.permissions,
    "status": of_aws.status,
    "engine": of_aws.engine,
    "backups": of_aws.backups,
    "deletion-protection": of_aws.deletion_protection,
    "quota": of_aws.quota,
    "network": of_aws.network,
    "class": of_aws.instance_class,
    "key": of_aws.encryption,
    "certificate": of_aws.certificate,
    "leftovers": of_aws.leftovers,
}
OF_DATABASE: dict[str, Callable[[Opened], Iterable[Check]]] = {
    "connection": of_database.connection,
    "privileges": of_database.privileges,
    "logging": of_database.logging,
    "tables": of_database.tables,
    "replication": of_database.replication,
    "locks": of_database.locks,
    "two-phase": of_database.two_phase,
    "surroundings": of_database.surroundings,
    "references": of_database.references,
}


def examine(instance: str, database: str, profile: Profile) -> Health:
    """Look at everything a recovery of `database` on `instance` would need.

    Raises instance-unknown, and what AWS answers where it answers nothing at all; whatever else cannot be seen is
    reported as unknown. What the database counted is kept on this machine, for `find` to compare with.
    """
    instances, now = Instances.connect(profile.region), datetime.now(UTC)
    patient = Patient(instances, instances.get(instance), profile, database, now)
    found, size = _of_database(patient)
    checks = [*_each(OF_AWS, patient, of_aws.SAYS), *found, *of_machine.examine(patient, size)]
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
                found = list(look(subject))
        except RowbackError as error:
            found = [says.not_seen(name, error)]
            if error.id is ErrorId.PRIVILEGE_MISSING:  # a plan would fail on it as well
                found = [says.problem(name, found[0].reason, error.help)]
        yield from found


def _of_database(patient: Patient) -> tuple[list[Check], int | None]:
    """The checks, and the size of the database in bytes: None where nobody can say."""
    try:
        target = original(patient.facts, patient.database, patient.profile)
        with connect(target) as session:
            session.execute(IMPATIENT)
            opened = Opened(patient, session, target)
            found = list(_each(OF_DATABASE, opened, of_database.SAYS, lambda: told(session, target)))
            with suppress(RowbackError), told(session, target):  # whatever hinders it is told by a check
                remember_reading(read_counters(session), patient.facts.resource_id, patient.database)
            return found, size_of(session)
    except RowbackError as error:
        return list(of_database.not_connected(error)), None
