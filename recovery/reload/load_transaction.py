"""Put the rows back: one short transaction that locks, writes, proves and only then commits.

Tables that the comparison found to fit as they were are loaded whole; all others get exactly the rows of a change set.
The transaction's id is recorded before COMMIT. After a crash `pg_xact_status` says whether it committed, so the load
happens exactly once and leaves no table behind but the before-images (docs/decisions/001).

A row that the server refuses ends its transaction. The next one tries that table's rows first, behind a savepoint, and
leaves out those that fail (row_writes.Tries); a savepoint around the writes themselves would give the rows an id of its
own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from recovery.changeset.batches import Selection
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import RowTransport
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.isolate_bad_rows import NO_ROOM, ROW_ERRORS, lacks_locks, refused_table, server_words
from recovery.postgres.plain_indexes import index_oids
from recovery.postgres.staging.not_valid_constraints import lift, put_back
from recovery.postgres.staging.write_before_images import drop_before_images
from recovery.reload import load_refusals
from recovery.reload.foreign_keys_by_sets import lock_parents_outside
from recovery.reload.load_job import BeforeImages, Job, Loaded, Repair
from recovery.reload.load_proofs import expected_changes, prove_before_commit
from recovery.reload.prepare_load import PreparedLoad, prepare, relation_of_images, tables_to_lock
from recovery.reload.restore_large_objects import bring_objects
from recovery.reload.row_writes import RowsHeld, RowsRefused, RowWriter, Tries
from recovery.reload.skip_rows import left_as_they_are, note_skipped, skip_unwritable

MAXIMUM_PAUSE_S = 2.0


def load(
    original: Session, job: Job, transport: RowTransport | None, *, before_commit: Callable[[Loaded], None]
) -> Loaded:
    """Write the planned rows and commit.

    Raises RowbackError, with everything rolled back, unless all is proven first: whole tables were empty under lock and
    equal T, repaired tables hold exactly the planned rows beside what they held, every foreign key holds, nothing else
    was touched.
    """
    names: list[TableName] = []
    tries = Tries()
    attempts, blocking = 0, frozenset[str]()
    while attempts < job.lock_attempts:
        locked = False
        try:
            with load_statements.unless_blocked(), load_statements.transaction(original):
                ready = prepare(original, job, tries.row_by_row)
                names = tables_to_lock(job, ready)
                alone = job.repair.alone_on if job.repair else []
                blocking = _report_blocking_sessions(original, job, names, blocking)
                if load_statements.lock_tables(original, names, alone=alone, timeout_ms=job.lock_timeout_ms):
                    locked_at = load_statements.server_time(original)
                    loaded = _write(original, job, ready, transport, tries)
                    before_commit(_locked(original, loaded, locked_at))
                    locked = True
            if locked:
                return _locked(original, loaded, locked_at)
        except RowsHeld:
            tries = replace(tries, waited=tries.waited + 1)
        except RowsRefused as refused:
            _refuse_whole(job, tries, refused)
            tries = tries.after(refused.words, ready.busy)
            continue
        except NO_ROOM as error:
            if job.repair and job.selection is Selection.EVERYTHING and lacks_locks(error):
                raise load_refusals.so_many_locks(len(job.repair.changes.shapes())) from error
            raise
        time.sleep(min(0.1 * 2**attempts, MAXIMUM_PAUSE_S))  # let the writers through before asking again
        attempts += 1
    raise load_refusals.not_free(
        job.database, f"{job.lock_attempts} tries of {job.lock_timeout_ms} ms", lock_holders(original, names)
    )


def _refuse_whole(job: Job, tries: Tries, refused: RowsRefused) -> None:
    """Rows that the server refuses are tried one by one the next time, but for these. Raises load-refused.

    Of a table that was loaded whole that is noted: compared row by row, it can be loaded without them.
    """
    for table in refused.words.keys() & set(job.filled):
        job.refused(table)
    for table, words in refused.words.items():
        if job.all_or_nothing or table in tries.row_by_row or table in job.filled:
            raise load_refusals.rows_refused(table, words) from refused


def _locked(original: Session, loaded: Loaded, since: datetime) -> Loaded:
    """With the time that the tables have been locked, by the server's clock: this machine may have slept."""
    return loaded.model_copy(
        update={"seconds_locked": round((load_statements.server_time(original) - since).total_seconds(), 3)}
    )


def _report_blocking_sessions(
    original: Session, job: Job, names: Sequence[TableName], reported: frozenset[str]
) -> frozenset[str]:
    """Report the sessions whose locks block the load before waiting for them, except those in `reported` already."""
    blocking = {holder.ended_by: holder for holder in lock_holders(original, names) if holder.writes}
    for ended_by in blocking.keys() - reported:
        job.say(f"waiting for a lock: {blocking[ended_by].who}; to end it: {ended_by}")
    return frozenset(blocking)


