"""Refusals and failures of RDS instances, with the next command."""

from __future__ import annotations

from collections.abc import Sequence

from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy
from recovery.model.instance import (
    COPY_PREFIX,
)

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


def not_available(identifier: str, what: str) -> RowbackError:
    """The error instance-unsuitable: the instance is in a state that forbids what was asked."""
    return RowbackError(
        ErrorId.INSTANCE_UNSUITABLE,
        f"instance '{identifier}' {what}",
        state="nothing was done",
        help="RDS's reason: aws rds describe-events --source-type db-instance --duration 60 --source-identifier "
        + identifier,
    )


def copy_failed(identifier: str, what: str) -> RowbackError:
    """The error copy-failed: what RDS said of the copy, and how to remove it."""
    case = identifier.removeprefix(COPY_PREFIX)
    return RowbackError(
        ErrorId.COPY_FAILED,
        f"copy '{identifier}' {what}",
        "RDS's reason: aws rds describe-events --source-type db-instance --duration 60 --source-identifier "
        + identifier,
        state="nothing was written to the original; the copy " + ("is gone" if what == GONE else "still exists"),
        help=f"remove it: rowback close {case}; or, if RDS recovers it: rowback resume {case}",
    )
