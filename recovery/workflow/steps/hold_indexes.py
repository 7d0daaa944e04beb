"""Plain indexes of large tables that are loaded whole are away while the rows arrive.

They are dropped in a transaction of a moment, because a lock against readers must not last as long as a load, and built
in the load's own. Their definitions are recorded before they go, so whatever ends in between leads to their return: the
load itself, a refusal, the next command of the case after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import LiteralString

from recovery.errors import RowbackError
from recovery.model.held_index import HELD_FROM_ROWS, HeldIndex
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers
from recovery.postgres.connect import Session
from recovery.postgres.plain_indexes import build_indexes, drop_indexes, plain_indexes, still_missing
from recovery.reload.load_job import Job
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun

AWAY, BACK = "load.indexes", "load.indexes_back"
LOCK_MS, LOCK_TRIES = 250, 4  # readers queue behind the lock
BUILD_LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '5s'"  # of a writer who has not ended


@contextmanager
def indexes_held(recovery_run: RecoveryRun, original: Session, job: Job) -> Iterator[Job]:
    """`job` with the indexes that it has to build; none where they stay, or cannot be dropped now."""
    held = _to_hold(recovery_run, original, job)
    if not held:
        yield job
        return
    recovery_run.record(AWAY, data={"indexes": [index.model_dump(mode="json") for index in held]})
    try:
        if any(drop_indexes(original, held, timeout_ms=LOCK_MS) for _ in range(LOCK_TRIES)):
            recovery_run.listener.notice(f"{_number(held)} dropped, to be built from all rows at once")
            yield replace(job, held_indexes=tuple(held))
        else:
            yield job
    except BaseException:
        with _noticed(recovery_run):
            bring_back(recovery_run)
        raise
    bring_back(recovery_run)


@contextmanager
def _noticed(recovery_run: RecoveryRun) -> Iterator[None]:
    """What keeps the indexes away is a notice: the error is the load's own, and names them as well (paused_lines)."""
    try:
        yield
    except RowbackError as error:
        for line in (error.fact, *error.facts):
            recovery_run.listener.notice(line)


def indexes_away(case: Case) -> list[HeldIndex]:
    """The indexes that a load of the case may have dropped, and that are not known to be back."""
    dropped = case.noted(AWAY)
    if len(dropped) == len(case.noted(BACK)):
        return []
    return [HeldIndex.model_validate(each) for each in dropped[-1]["indexes"]]


def bring_back(recovery_run: RecoveryRun) -> None:
    """Build what a load dropped and did not build. Raises what keeps it from that, with the statements that do it."""
    held = indexes_away(recovery_run.case)
    if not held:
        return
    try:
        with recovery_run.original() as original, original.transaction():
            original.execute(BUILD_LOCK_TIMEOUT)
            missing = still_missing(original, held)
            load_statements.use_search_path_of_role(original)
            build_indexes(original, missing)
    except RowbackError as error:
        lines = [f"index {index.relation} may be away: {index.definition}" for index in held]
        help = f"once that is mended: rowback resume {recovery_run.case.id}, or close it; either builds them"
        raise RowbackError(error.id, error.fact, *error.facts, *lines, state=error.state, help=help) from error
    recovery_run.record(BACK, data={"built": len(missing)})


def _to_hold(recovery_run: RecoveryRun, original: Session, job: Job) -> list[HeldIndex]:
    large = [
        table.oid
        for table in job.catalog.tables
        if table.name in job.filled and job.rows_to_fill(table.name) >= HELD_FROM_ROWS
    ]
    # Event triggers would act on our DROP and CREATE; batches are for writers who must not wait for whole tables.
    if not large or recovery_run.case.pace is not None or event_triggers(original):
        return []
    return plain_indexes(original, large)


def _number(held: Sequence[HeldIndex]) -> str:
    return f"{len(held):,} plain index{'es' * (len(held) != 1)}"
