"""Swap: whole tables are built beside the empty ones, under hidden names, and exchanged for them within milliseconds.

Readers and writers go on meanwhile; what they write into the empty tables is taken along under the lock. Under it only
catalogs change, and all definitions must read afterwards as they did before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers, lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.plain_indexes import may_keep_statements
from recovery.postgres.swap.exchange import (
    continue_identities,
    exchange,
    rows_of_others,
    tables_to_exchange_under_lock,
    take_along,
)
from recovery.postgres.swap.hidden_tables import hidden_name
from recovery.postgres.swap.obstacles import swap_obstacles
from recovery.postgres.swap.table_definition import definition_lines
from recovery.reload import load_refusals
from recovery.reload.build_hidden import HiddenTables, NotSwapped, SwapSchemas, add_keys, build_empty
from recovery.reload.load_job import Job, Loaded

WRITERS_WAIT_MS = 1_500  # longer than deadlock_timeout, after which the server ends an autovacuum that is in the way
READERS_WAIT_MS = 200
PATIENCE_S, PAUSE_S = 30.0, 0.2
ROWS_TAKEN_ALONG = 50_000  # under the lock, so many of a table at most


def why_no_swap(original: Session, rows: Mapping[TableName, int], strategy: LoadStrategy) -> str | None:
    """Why the tables are not exchanged; empty where they can be, None where nobody would expect it.

    `rows`: the tables that are loaded whole with the number of rows that they get.
    """
    if strategy in (LoadStrategy.PLAIN, LoadStrategy.IN_PLACE) or sum(rows.values()) < ROWS_IN_PLACE[strategy]:
        return None
    if len({table.schema_name for table in rows}) > 1:
        return "the tables are in several schemas"
    if names := event_triggers(original):
        return f"event trigger {names[0]} would see tables created and dropped"
    if not may_keep_statements(original):
        return "this role may not create the schema that would hide the tables"
    reasons = swap_obstacles(original, list(rows))
    return "; ".join(f"{table}: {reason}" for table, reason in reasons.items())


def rehearse(original: Session, job: Job, schemas: SwapSchemas) -> None:
    """Exchange the tables for empty ones and take it back, before any row is copied. Raises NotSwapped.

    Whatever the server prints otherwise than it reads shows then. The locks are held for as long as in the exchange.
    """
    locked = tables_to_exchange_under_lock(original, job.filled)

    def attempt() -> bool:
        with original.transaction(force_rollback=True):
            empty = build_empty(original, job, schemas)
            if not _lock(original, locked):
                return False
            add_keys(original, empty)
            _exchange(original, job, empty, schemas)
        return True

    _until_locked(original, locked, attempt)


def load_by_swap(
    original: Session,
    job: Job,
    ready: HiddenTables,
    schemas: SwapSchemas,
    *,
    before_commit: Callable[[Loaded], None],
) -> Loaded:
    """Exchange the tables and commit. Raises NotSwapped, with everything rolled back, where that cannot be.

    Raises verify-differs where more was written than expected.
    """
    locked = tables_to_exchange_under_lock(original, job.filled)
    hidden = [hidden_name(schemas.hidden, table) for table in job.filled]
    load_statements.settle_accounts(original)
    done: list[tuple[Loaded, datetime]] = []

    def attempt() -> bool:
        done.clear()
        with load_statements.transaction(original):
            definitions = definitions_digest(original)
            touched = load_statements.touched_tables(original)
            xid = load_statements.transaction_id(original)
            if not load_statements.lock_tables(original, [], alone=hidden, timeout_ms=WRITERS_WAIT_MS):
                return False
            if not _lock(original, locked):
                return False
            since = load_statements.server_time(original)
            taken = _exchange(original, job, ready, schemas)
            load_refusals.refuse_side_effects(taken, touched, load_statements.touched_tables(original))
            loaded = _loaded(original, job, ready, xid, definitions)
            before_commit(_locked(original, loaded, since))
            done.append((loaded, since))
        return True

    _until_locked(original, locked, attempt)
    ((loaded, since),) = done
    return _locked(original, loaded, since)


def _until_locked(original: Session, locked: Sequence[TableName], attempt: Callable[[], bool]) -> None:
    """Try until it was done; what is locked is free for others between two tries. Raises NotSwapped."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with load_statements.unless_blocked():
                if attempt():
                    return
        except ROW_ERRORS as error:
            raise NotSwapped(server_words(error)) from error
        if time.monotonic() > deadline:
            holders = "; ".join(holder.who for holder in lock_holders(original, locked)[:3])
            raise NotSwapped(f"the lock is not free{holders and f': {holders}'}")
        time.sleep(PAUSE_S)


