"""In place: the non-unique indexes of a table are dropped before its rows come, and built from all of them afterwards.

Entering millions of rows into an index one by one takes several times as long as building it, and writes several times
the WAL. The indexes go in a transaction of their own that holds its lock for milliseconds, so that readers never wait
for the rows; they come back in the load's transaction, or without rows where there is no load after all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy
from recovery.model.plain_index import PlainIndex
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers, lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.isolate_bad_rows import BUILD_ERRORS, ROW_ERRORS, server_words
from recovery.postgres.plain_indexes import (
    build_indexes,
    drop_indexes,
    kept_statements,
    may_create_schema,
    plain_indexes,
    table_oid,
    why_not_again,
)
from recovery.postgres.read_catalog import nonempty

# Longer than deadlock_timeout, after which the server ends an autovacuum that is in the way; readers go on.
WRITERS_WAIT_MS = 1_500
READERS_WAIT_MS = 200  # who reads the table then waits behind us so long at most
PATIENCE_S, PAUSE_S = 10.0, 0.2


class IndexesNotBuilt(Exception):
    """Indexes cannot be built from the rows, in the server's words; entered one by one the rows may fit."""


def choose_indexes(
    original: Session, rows: Mapping[TableName, int], strategy: LoadStrategy
) -> tuple[list[PlainIndex], list[str]]:
    """The indexes to be dropped before tables are loaded whole, and lines for those that stay, with the reason.

    `rows`: those tables with the number of rows that they get.
    """
    if strategy is LoadStrategy.PLAIN:
        return [], []
    reasons = plain_indexes(original, [name for name, count in rows.items() if count >= ROWS_IN_PLACE[strategy]])
    if not reasons:
        return [], []
    if in_general := _objection(original):
        reasons = dict.fromkeys(reasons, in_general)
    reasons = {index: reason or why_not_again(original, index) for index, reason in reasons.items()}
    staying: dict[tuple[TableName, str], list[str]] = {}
    for index, reason in reasons.items():
        if reason:
            staying.setdefault((index.table, reason), []).append(f'"{index.name}"')
    notices = [
        f"{table}: {', '.join(names)} stay while the rows are loaded: {reason}"
        for (table, reason), names in staying.items()
    ]
    return [index for index, reason in reasons.items() if not reason], notices


def _objection(original: Session) -> str:
    if names := event_triggers(original):
        return f"event trigger {names[0]} would see it dropped and created"
    return "" if may_create_schema(original) else "this role may not create the schema that would keep its definition"


def drop_before_load(
    original: Session, schema: str, indexes: Sequence[PlainIndex], say: Callable[[str], None]
) -> list[PlainIndex]:
    """Drop those of `indexes` that are still what was planned, table by table, each in a transaction of its own.

    A table that holds rows by now, or whose lock is not free within PATIENCE_S, keeps its indexes, and `say` tells so.
    Returns the dropped ones.
    """
    dropped: list[PlainIndex] = []
    waiting = [] if _objection(original) else list(dict.fromkeys(index.table for index in indexes))
    deadline = time.monotonic() + PATIENCE_S
    while waiting and time.monotonic() < deadline:
        table = waiting.pop(0)
        gone = _drop_of_table(original, schema, table, [index for index in indexes if index.table == table])
        if gone is None:
            waiting.append(table)  # the others first
            time.sleep(PAUSE_S / len(waiting))
        else:
            dropped += gone
    if waiting:
        holders = "; ".join(holder.who for holder in lock_holders(original, waiting)[:3])
        say(f"indexes of {', '.join(map(str, waiting))} stay: the lock is not free{holders and f': {holders}'}")
    return dropped


def _drop_of_table(
    original: Session, schema: str, table: TableName, planned: Sequence[PlainIndex]
) -> list[PlainIndex] | None:
    """The dropped indexes of one table; None where its lock was not free.

    Writers are locked out first: under that lock it is seen whether the table is empty, and readers go on.
    """
    dropped: list[PlainIndex] | None = None
    try:
        with load_statements.unless_blocked(), load_statements.transaction(original):
            if not load_statements.lock_tables(original, [table], timeout_ms=WRITERS_WAIT_MS):
                return None
            now = plain_indexes(original, [table])
            droppable = [index for index in planned if now.get(index) == ""]
            if nonempty(original, [table]) or not droppable:
                return []
            if load_statements.lock_tables(original, [], alone=[table], timeout_ms=READERS_WAIT_MS):
                drop_indexes(original, schema, droppable)
                dropped = droppable
    except ROW_ERRORS:  # what would keep them from going keeps nobody from loading
        return []
    return dropped


def build_after_rows(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> None:
    """Build the dropped indexes of a table from its rows, in the open transaction. Raises IndexesNotBuilt."""
    load_statements.pin_search_path(original)
    try:
        build_indexes(original, schema, indexes)
    except BUILD_ERRORS as error:
        raise IndexesNotBuilt(server_words(error)) from error
    if other := _not_as_planned(original, indexes):
        raise IndexesNotBuilt(f"{', '.join(str(index.relation) for index in other)} would not be what it was")
    load_statements.use_search_path_of_role(original)


def unbuilt(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> list[PlainIndex]:
    """Those of `indexes` that are still to be built, as the database itself says."""
    kept = kept_statements(original, schema)
    return _not_as_planned(original, [index for index in indexes if str(index.relation) in kept])


def build_again(original: Session, schema: str, index: PlainIndex, *, timeout_ms: int) -> str | None:
    """Build one index in a transaction of its own. Returns the reason where that cannot be; None: its lock is not free.

    Empty when it is built.
    """
    reason: str | None = None
    try:
        with load_statements.unless_blocked(), load_statements.transaction(original):
            if table_oid(original, index.table) != index.table_oid:
                return f"the table that it was dropped from is not called {index.table} any more"
            if load_statements.lock_tables(original, [index.table], timeout_ms=timeout_ms):
                build_indexes(original, schema, [index])
                reason = ""
    except ROW_ERRORS as error:
        return server_words(error)
    return reason


def _not_as_planned(original: Session, indexes: Sequence[PlainIndex]) -> list[PlainIndex]:
    now = plain_indexes(original, {index.table for index in indexes})
    return [index for index in indexes if index not in now]
