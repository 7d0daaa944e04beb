"""Connections to the original and to the temporary instance, and PostgreSQL's errors in our words."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors as pg

from guards.identity import identify
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.catalog import Identity
from recovery.model.instance import Endpoint
from recovery.postgres.silence import watched_for_silence

CONNECT_TIMEOUT_S = 15
APPLICATION = "rowback"
# A peer that is gone without a word is noticed within half a minute, whatever the query is waiting for.
KEEPALIVE: Mapping[str, str] = {
    "keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}  # fmt: skip


# The server converts nothing in such a database, and refuses bytes that are no UTF-8 from a UTF8 client: a client of
# LATIN1
# may send and get every byte, and each is one character here.
BYTE_BY_BYTE: LiteralString = "set client_encoding = 'LATIN1'"


READ_ONLY: LiteralString = "show default_transaction_read_only"


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose errors know it: with two of them open, blame goes to the right server.

    `target`: how it was reached, so that another session can be had beside it.
    """

    target: Target

    def wait(self, gen: Any, *arguments: Any, **keywords: Any) -> Any:
        """Every exchange with the server passes through here."""
        try:
            blocked = next(gen)
            return super().wait(watched_for_silence(gen, blocked, self), *arguments, **keywords)
        except StopIteration as answered:
            return answered.value
        except psycopg.Error as error:
            _ORIGIN.setdefault(error, self)
            raise


_ORIGIN: WeakKeyDictionary[psycopg.Error, Session] = WeakKeyDictionary()

# Role and database defaults must not cut our own sessions short, nor change how values print.
# row_security off: a policy makes a query fail instead of silently hiding rows.
SETTINGS: tuple[LiteralString, ...] = (
    "set statement_timeout = 0",
    "set lock_timeout = 0",
    # Longer than any comparison leaves a transaction idle; a session that writes has a limit of seconds (watchdog.py).
    "set idle_in_transaction_session_timeout = '4h'",
    # The server notices as well when this machine is asleep or cut off, and gives up what the session holds.
    "set tcp_keepalives_idle = 10",
    "set tcp_keepalives_interval = 5",
    "set tcp_keepalives_count = 3",
    "set row_security = off",
    "set search_path = pg_catalog",
    "set datestyle = 'ISO, YMD'",
    "set intervalstyle = 'postgres'",
    "set timezone = 'UTC'",
    "set extra_float_digits = 1",
    "set bytea_output = 'hex'",
    "set xmloption = 'content'",
    "set client_encoding = 'UTF8'",
    # Rows are looked up by key, thousands at a time: a scan of the whole table for each batch would cost a hundredfold.
    "set random_page_cost = 1.1",
)

# For questions alone: somebody's open migration must not keep them waiting.
IMPATIENT: LiteralString = "set lock_timeout = '3s'"

