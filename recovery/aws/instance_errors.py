"""Refusals and failures of RDS instances, with the next command."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recovery.aws.instance_status import WAYS_OUT
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.deletion import Copy
from recovery.model.instance import COPY_PREFIX, InstanceFacts

GONE = "does not exist, or does not exist any more"


def delete_refused(copy: Copy, objections: Sequence[str]) -> RowbackError:
    """The refusal to delete an instance that bears the name of `copy`, with every objection."""
    return RowbackError(
        ErrorId.DELETE_REFUSED,
        f"'{copy.identifier}' is not proven to be the copy of case {copy.case}",
        *objections,
        state="it was not deleted",
        help=f"look at it yourself: aws rds describe-db-instances --db-instance-identifier {copy.identifier}",
    )


def backups_off(source: InstanceFacts) -> RowbackError:
    """The error backups-off: there is nothing to restore from."""
    return RowbackError(
        ErrorId.BACKUPS_OFF,
        f"'{source.identifier}' has no automated backups to restore from",
        f"its backup retention is {source.retention_days} days",
        state=NOTHING_CREATED,
        help=f"look for a snapshot: aws rds describe-db-snapshots --db-instance-identifier {source.identifier}",
    )


def not_available(identifier: str, what: str) -> RowbackError:
    """The error instance-unsuitable: the instance is in a state that forbids what was asked."""
    return RowbackError(
        ErrorId.INSTANCE_UNSUITABLE,
        f"instance '{identifier}' {what}",
        *_way_out(identifier, what),
        state="nothing was done",
        help="RDS's reason: " + events_of(identifier),
    )


def copy_failed(identifier: str, what: str) -> RowbackError:
    """The error copy-failed: what RDS said of the copy, and how to remove it."""
    case = identifier.removeprefix(COPY_PREFIX)
    return RowbackError(
        ErrorId.COPY_FAILED,
        f"copy '{identifier}' {what}",
        *_way_out(identifier, what),
        "RDS's reason: " + events_of(identifier),
        state="nothing was written to the original; the copy " + ("is gone" if what == GONE else "still exists"),
        help=f"remove it: rowback close {case}; or, if RDS recovers it: rowback resume {case}",
    )


def too_slow(
    failed: Callable[[str, str], RowbackError], identifier: str, status: str, deadline_s: float
) -> RowbackError:
    """The error for an instance that is not available in time, though nothing failed: it may be waited for longer."""
    error = failed(identifier, f"is still '{status}' after {deadline_s / 60:.0f} min; nothing failed")
    case = identifier.removeprefix(COPY_PREFIX)
    state = "nothing was written to the original; the copy still exists"
    longer = f"wait on: rowback resume {case}; or give it up: rowback close {case}"
    if error.id is not ErrorId.COPY_FAILED:
        state, longer = "nothing was done", f"wait on: rowback wait {identifier} --for 24h"
    return RowbackError(error.id, error.fact, "how far RDS is: " + events_of(identifier), state=state, help=longer)


def events_of(identifier: str) -> str:
    """The command that shows a day of what RDS did to an instance."""
    return f"aws rds describe-events --source-type db-instance --duration 1440 --source-identifier {identifier}"


def _way_out(identifier: str, what: str) -> list[str]:
    """What leads out of the status that is named in `what`."""
    return [way.format(name=identifier) for status, way in WAYS_OUT.items() if f"'{status}'" in what]
