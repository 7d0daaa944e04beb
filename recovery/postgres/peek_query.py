"""One read-only query on the copy."""

from __future__ import annotations

import psycopg

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import user_sql

Rows = list[tuple[str | None, ...]]


def peek(copy: Session, query: str) -> tuple[list[str], Rows]:
    """Column names and rows, every value as PostgreSQL prints it. Raises usage with the server's words.

    The session is read-only, and a prepared statement holds a single command.
    """
    try:
        with copy.transaction(force_rollback=True):
            copy.execute("set transaction read only")
            copy.execute("set local search_path = default")
            cursor = copy.execute(user_sql(query), prepare=True)
            if cursor.description is None:
                raise _refused("it returns no rows")
            names = [column.name for column in cursor.description]
            return names, [tuple(None if value is None else _text(value) for value in row) for row in cursor]
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError, psycopg.NotSupportedError) as error:
        raise _refused((str(error).splitlines() or ["?"])[0]) from error


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _refused(words: str) -> RowbackError:
    return RowbackError(
        ErrorId.USAGE,
        f"the query cannot be run on the copy: {words}",
        state="nothing was changed",
        help="write one SELECT; the copy is read-only",
    )
