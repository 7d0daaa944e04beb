"""One row that the server refuses does not keep the others away: find it, set it aside with the server's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg import errors as pg

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.redaction import Redactor

Row = TypeVar("Row")

# What is wrong with rows or their table, not with the server, the connection or the moment.
ROW_ERRORS: tuple[type[psycopg.Error], ...] = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
    pg.ProgramLimitExceeded,
    pg.StatementTooComplex,
    pg.TriggeredActionException,
    pg.InternalError_,
    pg.ObjectNotInPrerequisiteState,
)
# Of these, what only other rows could help.
BAD_ROWS: tuple[type[psycopg.Error], ...] = (psycopg.DataError, psycopg.IntegrityError)
# What an index that is built meets beside that: a limit that rows entered one by one stay below.
BUILD_ERRORS: tuple[type[psycopg.Error], ...] = (*ROW_ERRORS, pg.ConfigurationLimitExceeded)
NO_ROOM: tuple[type[psycopg.Error], ...] = (pg.OutOfMemory,)
# What a change of definitions meets beside that.
DEFINITION_ERRORS: tuple[type[psycopg.Error], ...] = (
    *BUILD_ERRORS,
    *NO_ROOM,
    pg.DependentObjectsStillExist,
    pg.ObjectInUse,
)
REFUSED_AT_MOST = 500  # rows of one table tried one by one; beyond them the rest is set aside together


def try_rows(
    session: Session,
    rows: Sequence[Row],
    attempt: Callable[[Sequence[Row]], None],
    set_aside: Callable[[Sequence[Row], str], None],
) -> None:
    """Call `attempt` with all rows, and where the server refuses, with ever fewer of them.

    Each time behind a savepoint. `set_aside` is called with the rows that fail by themselves and the server's words.
    Costs one attempt where no row fails, else about two for each halving on the way to a failing row.
    """
    refused = 0
    untried = [rows] if rows else []
    while untried:
        part = untried.pop()
        try:
            with session.transaction():
                attempt(part)
            continue
        except ROW_ERRORS as error:
            words = server_words(error)
        if len(part) == 1 or refused >= REFUSED_AT_MOST:
            refused += len(part)
            together = "" if len(part) == 1 else f" (as {refused - len(part):,} rows before it; not tried one by one)"
            with session.transaction():
                set_aside(part, words + together)
        else:
            half = len(part) // 2
            untried += [part[half:], part[:half]]


def lacks_locks(error: psycopg.Error) -> bool:
    """Whether one of NO_ROOM is about the table of locks, which is sized by max_locks_per_transaction."""
    return "max_locks_per_transaction" in str(error)


def refused_table(error: psycopg.Error) -> TableName | None:
    """The table that the server names when one of ROW_ERRORS is about a row of it."""
    schema, table = error.diag.schema_name, error.diag.table_name
    return TableName(schema_name=schema, name=table) if schema and table else None


def server_words(error: psycopg.Error) -> str:
    """What the server said, in one line. It may quote what it was sent, so secrets are masked: reasons are stored."""
    message = error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
    return Redactor.of_this_process()(f"the server refuses it: {message}")