def _lock(original: Session, tables: Sequence[TableName]) -> bool:
    """Writers first, so that an autovacuum gives way; then readers, who wait for so short a time."""
    return load_statements.lock_tables(original, tables, timeout_ms=WRITERS_WAIT_MS) and load_statements.lock_tables(
        original, [], alone=tables, timeout_ms=READERS_WAIT_MS
    )


def _exchange(
    original: Session, job: Job, ready: HiddenTables, schemas: SwapSchemas
) -> dict[TableName, load_statements.Touched]:
    """Under the locks: what others wrote is taken along, the names change. Returns the rows taken along."""
    load_refusals.refuse_other_triggers(original, job.filled, job.held_triggers)
    if definition_lines(original, job.filled) != ready.lines or swap_obstacles(original, job.filled):
        raise NotSwapped("something that hangs on the tables was changed meanwhile")
    taken = _take_along(original, job, schemas)
    for table in job.filled:
        continue_identities(original, schemas.hidden, table)
    exchange(original, job.filled, ready.statements, hidden=schemas.hidden, old=schemas.old)
    if different := definition_lines(original, job.filled) ^ ready.lines:
        raise NotSwapped(f"it would not read as it did: {min(different, key=len)}")
    return {table: load_statements.Touched(table, rows, 0, 0) for table, rows in taken.items()}


def _take_along(original: Session, job: Job, schemas: SwapSchemas) -> dict[TableName, int]:
    """Rows of others in the tables that were empty, parents first."""
    holding = rows_of_others(original, job.filled, at_most=ROWS_TAKEN_ALONG)
    if many := [str(table) for table, rows in holding.items() if rows > ROWS_TAKEN_ALONG]:
        raise NotSwapped(f"others wrote more than {counted(ROWS_TAKEN_ALONG, 'row')} into {', '.join(many)}")
    load_statements.use_search_path_of_role(original)
    load_statements.relax_foreign_keys(original, ForeignKeyMode.DEFERRED)
    taken = {pair.name: take_along(original, schemas.hidden, pair) for pair in job.fills if pair.name in holding}
    load_statements.enforce_foreign_keys(original, ForeignKeyMode.DEFERRED)
    load_statements.pin_search_path(original)
    return taken


def _loaded(original: Session, job: Job, ready: HiddenTables, xid: int, definitions: str) -> Loaded:
    counters = load_statements.counters_of(
        original, job.catalog.sequences, set(job.filled), whole_database=job.whole_database
    )
    return Loaded(
        xids=(xid,),
        written_by={str(table): each for table, each in ready.xids.items()},
        rows={str(table): rows for table, rows in ready.rows.items()},
        touched={str(table): rows for table, rows in ready.rows.items() if rows},
        definitions=definitions,
        sequence_moves=tuple(load_statements.advance_sequences(original, counters, job.truth.sequences)),
        foreign_keys_checked=ready.keys,
        seconds_locked=0.0,
        number=job.repair.number if job.repair else None,
        changes_digest=job.repair.digest if job.repair else "",
        columns=job.repair.columns if job.repair else {},
        indexes_built=ready.indexes,
    )


def _locked(original: Session, loaded: Loaded, since: datetime) -> Loaded:
    """With the time that the tables have been locked, by the server's clock."""
    seconds = (load_statements.server_time(original) - since).total_seconds()
    return loaded.model_copy(update={"seconds_locked": round(seconds, 3)})
