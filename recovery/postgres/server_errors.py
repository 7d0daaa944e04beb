"""PostgreSQL's errors in rowback's words."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg

from recovery.errors import ErrorId, RowbackError
from recovery.model.nearest import nearest, nearest_line
from recovery.postgres.connection_target import Target
from recovery.postgres.tunnel import words_of


def connection_refused(target: Target, error: psycopg.OperationalError, state: str) -> RowbackError:
    """The error for a connection that the server did not accept: login, database, TLS, or too many clients."""
    words = str(error).strip()
    where = f"'{target.database}' on {target.endpoint.host}:{target.endpoint.port}"
    match error:
        case pg.InvalidCatalogName():
            return _database_unknown(target, state)
        case pg.InvalidPassword() | pg.InvalidAuthorizationSpecification():
            return _not_authenticated(target, where, words, state)
    if "does not exist" in words and f'database "{target.database}"' in words:
        return _database_unknown(target, state)
    if any(sign in words for sign in ("password authentication failed", "no password supplied", "no pg_hba.conf")):
        return _not_authenticated(target, where, words, state)
    return server_unreachable(target, words, state)


def session_failed(target: Target, error: psycopg.Error, state: str) -> RowbackError:
    """An error in the middle of our work; every one of our transactions has been rolled back by the server."""
    words = str(error).strip().splitlines() or [type(error).__name__]
    match error:
        case pg.InsufficientPrivilege():
            id, help = (
                ErrorId.PRIVILEGE_MISSING,
                f"log in as the tables' owner, or grant this to '{target.user}'",
            )
        case pg.LockNotAvailable() | pg.DeadlockDetected():
            id, help = (
                ErrorId.LOCK_NOT_GRANTED,
                "see who holds the lock: select * from pg_stat_activity; a prepared transaction: pg_prepared_xacts",
            )
        case pg.ProgramLimitExceeded() | pg.StatementTooComplex():
            id, help = ErrorId.LOAD_REFUSED, "leave that table out: --except TABLE, or load it beside: --mode beside"
        case pg.OutOfMemory() if "max_locks_per_transaction" in str(error):
            id, help = (
                ErrorId.LOAD_REFUSED,
                "so many tables take more locks than the server has room for: repair them in parts (--table), or raise"
                " max_locks_per_transaction in the parameter group, which takes a reboot",
            )
        case pg.DiskFull():
            id, help = ErrorId.DISK_FULL, f"give {target.label} more storage"
        case psycopg.OperationalError():
            id, help = ErrorId.STOPPED_MIDWAY, "check that the server is up"
        case _:
            id, help = ErrorId.LOAD_REFUSED, "the server's own words are above"
    return RowbackError(
        id, f"{target.label}, database '{target.database}': {words[0]}", *words[1:], state=state, help=help
    )


def _not_authenticated(target: Target, where: str, words: str, state: str) -> RowbackError:
    return RowbackError(
        ErrorId.AUTHENTICATION_FAILED,
        f"user '{target.user}' may not log in to {where} ({target.label})",
        _fatal_line(words),
        state=state,
        help="check PGUSER with PGPASSWORD, ~/.pgpass, or the credentials of the profile in rowback.toml",
    )


def _database_unknown(target: Target, state: str) -> RowbackError:
    return RowbackError(
        ErrorId.DATABASE_UNKNOWN,
        f"{target.label} has no database '{target.database}'",
        *_near(target),
        state=state,
        help=[
            "correct the name; which there are: psql -l",
            "if it was dropped: rows go only into databases that exist, so restore the whole instance as of then under"
            f" another name (rowback runbook show lost-instance), and take '{target.database}' out of it with pg_dump",
        ],
    )


def _near(target: Target) -> list[str]:
    """The nearest names of databases that do exist, when the server lets us ask."""
    try:
        with psycopg.connect(**target.to("postgres").parameters()) as session:  # type: ignore[arg-type]
            names = [row[0] for row in session.execute("select datname from pg_database where datallowconn")]
    except psycopg.Error:
        return []
    near = nearest(target.database, names)
    return [nearest_line(near, "")] if near else []


def server_unreachable(target: Target, words: str, state: str) -> RowbackError:
    """The error for a server that does not answer; `words`: what libpq said."""
    help = "check security group, VPN or tunnel, then run the same command again"
    if "SSL error" in words or "certificate" in words:
        help = f"check ca_bundle: it must hold the CA that signed the server's certificate (now: {target.named_bundle})"
    return RowbackError(
        ErrorId.SERVER_UNREACHABLE,
        f"no connection to {target.label} at {target.endpoint.host}:{target.endpoint.port}",
        _fatal_line(words),
        *words_of(target.tunnel, target.endpoint),
        state=state,
        help=help,
    )


def _fatal_line(words: str) -> str:
    """The server's first refusal: with sslmode prefer libpq tries again without TLS and appends another."""
    lines = words.splitlines() or ["the server said nothing"]
    fatal = next((line for line in lines if "FATAL:" in line), lines[-1])
    return fatal.rpartition("FATAL:")[2].strip()


def connection_lost(error: BaseException | None) -> bool:
    """Whether the server, or the way to it, went away: nothing was wrong with what was being done."""
    match error:
        case RowbackError():
            return error.id in {ErrorId.STOPPED_MIDWAY, ErrorId.SERVER_UNREACHABLE}
        case psycopg.OperationalError():
            return error.sqlstate is None or error.sqlstate.startswith("57P")  # it shuts down, or an administrator did
        case _:
            return False