def _write(original: Session, job: Job, ready: PreparedLoad, transport: RowTransport | None, tries: Tries) -> Loaded:
    load_refusals.refuse_rows(original, job.filled)
    xid = load_statements.transaction_id(original)
    skipped = skip_unwritable(original, job, ready, tries, xid)
    batch = job.repair is not None and job.selection is Selection.BATCH
    brought = bring_objects(original, job, skipped)
    triggers_to_hold = load_statements.to_hold(job.held_triggers, {*job.filled, *ready.busy}, ready.mode)
    load_statements.hold_triggers(original, triggers_to_hold)
    checks = lift(original, job.repair.lifted if job.repair else ())
    before = load_statements.touched_tables(original)
    by_event_triggers = _between(ready.touched, before)
    load_statements.relax_foreign_keys(original, ready.mode)
    load_statements.use_search_path_of_role(original)
    writer = RowWriter(original, job, ready.busy, ready.order, ready.rules, tries)
    rows, written = writer.write(transport)
    _enforce_foreign_keys(original, ready)
    if ready.mode is ForeignKeyMode.SETS:
        lock_parents_outside(original, job)
    load_statements.pin_search_path(original)
    built = index_oids(original, writer.built)
    after = load_statements.touched_tables(original)
    before |= {table: load_statements.plus(before.get(table), tried) for table, tried in writer.tried.items()}
    for name in tries.row_by_row & ready.busy.keys():
        drop_before_images(ready.busy[name])
    load_statements.release_triggers(original, triggers_to_hold)
    put_back(original, checks)
    skipped = note_skipped(job, ready, xid)
    aside, stay = left_as_they_are(job, skipped)
    keys = prove_before_commit(original, job, ready.busy, written, xid)
    load_refusals.refuse_changed_definitions(ready.definitions, definitions_digest(original, without=built))
    load_refusals.refuse_side_effects(expected_changes(rows, written), before, after)
    if not batch:
        load_refusals.refuse_nothing(
            sum(rows.values()) + sum(table_rows.total for table_rows in written.values()), skipped.values()
        )
    inserting = {*job.filled, *(name for name, table_rows in written.items() if table_rows.inserted)}
    counters = load_statements.counters_of(
        original, job.catalog.sequences, inserting, whole_database=job.whole_database
    )
    return Loaded(
        xids=(xid,),
        partial=batch,
        rows={str(table): count for table, count in rows.items()},
        touched={str(table): count for table, change in after.items() if (count := _more(change, before.get(table)))},
        definitions=definitions_digest(original) if built else ready.definitions,
        sequence_moves=tuple(load_statements.advance_sequences(original, counters, job.truth.sequences)),
        foreign_keys_checked=len(keys),
        seconds_locked=0.0,
        number=job.repair.number if job.repair else None,
        written={str(table): table_rows for table, table_rows in written.items()},
        skipped=len(skipped),
        set_aside=aside,
        not_deleted=stay,
        large_objects=brought,
        changes_digest=job.repair.digest if job.repair else "",
        columns=job.repair.columns if job.repair else {},
        images=_images(job.repair, ready),
        by_event_triggers=dict(by_event_triggers + _between(after, load_statements.touched_tables(original))),
        indexes_built=len(built),
    )


def _enforce_foreign_keys(original: Session, ready: PreparedLoad) -> None:
    """Check now what was deferred. Raises RowsRefused where a row of these tables breaks it."""
    try:
        load_statements.enforce_foreign_keys(original, ready.mode)
    except ROW_ERRORS as error:
        table = refused_table(error)
        if table is None or table not in ready.order:
            raise
        raise RowsRefused({table: server_words(error)}) from error


def _images(repair: Repair | None, ready: PreparedLoad) -> dict[str, BeforeImages]:
    if repair is None:
        return {}
    return {
        str(name): BeforeImages(relation=relation_of_images(repair, stage), digest=stage.kept)
        for name, stage in ready.busy.items()
    }


def _more(after: load_statements.Touched, before: load_statements.Touched | None) -> int:
    """Row changes since `before`: the server's accounts may still hold those of the session's last transaction."""
    since = load_statements.minus(after, before)
    return since.inserted + since.updated + since.deleted


def _between(
    before: Mapping[TableName, load_statements.Touched], after: Mapping[TableName, load_statements.Touched]
) -> Counter[str]:
    """Row changes by event triggers: between two readings the load changed only definitions."""
    return Counter({str(table): rows for table, now in after.items() if (rows := _more(now, before.get(table)))})
