"""Skip the rows that cannot be written any more, durably, before the others are."""

from __future__ import annotations

from collections.abc import Mapping

from recovery.changeset.batches import Selection
from recovery.changeset.planned_account import not_deleted, set_aside
from recovery.changeset.stage_changes import lock_referenced, mark_again, mark_unwritable
from recovery.model.account import Reason
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.staging.row_locks import IN_USE
from recovery.postgres.staging.write_before_images import drop_before_images
from recovery.reload import load_refusals
from recovery.reload.load_job import Job
from recovery.reload.prepare_load import PreparedLoad
from recovery.reload.row_writes import RowsHeld, Tries

GIVE_WAY = 5  # tries that let a session end which holds a row that is to be deleted

ReasonsByTable = dict[str, tuple[Reason, ...]]


def skip_unwritable(original: Session, job: Job, ready: PreparedLoad, tries: Tries, xid: int) -> dict[int, str]:
    """Skip what cannot be written any more, note that durably, and keep before-images of everything else alone.

    Returns the skipped rows: number → reason. Raises RowsHeld when a session holds rows that are to be deleted, and may
    be let through first.
    """
    if job.repair is None:
        return {}
    marks = {name: stage.marks for name, stage in ready.busy.items()}
    load_statements.use_search_path_of_role(original)
    keys = job.catalog.visible_keys
    mark_unwritable(ready.stages, ready.rules, keys, job.filled)
    held = lock_referenced(ready.stages, keys)
    if held and tries.waited < min(GIVE_WAY, job.lock_attempts - 1):
        raise RowsHeld
    for name, numbers in (held or {}).items():
        ready.stages[name].set_aside(numbers, IN_USE)
    if held is not None:
        mark_again(ready.stages, ready.rules, keys, job.filled)
    for name, stage in ready.busy.items():
        if stage.marks > marks[name]:
            drop_before_images(stage)
    load_statements.pin_search_path(original)
    skipped = note_skipped(job, ready, xid)
    if job.selection is Selection.BATCH:
        job.repair.changes.batches.claim(xid)
    return skipped


def note_skipped(job: Job, ready: PreparedLoad, xid: int) -> dict[int, str]:
    """Record the rows that transaction `xid` skips in the change set: number → reason, which are returned."""
    if job.repair is None:
        return {}
    skipped = {n: why for stage in ready.stages.values() for n, why in stage.skipped()}
    job.repair.changes.skip(xid, skipped.items())
    return skipped


def left_as_they_are(job: Job, skipped: Mapping[int, str]) -> tuple[ReasonsByTable, ReasonsByTable]:
    """Of the rows that were skipped, those that do not come back, and those that are not deleted.

    Raises load-refused where there are any and the job is all or nothing.
    """
    if job.repair is None:
        return {}, {}
    aside, stay = set_aside(job.repair.changes, skipped), not_deleted(job.repair.changes, skipped)
    if job.all_or_nothing:
        load_refusals.refuse_part(aside, stay)
    return aside, stay
