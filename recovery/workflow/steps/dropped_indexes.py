"""Indexes that a load drops: recorded before they go, and built again whatever becomes of the load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from recovery.errors import ErrorId, RowbackError
from recovery.model.load_strategy import PlainIndex, named_indexes
from recovery.model.values import TableName
from recovery.postgres.change_consumers import lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.reload.load_job import DroppedIndexes, Job
from recovery.reload.rebuild_indexes import build_missing, drop_before_load
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun

DROPPING, DROPPED, BUILT = "indexes.dropping", "indexes.dropped", "indexes.built"
LOCK_MS, DEADLINE_S = 1_000, 60.0


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
    is raised.
    """
    repair = recovery_run.case.repair_plan
    planned = [index for index in (repair.rebuilt if repair else ()) if index.table in what.filled]
    if not planned:
        yield what
        return
    schema = before_image_schema(recovery_run.case.id)
    recovery_run.record(DROPPING, data={"indexes": [index.model_dump(mode="json") for index in planned]})
    with ExitStack() as otherwise:
        otherwise.callback(_build_if_possible, recovery_run)
        dropped = drop_before_load(original, schema, planned)
        recovery_run.record(DROPPED, data={"indexes": [str(index.relation) for index in dropped]})
        if staying := [index for index in planned if index not in dropped]:
            recovery_run.listener.notice(
                f"the rows are entered into {named_indexes(staying)} one by one: the table is in use, or they changed"
            )
        yield replace(what, dropped_indexes=DroppedIndexes(schema, dropped))
        otherwise.pop_all()
    recovery_run.record(BUILT)


def _build_if_possible(recovery_run: RecoveryRun) -> None:
    try:
        settle_indexes(recovery_run)
    except RowbackError as error:
        unbuilt = named_indexes(unbuilt_indexes(recovery_run.case))
        recovery_run.listener.notice(f"still to be built: {unbuilt}: {error.fact}")


def settle_indexes(recovery_run: RecoveryRun) -> None:
    """Build what a load dropped that did not get to its end. Raises lock-not-granted, or what the server answers."""
    case = recovery_run.case
    if not (unbuilt := unbuilt_indexes(case)):
        return
    deadline = time.monotonic() + DEADLINE_S
    with recovery_run.original() as original:
        while not build_missing(original, before_image_schema(case.id), unbuilt, timeout_ms=LOCK_MS):
            if time.monotonic() > deadline:
                raise _not_free(original, case, unbuilt)
    recovery_run.record(BUILT)


def _not_free(original: Session, case: Case, unbuilt: list[PlainIndex]) -> RowbackError:
    tables: dict[TableName, None] = {index.table: None for index in unbuilt}
    return RowbackError(
        ErrorId.LOCK_NOT_GRANTED,
        f"{named_indexes(unbuilt)} cannot be built: the tables are in use",
        *(f"{holder.who}; to end it: {holder.ended_by}" for holder in lock_holders(original, tables) if holder.writes),
        state="they were dropped for a load that did not get to its end, and are still to be built",
        help=f"once the tables are free: rowback resume {case.id}, or rowback close {case.id}; both build them first",
    )
