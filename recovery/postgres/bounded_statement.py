"""One statement of a runbook on a live database, under a timeout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.values import name_parts
from recovery.postgres.connect import connect
from recovery.postgres.connection_target import KEEPALIVE, Target
from recovery.postgres.trusted_sql import user_sql
from recovery.redaction import remember

Judged = TypeVar("Judged")
Judge = Callable[[list[tuple[Any, ...]], int], Judged]


class StatementScope(StrEnum):
    """What one statement is run in.

    Nothing but itself, a transaction that ends as it is judged, or one that cannot write.
    """

    STATEMENT = "statement"
    ONE_TRANSACTION = "transaction"
    READ_ONLY = "read-only transaction"


def ask(
    where: Target | str, statement: str, judge: Judge[Judged], *, timeout_s: float, scope: StatementScope
) -> Judged:
    """What `judge` makes of one statement's rows and of how many it gave or changed. `where`: a target, or a DSN.

    A transaction is rolled back if `judge` raises. Raises what connecting raises, what `judge` raises, and usage with
    the server's words.
    """
    try:
        with _opened(where) as session:
            session.execute("select set_config('statement_timeout', %s, false)", (f"{timeout_s * 1000:.0f}",))
            with nullcontext() if scope is StatementScope.STATEMENT else session.transaction():
                if scope is StatementScope.READ_ONLY:
                    session.execute("set transaction read only")
                return judge(*_rows(session, statement))
    except psycopg.Error as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RowbackError(
            ErrorId.USAGE, f"the statement failed: {words}", state=NOTHING_CREATED, help="correct it, or the database"
        ) from error


@contextmanager
def _opened(where: Target | str) -> Iterator[psycopg.Connection[Any]]:
    if isinstance(where, str):
        with psycopg.connect(**_parameters(where), autocommit=True) as session:
            yield session
        return
    with connect(where) as session:
        session.execute("set search_path = default")
        yield session


def _parameters(dsn: str) -> dict[str, Any]:
    """Libpq's words about a text that it cannot parse quote it, and it may be any secret: they are not passed on."""
    try:
        parameters = conninfo_to_dict(dsn, **KEEPALIVE)
    except psycopg.ProgrammingError:
        raise RowbackError(
            ErrorId.USAGE,
            "the variable of the connection holds no connection string",
            state=NOTHING_CREATED,
            help="it has to be like postgresql://USER@HOST:PORT/DATABASE or 'host=HOST dbname=DATABASE user=USER'",
        ) from None
    remember(str(parameters.get("password") or ""))
    return parameters


def _rows(session: psycopg.Connection[Any], statement: str) -> tuple[list[tuple[Any, ...]], int]:
    cursor = session.execute(user_sql(statement), prepare=True)
    return (list(cursor) if cursor.description else []), max(cursor.rowcount, 0)


def literal(value: str) -> str:
    """A value as SQL text."""
    return sql.Literal(value).as_string(None)


def identifier(name: str) -> str:
    """A name as SQL text: `schema.table` as two parts, unless quotes say otherwise."""
    return sql.Identifier(*name_parts(name)).as_string(None)