# Plain SET, by version: `rowback find` reads the log that these stand in, and set_config() might do anything.
NEWER_TIMEOUTS_OFF: Mapping[int, LiteralString] = {
    140000: "set idle_session_timeout = 0", 170000: "set transaction_timeout = 0",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """How to reach one database. `password` None leaves the search to libpq (PGPASSWORD, ~/.pgpass, service)."""

    label: str
    endpoint: Endpoint
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    service: str | None = None
    ca_bundle: Path | None = None
    sslmode: str | None = None
    application: str = APPLICATION

    def named(self, application: str) -> Target:
        """The same database, under another application_name."""
        return replace(self, application=application)

    def to(self, database: str) -> Target:
        """The same server, another database."""
        return replace(self, database=database)

    def parameters(self) -> dict[str, str]:
        """libpq's keywords. Away from loopback the server must prove its name: verify-full, with the CA bundle."""
        host, port = self.endpoint.host, self.endpoint.port
        found = {
            "host": host, "port": str(port), "dbname": self.database, "user": self.user,
            "connect_timeout": str(CONNECT_TIMEOUT_S), "application_name": self.application, **KEEPALIVE,
        }  # fmt: skip
        mode = self.sslmode or ("prefer" if is_loopback(host) else "verify-full")
        found["sslmode"] = mode
        if mode.startswith("verify"):
            found["sslrootcert"] = str(self._bundle())
        if self.service:
            found["service"] = self.service
        if self.password is not None:
            found["password"] = self.password
        return found

    def _bundle(self) -> Path:
        bundle = self.ca_bundle or Path(os.environ.get("PGSSLROOTCERT") or Path.home() / ".postgresql" / "root.crt")
        if not bundle.is_file():
            raise RowbackError(
                ErrorId.CONFIG_INVALID,
                f"the CA bundle to verify '{self.endpoint.host}' with is missing: {bundle}",
                state=NOTHING_CREATED,
                help="download RDS's global-bundle.pem and name it with ca_bundle in rowback.toml or PGSSLROOTCERT",
            )
        return bundle


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine. Decides only about TLS, never about what may be destroyed."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def connect(target: Target, *, state: str = NOTHING_CREATED) -> Iterator[Session]:
    """An autocommit session with rowback's settings. Connection errors leave as RowbackError saying `state`."""
    try:
        session = Session.connect(**target.parameters(), autocommit=True)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise _refused(target, error, state) from error
    except psycopg.ProgrammingError as error:
        raise _unreachable(target, str(error), state) from error
    session.target = target
    with told(session, target, state=state), session:
        for statement in SETTINGS:
            session.execute(statement)
        if session.info.parameter_status("server_encoding") == "SQL_ASCII":
            session.execute(BYTE_BY_BYTE)
        # Role or database may have been frozen after the incident; what we write is asked for by name.
        if (session.info.parameter_status("default_transaction_read_only") or one(session, READ_ONLY)) == "on":
            session.execute("set default_transaction_read_only = off")
        for since, statement in NEWER_TIMEOUTS_OFF.items():
            if session.info.server_version >= since:
                session.execute(statement)
        yield session


@contextmanager
def told(session: Session, target: Target, *, state: str = NOTHING_CREATED) -> Iterator[None]:
    """Errors of `session` inside leave as RowbackError; those of another are left to its own context."""
    try:
        yield
    except psycopg.Error as error:
        if _ORIGIN.get(error, session) is not session:
            raise
        raise _interrupted(target, error, state) from error


def await_answer(target: Target, *, deadline_s: float, pause_s: float) -> None:
    """Return once a server answers at `target`, whether or not it accepts the login. Raises server-unreachable."""
    try:
        _connect_when_not(ErrorId.SERVER_UNREACHABLE, target, deadline_s, pause_s)
    except RowbackError as error:
        if error.id is ErrorId.SERVER_UNREACHABLE:
            raise


def await_login(target: Target, *, deadline_s: float, pause_s: float) -> None:
    """Return once `target` accepts the login. RDS says that a new master password is in force before it is everywhere.

    Raises authentication-failed after the deadline, server-unreachable and database-unknown at once.
    """
    _connect_when_not(ErrorId.AUTHENTICATION_FAILED, target, deadline_s, pause_s)


def _connect_when_not(passing: ErrorId, target: Target, deadline_s: float, pause_s: float) -> None:
    """Connect once, again and again while it fails with `passing`; any other error, and that one after the deadline,
    is raised."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            with connect(target, state="nothing was written to the original"):
                return
        except RowbackError as error:
            if error.id is not passing or time.monotonic() > deadline:
                raise
        time.sleep(pause_s)


def identity_of(session: Session) -> Identity:
    """The server's identity as a value for plans and journals."""
    found = identify(session)
    return Identity(
        system_identifier=found.system_identifier,
        database_oid=found.database_oid,
        database=found.database,
        server_version_num=found.server_version_num,
        started_at=found.started_at,
    )


def client_encoding(session: Session) -> str:
    """In which the session sends and gets text: UTF8, but of a database that knows no encoding."""
    return session.info.parameter_status("client_encoding") or "UTF8"


def one(session: Session, statement: Any, parameters: tuple[object, ...] = ()) -> Any:
    """The first column of the first row."""
    row = session.execute(statement, parameters or None).fetchone()
    if row is None:
        raise LookupError("the statement returned no row")
    return row[0]


def _refused(target: Target, error: psycopg.OperationalError, state: str) -> RowbackError:
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
    return _unreachable(target, words, state)


def _interrupted(target: Target, error: psycopg.Error, state: str) -> RowbackError:
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
        ErrorId.AUTHENTICATION_FAILED, f"user '{target.user}' may not log in to {where} ({target.label})",
        _fatal_line(words), state=state,
        help="check PGUSER with PGPASSWORD, ~/.pgpass, or the credentials of the profile in rowback.toml",
    )  # fmt: skip


def _database_unknown(target: Target, state: str) -> RowbackError:
    return RowbackError(
        ErrorId.DATABASE_UNKNOWN, f"{target.label} has no database '{target.database}'", *_near(target),
        state=state,
        help=[
            "correct the name; which there are: psql -l",
            "if it was dropped: rows go only into databases that exist, so restore the whole instance as of then under"
            f" another name (rowback runbook show lost-instance), and take '{target.database}' out of it with pg_dump",
        ],
    )  # fmt: skip


def _near(target: Target) -> list[str]:
    """The nearest names of databases that do exist, when the server lets us ask."""
    try:
        with psycopg.connect(**target.to("postgres").parameters()) as session:  # type: ignore[arg-type]
            names = [row[0] for row in session.execute("select datname from pg_database where datallowconn")]
    except psycopg.Error:
        return []
    near = get_close_matches(target.database, names, n=3, cutoff=0.4)
    return [f"nearest names: {', '.join(near)}"] if near else []


def _unreachable(target: Target, words: str, state: str) -> RowbackError:
    help = "check security group, VPN or tunnel, then run the same command again"
    if "SSL error" in words or "certificate" in words:
        bundle = target.parameters().get("sslrootcert", "none")
        help = f"check ca_bundle: it must hold the CA that signed the server's certificate (now: {bundle})"
    return RowbackError(
        ErrorId.SERVER_UNREACHABLE,
        f"no connection to {target.label} at {target.endpoint.host}:{target.endpoint.port}",
        _fatal_line(words), state=state, help=help,
    )  # fmt: skip


def _fatal_line(words: str) -> str:
    """The server's first refusal: with sslmode prefer libpq tries again without TLS and appends another."""
    lines = words.splitlines() or ["the server said nothing"]
    fatal = next((line for line in lines if "FATAL:" in line), lines[-1])
    return fatal.rpartition("FATAL:")[2].strip()
