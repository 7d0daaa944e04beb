"""Indexes that a load dropped and did not build: recorded before they go, built again at every end, or reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from recovery.errors import ErrorId, RowbackError
from recovery.model.plain_index import PlainIndex, named_indexes
from recovery.model.values import TableName
from recovery.postgres.change_consumers import lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.plain_indexes import remove_empty_schema
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.reload.load_in_place import build_again, drop_before_load, unbuilt
from recovery.reload.load_job import DroppedIndexes, Job
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.steps.load_records import batches_of

DROPPING, DROPPED, BUILT = "indexes.dropping", "indexes.dropped", "indexes.built"
LOCK_MS, DEADLINE_S, AT_ONCE_S = 1_000, 60.0, 5.0
STILL_TO_BUILD = "they were dropped for a load that did not get to its end, and are still to be built"


def unbuilt_indexes(case: Case) -> list[PlainIndex]:
    """Indexes that a load of the case dropped, or was about to, and that are not known to be there again."""
    dropping = case.noted(DROPPING)
    if len(dropping) == len(case.noted(BUILT)):
        return []
    return [PlainIndex.model_validate(index) for index in dropping[-1]["indexes"]]


@contextmanager
def indexes_dropped(recovery_run: RecoveryRun, original: Session, what: Job) -> Iterator[Job]:
    """The job for inside, where the plan's indexes are away. Afterwards they are there, loaded or not.

    An index that cannot be built at the end of a failed load is left to `settle_indexes`; the load's own error is what
    is raised. Where batches of a paced load have committed, the tables are loaded already, and nothing is dropped.
    """
    repair = recovery_run.case.repair_plan
    planned = [index for index in (repair.rebuilt if repair else ()) if index.table in what.filled]
    if not planned or batches_of(recovery_run.case):
        yield what
        return
    schema = before_image_schema(recovery_run.case.id)
    recovery_run.record(DROPPING, data={"indexes": [index.model_dump(mode="json") for index in planned]})
    with ExitStack() as otherwise:
        otherwise.callback(_build_if_possible, recovery_run)
        dropped = drop_before_load(original, schema, planned, recovery_run.listener.notice)
        recovery_run.record(DROPPED, data={"indexes": [str(index.relation) for index in dropped]})
        yield replace(what, dropped_indexes=DroppedIndexes(schema, dropped))
        otherwise.pop_all()
    settle_indexes(recovery_run)


def _build_if_possible(recovery_run: RecoveryRun) -> None:
    try:
        settle_indexes(recovery_run, patience_s=AT_ONCE_S)
    except RowbackError as error:
        recovery_run.listener.notice(error.fact)


def settle_indexes(recovery_run: RecoveryRun, *, patience_s: float | None = None, then: str = "") -> None:
    """Build what a load dropped and did not build. The database itself says what that is.

    Each by itself: one that cannot be built keeps no other away. `then`: the command that goes on from an error.

    Raises lock-not-granted, load-refused with the reason of each, or what the server answers.
    """
    case = recovery_run.case
    if not (recorded := unbuilt_indexes(case)):
        return
    then = then or f"rowback resume {case.id}, or rowback close {case.id}"
    schema = before_image_schema(case.id)
    deadline = time.monotonic() + (DEADLINE_S if patience_s is None else patience_s)
    refused: dict[PlainIndex, str] = {}
    with recovery_run.original() as original:
        while missing := [index for index in unbuilt(original, schema, recorded) if index not in refused]:
            for index in missing:
                if reason := build_again(original, schema, index, timeout_ms=LOCK_MS):
                    refused[index] = reason
            busy = [index for index in unbuilt(original, schema, missing) if index not in refused]
            if busy and time.monotonic() > deadline:
                raise _not_free(original, busy, then)
        if refused:
            raise _not_built(schema, refused, then)
        remove_empty_schema(original, schema)
    recovery_run.record(BUILT)


def _not_free(original: Session, missing: list[PlainIndex], then: str) -> RowbackError:
    tables: dict[TableName, None] = {index.table: None for index in missing}
    return RowbackError(
        ErrorId.LOCK_NOT_GRANTED,
        f"{named_indexes(missing)} cannot be built: the tables are in use",
        *(f"{holder.who}; to end it: {holder.ended_by}" for holder in lock_holders(original, tables) if holder.writes),
        state=STILL_TO_BUILD,
        help=f"once the tables are free: {then}; that builds them first",
    )


def _not_built(schema: str, refused: dict[PlainIndex, str], then: str) -> RowbackError:
    return RowbackError(
        ErrorId.LOAD_REFUSED,
        f"{named_indexes(refused)} cannot be built",
        *(f"{index.relation}: {reason}" for index, reason in refused.items()),
        f"the statements that build them: select obj_description('{schema}'::regnamespace)",
        state=STILL_TO_BUILD,
        help=(
            f"make room for them (a deleted row counts while older transactions run), then: {then}",
            f"or, if they are not wanted any more: comment on schema {schema} is null, then the same",
        ),
    )
