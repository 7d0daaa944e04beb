"""Make anew what was dropped: definitions, rows, and what holds them together, in one transaction that proves itself.

New tables have no readers and no writers, so nothing is locked while their rows come. Tables that are there are locked
at the end alone, for what hung on them: foreign keys, triggers, partitions that are attached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Sequence as Counter
from recovery.model.catalog import Table
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.table_parts import LostParts
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers, lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import CopyTransport, Pair
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.fill_columns import GivenBack
from recovery.postgres.lost_columns import (
    finish_parts,
    give_back_columns,
    note_hanging,
    refuse_rewritten,
    stage_all,
)
from recovery.postgres.made_anew import (
    analyze,
    fill_views,
    privileges,
    run_definitions,
    set_counters,
    wait_for_locks_at_most,
)
from recovery.postgres.owners import member_of
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.schemas import make_schemas
from recovery.reload import load_refusals
from recovery.reload.load_job import AtTarget, Loaded, ValuesBack


@dataclass(frozen=True)
class Recreation:
    """What is made anew, and how.

    `schemas`: that no archive holds. `before_rows`, `after_rows`: statements that make tables and the like, and those
    that make what hangs on rows. `tables`: that get rows, as they were at T; `relations`: everything that has rows or
    views of them afterwards. `parts`: what tables that are there get back; `with_columns`: statements that need these,
    run before `after_rows`; `late_tables`: that they make, and that get rows. `existing`: tables that are there and get
    something back; `alone`: those of them that are locked against readers. `privileges`: on relations, as they were.
    `materialized`: views to be filled. `counters`: sequences that are made, where they stood at T.
    """

    database: str
    schemas: Sequence[DroppedSchema]
    before_rows: bytes
    with_columns: bytes
    after_rows: bytes
    owners: frozenset[str]
    tables: Sequence[Table]
    late_tables: Sequence[Table]
    parts: Sequence[LostParts]
    relations: frozenset[TableName]
    privileges: Mapping[TableName, tuple[str, ...]]
    existing: Sequence[TableName]
    alone: Sequence[TableName]
    materialized: Sequence[TableName]
    counters: Sequence[Counter]
    truth: AtTarget
    lock_timeout_ms: int
    lock_attempts: int
    foreign_keys: int = 0
    say: Callable[[str], None] = field(default=lambda text: None)


def recreate(original: Session, copy: Session, what: Recreation, *, before_commit: Callable[[Loaded], None]) -> Loaded:
    """Make it and commit.

    Raises RowbackError, with everything rolled back, unless the rows equal those of T and nothing else was changed.
    """
    with load_statements.transaction(original):
        xid = load_statements.transaction_id(original)
        wait_for_locks_at_most(original, what.lock_timeout_ms)
        with member_of(original, what.owners, state=ROLLED_BACK):
            make_schemas(original, what.schemas)
            run_definitions(original, what.before_rows, state=ROLLED_BACK)
            rows = _load_rows(original, copy, what, what.tables)
            stages = stage_all(original, copy, what.parts)
            locked_at = _lock_existing(original, what)
            refuse_rewritten(original, what.parts)
            back = give_back_columns(original, what.parts, stages, what.counters)
            run_definitions(original, what.with_columns, state=ROLLED_BACK)
            rows |= _load_rows(original, copy, what, what.late_tables)
            finish_parts(original, what.parts, back)
            run_definitions(original, what.after_rows, state=ROLLED_BACK)
            set_counters(original, what.counters)
            fill_views(original, what.materialized)
            made = (*what.tables, *what.late_tables)
            analyze(original, [each.name for each in made] + [lost.table for lost in what.parts if lost.stored])
            _refuse_other_privileges(original, what)
            note_hanging(original, what.parts, back)
        load_statements.pin_search_path(original)
        loaded = _loaded(original, what, xid, {str(name): count for name, count in rows.items()}, back)
        since = locked_at if what.existing else load_statements.server_time(original)
        seconds = (load_statements.server_time(original) - since).total_seconds()
        loaded = loaded.model_copy(update={"seconds_locked": round(seconds, 3)})
        before_commit(loaded)
    return loaded


def _refuse_other_privileges(original: Session, what: Recreation) -> None:
    """Default privileges of today are given to whatever is made. Raises verify-differs."""
    now = privileges(original, what.privileges.keys())
    if differing := [str(name) for name, items in what.privileges.items() if now.get(name) != items]:
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS,
            f"{', '.join(differing[:20])} would have other privileges than at T",
            "default privileges that were set since are given to whatever is made",
            state=ROLLED_BACK,
            help="alter default privileges … revoke … (\\ddp lists them), rowback resume CASE, then set them again",
        )


def rehearse(original: Session, what: Recreation, definitions: bytes) -> None:
    """Make `definitions` in a transaction that is rolled back: what the server refuses is known beforehand.

    Raises what the server says, and privilege-missing.
    """
    with original.transaction(force_rollback=True):
        wait_for_locks_at_most(original, what.lock_timeout_ms)
        with member_of(original, what.owners, state="nothing was written to the original"):
            make_schemas(original, what.schemas)
            run_definitions(original, definitions, state="nothing was written to the original")
    load_statements.pin_search_path(original)


def _load_rows(original: Session, copy: Session, what: Recreation, tables: Sequence[Table]) -> dict[TableName, int]:
    """Into tables that were just made; rows per table. Raises verify-differs unless they are those of T."""
    pairs = _pairs(original, tables)
    rows = CopyTransport(copy).load(original, pairs)
    load_refusals.refuse_differences(original, pairs, what.truth.fingerprints, what.truth.oldest_version_num)
    return dict(rows)


def _pairs(original: Session, tables: Sequence[Table]) -> list[Pair]:
    now = read_catalog(original)
    pairs = []
    for table in tables:
        made = now.table(table.name)
        if made is None or {column.name for column in made.columns} != {column.name for column in table.columns}:
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"{table.name} was not made as it was at T",
                state=ROLLED_BACK,
                help="an event trigger may have changed it; report this as a bug with the plan",
            )
        pairs.append(Pair(table, made))
    return pairs


def _lock_existing(original: Session, what: Recreation) -> datetime:
    """Lock what is there before it is changed, and without losing the rows that were loaded. Returns since when."""
    for attempt in range(what.lock_attempts if what.existing else 0):
        if load_statements.lock_tables(original, what.existing, alone=what.alone, timeout_ms=what.lock_timeout_ms):
            break
        if attempt == 0:
            holders = lock_holders(original, list(what.existing))
            what.say(
                "waiting for locks" + "".join(f"; {holder.who}; to end it: {holder.ended_by}" for holder in holders)
            )
        time.sleep(min(0.1 * 2**attempt, 2.0))
    else:
        if what.existing:
            tried = f"{what.lock_attempts} tries of {what.lock_timeout_ms} ms"
            raise load_refusals.not_free(what.database, tried, lock_holders(original, list(what.existing)))
    return load_statements.server_time(original)


def _loaded(original: Session, what: Recreation, xid: int, rows: dict[str, int], back: GivenBack) -> Loaded:
    """Raises verify-differs where the transaction wrote rows of other tables and no event trigger explains that."""
    touched = load_statements.touched_tables(original)
    _refuse_written(back, touched)
    expected = what.relations | back.written.keys()
    others = {table: change for table, change in touched.items() if table not in expected}
    triggers = event_triggers(original)
    if others and not triggers:
        load_refusals.refuse_side_effects({}, {}, others)
    return Loaded(
        xids=(xid,),
        rows=rows,
        touched={name: count for name, count in rows.items() if count},
        definitions=definitions_digest(original),
        sequence_moves=(),
        foreign_keys_checked=what.foreign_keys,
        seconds_locked=0.0,
        values_back={
            name: ValuesBack(rows=back.rows[name], content=content) for name, content in back.contents.items()
        },
        hanging=back.hanging,
        differing=tuple(back.differing),
        by_event_triggers={
            str(table): change.inserted + change.updated + change.deleted for table, change in others.items()
        },
    )


def _refuse_written(done: GivenBack, touched: Mapping[TableName, load_statements.Touched]) -> None:
    """The server's own counts must be those of our statements. Raises verify-differs."""
    for table, rows in done.written.items():
        change = touched.get(table, load_statements.Touched(table, 0, 0, 0))
        if (change.inserted, change.updated, change.deleted) != (0, rows, 0):
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"{table}: {counted(rows, 'row')} were to be written; the server counts {change.inserted:,} inserted,"
                f" {change.updated:,} updated, {change.deleted:,} deleted",
                state=ROLLED_BACK,
                help="find the trigger or rule that did it, and disable it for the load",
            )
