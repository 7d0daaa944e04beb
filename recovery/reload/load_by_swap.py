"""Swap: whole tables are built beside the empty ones, under hidden names, and exchanged for them within milliseconds.

Readers and writers go on meanwhile; what they write into the empty tables is taken along under the lock. Under it only
catalogs change, and all definitions must read afterwards as they did before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers
from recovery.postgres.connect import Session
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.isolate_bad_rows import DEFINITION_ERRORS, server_words
from recovery.postgres.plain_indexes import may_create_schema
from recovery.postgres.swap.brief_locks import LockNotFree, lock_alone, until_locked
from recovery.postgres.swap.exchange import (
    exchange,
    relations_of,
    tables_to_lock,
)
from recovery.postgres.swap.hidden_tables import hidden_name
from recovery.postgres.swap.obstacles import swap_obstacles
from recovery.postgres.swap.rows_of_others import OthersRows, how_many
from recovery.postgres.swap.table_definition import definition_lines
from recovery.reload import load_refusals
from recovery.reload.build_hidden import HiddenTables, NotSwapped, SwapSchemas, add_keys, build_empty
from recovery.reload.load_job import Job, Loaded
from recovery.reload.row_writes import RowsRefused

RELATIONS_AT_ONCE = 200  # exchanged under one lock, for some milliseconds each
ROWS_FOLLOWED = 200_000  # of others in all tables together; under the lock they are compared with what was copied
ROWS_REHEARSED = 2_000  # copied under the lock of the rehearsal
ROUNDS, FEW_ROWS = 10, 200
NO_KEY = "whose rows no key tells apart"


def why_no_swap(original: Session, tables: Collection[TableName]) -> str:
    """What keeps the tables from being exchanged together; empty where nothing does."""
    if len({table.schema_name for table in tables}) > 1:
        return "the tables are in several schemas"
    if names := event_triggers(original):
        return f"event trigger {names[0]} would see tables created and dropped"
    if not may_create_schema(original):
        return "this role may not create the schema that would hide the tables"
    if relations_of(original, tables) > RELATIONS_AT_ONCE:
        return f"together they have more than {RELATIONS_AT_ONCE} tables and indexes, which would be locked for long"
    return _listed(swap_obstacles(original, tables))


def _listed(reasons: Mapping[TableName, str]) -> str:
    return "; ".join(f"{table}: {reason}" for table, reason in reasons.items())


def rehearse(original: Session, job: Job, schemas: SwapSchemas) -> None:
    """Exchange the tables for empty ones and take it back, before any row is copied. Raises NotSwapped.

    So an expression of which PostgreSQL's text, read again, prints as another one is found before the work is done. The
    locks are held for as long as in the exchange.
    """
    locked = tables_to_lock(original, job.filled)

    def attempt(wait_ms: int) -> bool:
        with original.transaction(force_rollback=True):
            empty = build_empty(original, job, schemas)
            others = _others(original, job, schemas)
            if sum(how_many(original, job.filled, at_most=ROWS_REHEARSED).values()) > ROWS_REHEARSED:
                others = []
            if not lock_alone(original, locked, wait_ms=wait_ms):
                return False
            add_keys(original, empty)
            _exchange(original, job, empty, schemas, others)
        return True

    _or_not_swapped(lambda: until_locked(original, locked, attempt))


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
    locked = tables_to_lock(original, job.filled)
    hidden = [hidden_name(schemas.hidden, table) for table in job.filled]
    done: list[tuple[Loaded, datetime]] = []
    others = _others(original, job, schemas)
    followed = {each.table for each in others}

    def attempt(wait_ms: int) -> bool:
        done.clear()
        _catch_up(original, others)
        load_statements.settle_accounts(original)
        with load_statements.transaction(original):
            definitions = definitions_digest(original)
            touched = load_statements.touched_tables(original)
            xid = load_statements.transaction_id(original)
            if not lock_alone(original, hidden, wait_ms=wait_ms):
                return False
            since = load_statements.server_time(original)
            if not lock_alone(original, locked, wait_ms=wait_ms):
                return False
            if late := how_many(original, [table for table in job.filled if table not in followed], at_most=0):
                raise NotSwapped(f"others began to write into {', '.join(map(str, late))} meanwhile, {NO_KEY}")
            _exchange(original, job, ready, schemas, others)
            written = {each.table: load_statements.Touched(each.table, each.came, 0, each.left) for each in others}
            load_refusals.refuse_side_effects(written, touched, load_statements.touched_tables(original))
            loaded = _loaded(original, job, ready, xid, definitions)
            before_commit(_locked(original, loaded, since))
            done.append((loaded, since))
        return True

    _or_not_swapped(lambda: until_locked(original, locked, attempt))
    ((loaded, since),) = done
    return _locked(original, loaded, since)


def _or_not_swapped(act: Callable[[], None]) -> None:
    """Call `act`. Raises NotSwapped for what the server refuses, and for locks that are not free."""
    try:
        act()
    except DEFINITION_ERRORS as error:
        raise NotSwapped(server_words(error)) from error
    except RowsRefused as refused:
        raise NotSwapped("; ".join(refused.words.values())) from refused
    except LockNotFree as error:
        raise NotSwapped(str(error)) from error


def _exchange(
    original: Session, job: Job, ready: HiddenTables, schemas: SwapSchemas, others: Sequence[OthersRows]
) -> None:
    """Under the locks: what others wrote is taken along, the names change.

    Some definitions change without a lock on their table (rights, comments): they are read right before the exchange.
    """
    load_refusals.refuse_other_triggers(original, job.filled, job.held_triggers)
    _follow(original, others)
    if reasons := swap_obstacles(original, job.filled):
        raise NotSwapped(_listed(reasons))
    if definition_lines(original, job.filled) != ready.lines:
        raise NotSwapped("the tables, or what depends on them, were altered meanwhile")
    exchange(original, job.filled, ready.statements, hidden=schemas.hidden, old=schemas.old)
    if different := definition_lines(original, job.filled) ^ ready.lines:
        raise NotSwapped(f"it would not read as it did: {min(different, key=len)}")


def _others(original: Session, job: Job, schemas: SwapSchemas) -> list[OthersRows]:
    """What others write into the tables, parents first. Raises NotSwapped where no key tells their rows apart.

    They may be T's own, put back from elsewhere, and would be there twice.
    """
    holding = how_many(original, job.filled, at_most=ROWS_FOLLOWED)
    if sum(holding.values()) > ROWS_FOLLOWED:
        raise NotSwapped(f"others wrote more than {counted(ROWS_FOLLOWED, 'row')} into the tables meanwhile")
    if keyless := [str(pair.name) for pair in job.fills if pair.name in holding and not pair.original.key]:
        raise NotSwapped(f"others wrote into {', '.join(keyless)} meanwhile, {NO_KEY}")
    keyed = [pair for pair in job.fills if pair.original.key]
    return [OthersRows(original, pair, schemas.hidden, number) for number, pair in enumerate(keyed)]


def _catch_up(original: Session, others: Sequence[OthersRows]) -> None:
    """Copy what others wrote so far, until little is left for the lock."""
    for _ in range(ROUNDS):
        with load_statements.one_snapshot(original):  # no child without its parent
            _follow(original, others)
            if sum(each.came + each.left for each in others) <= FEW_ROWS:
                return


def _follow(original: Session, others: Sequence[OthersRows]) -> None:
    """Bring the new tables to what others have written by now: children leave first, parents come first."""
    load_statements.use_search_path_of_role(original)
    load_statements.relax_foreign_keys(original, ForeignKeyMode.DEFERRED)
    for each in reversed(others):
        each.count_anew()
        each.leave()
    for each in others:
        each.come()
    load_statements.enforce_foreign_keys(original, ForeignKeyMode.DEFERRED)
    load_statements.pin_search_path(original)


def _loaded(original: Session, job: Job, ready: HiddenTables, xid: int, definitions: str) -> Loaded:
    counters = load_statements.counters_of(
        original, job.catalog.sequences, set(job.filled), whole_database=job.whole_database
    )
    return Loaded(
        xids=(xid,),
        written_by={str(table): each.xid for table, each in ready.copied.items()},
        rows={str(table): each.rows for table, each in ready.copied.items()},
        touched={str(table): each.rows for table, each in ready.copied.items() if each.rows},
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
