"""Text that becomes SQL: the server's own, and the user's."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql


def trusted_sql(text: str) -> sql.SQL:
    """A definition's own text as SQL. Only ever what the server printed of its catalog."""
    literal: LiteralString = text
    return sql.SQL(literal)


def user_sql(text: str) -> sql.SQL:
    """The user's own condition or query as SQL.

    Only for statements that are prepared, so that they hold one command, on a read-only transaction or after
    `refuses_predicate` has found it to be one condition.
    """
    literal: LiteralString = text
    return sql.SQL(literal)
