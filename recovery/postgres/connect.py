"""Sessions on the original and on the copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from psycopg import Transaction

from guards.server_identity import identify
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.catalog import DatabaseIdentity
from recovery.postgres.connection_target import Target
from recovery.postgres.dead_peer_warning import watched_for_silence
from recovery.postgres.server_errors import connection_refused, server_unreachable, session_failed

# The server converts nothing in such a database, and refuses bytes that are no UTF-8 from a UTF8 client: a client of
# LATIN1 may send and get every byte, and each is one character here.
BYTE_BY_BYTE: LiteralString = "set client_encoding = 'LATIN1'"

READ_ONLY: LiteralString = "show default_transaction_read_only"


class _StatementLock:
    """Held while a statement is executed, and rows of a COPY are read.

    psycopg's own lock lets a thread that sends another statement meanwhile wait for itself, for ever.
    """

    def __init__(self) -> None:
        self._lock, self._holder = threading.Lock(), 0

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise AssertionError("a statement was sent to a session whose rows are still being read")
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._holder = 0
        self._lock.release()


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose errors know it: with two of them open, blame goes to the right server.

    `target`: how it was reached, so that another session can be had beside it. `end_of_rows`: cancels the statement
    whose rows are being read.
    """

    target: Target
    end_of_rows: Callable[[], None] | None = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.lock = _StatementLock()  # type: ignore[assignment]  # used as a context manager alone

    @contextmanager
    def transaction(  # psycopg's own signature
        self,
        savepoint_name: str | None = None,
        force_rollback: bool = False,  # noqa: FBT001, FBT002
    ) -> Iterator[Transaction]:
        """As psycopg has it; an error inside ends what is still being read, which would keep ROLLBACK away."""
        with super().transaction(savepoint_name, force_rollback) as transaction, ExitStack() as otherwise:
            otherwise.callback(self.leave_rows)
            yield transaction
            otherwise.pop_all()  # without an error nothing is cancelled: that would turn COMMIT into ROLLBACK

    def leave_rows(self) -> None:
        """Cancel the statement whose rows are being read, if there is one; they are not read to their end."""
        if self.end_of_rows is not None:
            self.end_of_rows()

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

NO_STATEMENT_TIMEOUT: LiteralString = "set statement_timeout = 0"
LIFTING_TRIES = 100
# Role and database defaults must not cut our own sessions short, nor change how values print.
# row_security off: a policy makes a query fail instead of silently hiding rows.
SETTINGS: tuple[LiteralString, ...] = (
    "set lock_timeout = 0",
    "set default_transaction_isolation = 'read committed'",  # what is asked under a lock sees what came before it
    # Longer than any comparison leaves a transaction idle; one that writes has a limit of seconds (lock_watchdog.py).
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

# For questions alone: an open migration must not keep them waiting.
IMPATIENT: LiteralString = "set lock_timeout = '3s'"

# Plain SET, by version: `rowback find` reads the log that these stand in, and set_config() might do anything.
NEWER_TIMEOUTS_OFF: Mapping[int, LiteralString] = {
    140000: "set idle_session_timeout = 0",
    170000: "set transaction_timeout = 0",
}


@contextmanager
def connect(target: Target, *, state: str = NOTHING_CREATED) -> Iterator[Session]:
    """An autocommit session with rowback's settings. Raises connection errors as RowbackError that say `state`."""
    try:
        session = Session.connect(**target.parameters(), autocommit=True)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise connection_refused(target, error, state) from error
    except psycopg.ProgrammingError as error:
        raise server_unreachable(target, str(error), state) from error
    session.target = target
    with translate_errors(session, target, state=state), session:
        _pin_settings(session)
        try:
            yield session
        finally:
            session.leave_rows()  # or closing it would meet them


def _pin_settings(session: Session) -> None:
    """Neither the role's nor the database's defaults change what we read, or end it."""
    _lift_statement_timeout(session)
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


def _lift_statement_timeout(session: Session) -> None:
    """The limit of the role or database holds for the statement that lifts it too, and may be a millisecond."""
    for _ in range(LIFTING_TRIES - 1):
        try:
            session.execute(NO_STATEMENT_TIMEOUT)
            return
        except psycopg.errors.QueryCanceled:
            continue
    session.execute(NO_STATEMENT_TIMEOUT)


@contextmanager
def translate_errors(session: Session, target: Target, *, state: str = NOTHING_CREATED) -> Iterator[None]:
    """Raise errors of `session` inside as RowbackError; those of another are left to its own context."""
    try:
        yield
    except psycopg.Error as error:
        if _ORIGIN.get(error, session) is not session:
            raise
        raise session_failed(target, error, state) from error


def await_answer(target: Target, *, deadline_s: float, pause_s: float) -> None:
    """Return once a server answers at `target`, whether or not it accepts the login. Raises server-unreachable."""
    try:
        _connect_when_not({ErrorId.SERVER_UNREACHABLE}, [lambda: target], deadline_s, pause_s)
    except RowbackError as error:
        if error.id is ErrorId.SERVER_UNREACHABLE:
            raise


def await_login(ways: Sequence[Callable[[], Target]], *, deadline_s: float, pause_s: float) -> int:
    """Return once the server accepts one of the logins `ways`: which. Each is made anew whenever it is tried.

    RDS says that a new master password is in force before it is everywhere, restarts a restored server once more, and
    resolvers remember for a while that its name did not exist.

    Raises authentication-failed and server-unreachable after the deadline, database-unknown at once.
    """
    passing = {ErrorId.AUTHENTICATION_FAILED, ErrorId.SERVER_UNREACHABLE}
    return _connect_when_not(passing, ways, deadline_s, pause_s)


def _connect_when_not(
    passing: Collection[ErrorId], ways: Sequence[Callable[[], Target]], deadline_s: float, pause_s: float
) -> int:
    """Connect once, by one way after the other, again and again while it fails with one of `passing`.

    Any other error, and such a one after the deadline, is raised: the first way's.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        errors: list[RowbackError] = []
        for number, way in enumerate(ways):
            try:
                with connect(way(), state="nothing was written to the original"):
                    return number
            except RowbackError as error:
                if error.id not in passing:
                    raise
                errors.append(error)
        if time.monotonic() > deadline:
            raise errors[0]
        time.sleep(pause_s)


def identity_of(session: Session) -> DatabaseIdentity:
    """The server's identity as a value for plans and journals."""
    identity = identify(session)
    return DatabaseIdentity(
        system_identifier=identity.system_identifier,
        database_oid=identity.database_oid,
        database=identity.database,
        server_version_num=identity.server_version_num,
        started_at=identity.started_at,
    )


def client_encoding(session: Session) -> str:
    """In which the session sends and gets text: UTF8, but of a database that knows no encoding."""
    return session.info.parameter_status("client_encoding") or "UTF8"


def one(session: Session, statement: Any, parameters: tuple[object, ...] = ()) -> Any:
    """The first column of the first row. Raises LookupError when there is no row."""
    row = session.execute(statement, parameters or None).fetchone()
    if row is None:
        raise LookupError("the statement returned no row")
    return row[0]
