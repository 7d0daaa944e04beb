"""In place: the plain indexes of a table are dropped before its rows come, and built from all of them afterwards.

Entering millions of rows into an index one by one takes several times as long as building it, and writes several times
the WAL. The indexes go in a transaction of their own that holds its lock for milliseconds, so that readers never wait
for the rows; they come back in the load's transaction, or without rows where there is no load after all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy, PlainIndex
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import event_triggers
from recovery.postgres.connect import Session
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.plain_indexes import (
    build_indexes,
    drop_indexes,
    forget_statements,
    may_keep_statements,
    missing_indexes,
    plain_indexes,
)
from recovery.postgres.read_catalog import nonempty
from recovery.reload import load_refusals
from recovery.reload.row_writes import RowsRefused

LOCK_MS, LOCK_TRIES, PAUSE_S = 200, 25, 0.2  # who reads the table waits behind us so long at most


def choose_indexes(
    original: Session, rows: Mapping[TableName, int], strategy: LoadStrategy
) -> tuple[list[PlainIndex], list[str]]:
    """The indexes to be dropped before tables are loaded whole, and a line for each that has to stay, with the reason.

    `rows`: those tables with the number of rows that they get.
    """
    fewest = {LoadStrategy.AUTO: ROWS_IN_PLACE, LoadStrategy.IN_PLACE: 1}
    if strategy is LoadStrategy.PLAIN:
        return [], []
    reasons = plain_indexes(original, [name for name, count in rows.items() if count >= fewest[strategy]])
    if not reasons:
        return [], []
    if in_general := _objection(original):
        reasons = dict.fromkeys(reasons, in_general)
    notices = [
        f'{index.table}: index "{index.name}" stays while the rows are loaded: {reason}'
        for index, reason in reasons.items()
        if reason
    ]
    return [index for index, reason in reasons.items() if not reason], notices


def _objection(original: Session) -> str:
    if names := event_triggers(original):
        return f"event trigger {names[0]} would see it dropped and created"
    return "" if may_keep_statements(original) else "this role may not create the schema that would keep its definition"


def drop_before_load(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> list[PlainIndex]:
    """Drop those of `indexes` that are still what was planned, table by table, each in a transaction of its own.

    A table that holds rows by now, or whose lock is not free, keeps its indexes. Returns the dropped ones.
    """
    dropped: list[PlainIndex] = []
    for table in dict.fromkeys(index.table for index in indexes):
        for attempt in range(LOCK_TRIES):
            if attempt:
                time.sleep(PAUSE_S)
            gone = _drop_of_table(original, schema, table, [index for index in indexes if index.table == table])
            if gone is not None:
                dropped += gone
                break
    return dropped


def _drop_of_table(
    original: Session, schema: str, table: TableName, planned: Sequence[PlainIndex]
) -> list[PlainIndex] | None:
    """The dropped indexes of one table; None where its lock was not free."""
    dropped = None
    with load_statements.unless_blocked(), load_statements.transaction(original):
        if load_statements.lock_tables(original, [], alone=[table], timeout_ms=LOCK_MS):
            now = plain_indexes(original, [table])
            as_planned = [index for index in planned if now.get(index) == ""]
            droppable = [] if nonempty(original, [table]) else as_planned
            if droppable:
                drop_indexes(original, schema, droppable)
            dropped = droppable
    return dropped


def build_after_rows(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> None:
    """Build the dropped indexes from the rows, in the open transaction. Raises RowsRefused for rows that do not fit."""
    for table in dict.fromkeys(index.table for index in indexes):
        try:
            build_indexes(original, [index for index in indexes if index.table == table])
        except ROW_ERRORS as error:
            raise RowsRefused({table: server_words(error)}) from error
    if not indexes:
        return
    forget_statements(original, schema)
    now = plain_indexes(original, {index.table for index in indexes})
    load_refusals.refuse_other_indexes([index for index in indexes if index not in now])


def build_missing(original: Session, schema: str, indexes: Sequence[PlainIndex], *, timeout_ms: int) -> bool:
    """Build those of `indexes` that are not there, in one transaction; False where a table's lock was not free."""
    built = False
    with load_statements.unless_blocked(), load_statements.transaction(original):
        tables = list(dict.fromkeys(index.table for index in missing_indexes(original, indexes)))
        if not tables or load_statements.lock_tables(original, tables, timeout_ms=timeout_ms):
            build_indexes(original, missing_indexes(original, indexes))
            forget_statements(original, schema)
            built = True
    return built
