"""One statement of a runbook on a live database, under a timeout."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.postgres.connect import Target, connect
from recovery.postgres.repair.rules import expression


def ask(where: Target | str, statement: str, *, timeout_s: float) -> list[tuple[Any, ...]]:
    """The rows of one statement. `where`: a target, or a DSN of libpq.

    Raises what connecting raises, and usage with the server's words."""
    try:
        if isinstance(where, str):
            with psycopg.connect(where, autocommit=True) as session:
                return _rows(session, statement, timeout_s)
        with connect(where) as session:
            session.execute("set search_path = default")
            return _rows(session, statement, timeout_s)
    except psycopg.Error as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RowbackError(
            ErrorId.USAGE, f"the statement failed: {words}", state=NOTHING_CREATED, help="correct it, or the database"
        ) from error


def _rows(session: psycopg.Connection[Any], statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
    session.execute("select set_config('statement_timeout', %s, false)", (f"{timeout_s * 1000:.0f}",))
    cursor = session.execute(expression(statement), prepare=True)
    return list(cursor) if cursor.description else []


def literal(value: str) -> str:
    """A value as SQL text."""
    return sql.Literal(value).as_string(None)


def identifier(name: str) -> str:
    """A name as SQL text: `schema.table` as two parts."""
    return sql.Identifier(*name.split(".")).as_string(None)
