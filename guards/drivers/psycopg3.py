"""psycopg 3: every connection is judged before its first statement, every statement of an unproven one is classified.

Sync and async share `_connect_gen`, all cursors and copies share the three query classes, and `_exec_command` is how a
connection itself begins transactions (sources: GUARD-bypasses, GUARD-drivers). What goes past them (conn.pgconn) meets
the read-only session on the server.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
from psycopg import _queries, conninfo, generators, pq
from psycopg._connection_base import BaseConnection
from psycopg._cursor_base import BaseCursor
from psycopg._transformer import Transformer

from guards.connection_words import conninfo_of, shown
from guards.cross_database_reach import may_reach_bytes, stays
from guards.drivers import driver_hooks
from guards.drivers.guard_connection import ASKING
from guards.drivers.open_connection import wire_of
from guards.drivers.surrounding_queries import judgement_at, mark_as_own
from guards.guard_session import ConnectionEnds, QueryExchange, Row, active
from guards.own_databases import Making
from guards.refusal_text import Judgement
from guards.statements.classify_sql import REMEMBERED
from guards.statements.placeholders import as_the_server_sees_it

_JUDGEMENT = "_rowback_judgement"  # on each connection; _FREE on those that nobody judges
_ASKED_FOR = "_rowback_asked_for"  # what the caller said
_PERMITTED = "_rowback_permitted"
_FREE = object()  # the guard's own, and the console of a pooler, which is no database
_READS: set[bytes] = set()  # texts that were looked at and only read
_STAYS: set[bytes] = set()  # texts that do not leave their database
_INSTALLED = "_rowback_guarded"


def install() -> None:
    """Stand in between, once. Raises AttributeError on a psycopg that is built otherwise: no run without a guard."""
    if getattr(BaseConnection, _INSTALLED, False):
        return
    base: Any = BaseConnection  # its private ways are what we stand in
    connect, command = base._connect_gen.__func__, base._exec_command

    def guarded_connect(cls: Any, /, info: str = "", **options: Any) -> Generator[Any, Any, Any]:  # 3.2: timeout
        connection = yield from connect(cls, info, **options)
        if ASKING.get() or _is_console(connection):
            setattr(connection, _JUDGEMENT, _FREE)
            connection._rowback_plain = True
        elif active() is not None:
            yield from _meet(connection, info)
        return connection

    def guarded_command(self: Any, text: Any, *arguments: Any, **named: Any) -> Any:
        _check(self, _encoded(self, text))
        return command(self, text, *arguments, **named)

    # On a connection: it is proven, and no table of its database is another server's; and neither is it proven by a
    # mark alone, so that databases that it makes need no mark of their own.
    base._rowback_fast = base._rowback_plain = False
    _stand_in_queries()
    _stand_in_beginnings(base)
    _stand_in_cursors()
    base._connect_gen = classmethod(guarded_connect)
    base._exec_command = guarded_command
    setattr(base, _INSTALLED, True)


def _stand_in_queries() -> None:
    # Until 3.2 the class of raw cursors was beside them.
    raw = getattr(_queries, "PostgresRawQuery", None) or importlib.import_module("psycopg.raw_cursor").PostgresRawQuery
    for query in (_queries.PostgresQuery, _queries.PostgresClientQuery, raw):
        if "convert" in vars(query):
            query.convert = _guarded(query.convert)  # type: ignore[method-assign]
    merged: Any = _queries.PostgresClientQuery  # merges the parameters of each further row of executemany
    merged.dump = _guarded_dump(merged.dump)


def _stand_in_beginnings(base: Any) -> None:
    start = base._get_tx_start_command

    def guarded_start(self: Any) -> bytes:
        command: bytes = start(self)
        if _is_held(self) and b" READ WRITE" in command:
            # What SQLAlchemy says when a read-only connection goes back to its pool: the session's default decides.
            self._begin_statement = command = command.replace(b" READ WRITE", b"")
        return command

    base._get_tx_start_command = guarded_start


def _stand_in_cursors() -> None:
    """A text about databases of this run is sent between two statements of the guard's."""
    cursor: Any = BaseCursor
    execute = cursor._execute_gen

    def guarded_execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        begun = execute(self, query, params, **options)
        connection = self._conn
        if connection._rowback_plain or not _may_make(connection, query):
            return begun
        judgement, text = getattr(connection, _JUDGEMENT, None), _merged(connection, query, params)
        made = driver_hooks.making_in(judgement, text, lambda: _connection_ends(connection)) if judgement else None
        return begun if made is None else _around(connection, made, begun)

    cursor._execute_gen = guarded_execute
    for many in ("_executemany_gen_no_pipeline", "_executemany_gen_pipeline"):
        setattr(cursor, many, _guarded_many(getattr(cursor, many)))


def _guarded_many(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Only the first row's parameters pass by the query classes: what they name counts as any."""

    def guarded_many(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        connection = self._conn
        judgement = getattr(connection, _JUDGEMENT, None)
        if active() is not None and judgement is not _FREE and may_reach_bytes(_encoded(connection, query)):
            text = as_the_server_sees_it(_decoded(connection, _encoded(connection, query)))
            driver_hooks.check(judgement, text, lambda: _connection_ends(connection))
        return execute(self, query, *arguments, **options)

    return guarded_many


def _may_make(connection: Any, query: Any) -> bool:
    """Whether a statement about databases may be sent: none is made in a transaction, or amid a pipeline."""
    idle = connection.autocommit and connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
    return idle and not connection._pipeline and may_reach_bytes(_encoded(connection, query))


def _around(connection: Any, made: Making, begun: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Send a text about databases of this run, and hold the session again. Whatever comes between closes it."""
    ends = _connection_ends(connection)
    with ExitStack() as unless_held:
        unless_held.callback(connection.pgconn.finish)
        try:
            yield from _conducted(connection, driver_hooks.lift(made))
            setattr(connection, _PERMITTED, True)
            result = yield from begun
        except psycopg.Error:
            yield from _conducted(connection, driver_hooks.hold_again(made))
            unless_held.pop_all()
            raise
        finally:
            setattr(connection, _PERMITTED, False)
        yield from _conducted(connection, driver_hooks.hold_again(made))
        unless_held.pop_all()
    for name in made.marks:
        mark_as_own(ends, name)
    return result


def _merged(connection: Any, query: Any, params: Any) -> str:
    """The text with its parameters in it: whose sessions are ended may be one of them."""
    text = _decoded(connection, _encoded(connection, query))
    if not params:
        return text
    merged = _queries.PostgresClientQuery(Transformer.from_context(connection))
    setattr(connection, _PERMITTED, True)  # nothing is sent
    try:
        merged.convert(query, params)
    except (psycopg.Error, TypeError, IndexError):  # parameters that do not fit, as psycopg will say itself
        return text
    finally:
        setattr(connection, _PERMITTED, False)
    return _decoded(connection, merged.query)


def _guarded(convert: Callable[..., None]) -> Callable[..., None]:
    def guarded_convert(self: Any, query: Any, vars: Any) -> None:
        convert(self, query, vars)
        connection, text = self._tx.connection, self.query
        if connection is not None and not (connection._rowback_fast and (text in _STAYS or _stays(text))):
            _check(connection, text, query, vars)

    return guarded_convert


def _stays(text: bytes) -> bool:
    """The same, remembered: psycopg keeps the texts that it sends again, and most are."""
    if not stays(text):
        return False
    if len(_STAYS) >= REMEMBERED:
        _STAYS.clear()
    _STAYS.add(text)
    return True


def _guarded_dump(dump: Callable[..., None]) -> Callable[..., None]:
    def guarded_dump(self: Any, vars: Any) -> None:
        dump(self, vars)
        if vars is not None:
            _check(self._tx.connection, self.query)

    return guarded_dump


def _is_held(connection: Any) -> bool:
    judgement = getattr(connection, _JUDGEMENT, None)
    return isinstance(judgement, Judgement) and not judgement.verdict.disposable


def _check(connection: Any, text: bytes, query: Any = None, vars: Any = None) -> None:
    """Raise Refused, or let a text be sent. Texts that only read are remembered for unproven connections."""
    if connection is not None and connection._rowback_fast and not may_reach_bytes(text):
        return
    if active() is None or connection is None or text in _READS or getattr(connection, _PERMITTED, False):
        return
    judgement = getattr(connection, _JUDGEMENT, None)
    if judgement is _FREE:
        return
    proven = judgement is not None and judgement.verdict.disposable
    sent = _merged(connection, query, vars) if proven and vars else _decoded(connection, text)
    driver_hooks.check(judgement, sent, lambda: _connection_ends(connection))
    if judgement is None or not judgement.verdict.disposable:
        if len(_READS) >= REMEMBERED:
            _READS.clear()
        _READS.add(text)


def _encoded(connection: Any, text: Any) -> bytes:
    if hasattr(text, "as_bytes"):
        encoded: bytes = text.as_bytes(connection)
        return encoded
    return text.encode(connection.info.encoding, "replace") if isinstance(text, str) else bytes(text)


def _decoded(connection: Any, text: bytes) -> str:
    """As the server will read it: a quote may be half of a character in other encodings."""
    try:
        return text.decode(connection.info.encoding, "replace")
    except (psycopg.Error, LookupError):
        return text.decode("utf-8", "replace")


def _connection_ends(connection: Any) -> ConnectionEnds:
    info: str | None = getattr(connection, _ASKED_FOR, None)
    parameters = {**connection.info.get_parameters(), "password": connection.info.password}
    asked_for = shown(conninfo.conninfo_to_dict(info)) if info is not None else conninfo_of(parameters)
    return ConnectionEnds(wire_of(connection).link, parameters, asked_for, conninfo_of(parameters))


def _is_console(connection: Any) -> bool:
    """Whether a pooler itself answers, not a server behind it."""
    return b"bouncer" in (connection.pgconn.parameter_status(b"server_version") or b"")


def _follows(info: str) -> bool:
    """Whether a connection string asks for a replication session. A database may be called so, too."""
    replication = conninfo.conninfo_to_dict(info).get("replication", "") if "replication" in info else ""
    return str(replication).lower() not in ("", "0", "off", "false", "no")


def _meet(connection: Any, info: str) -> Generator[Any, Any, None]:
    """Judge the server, in the connecting generator itself: it serves sync and async alike."""
    guard = active()
    assert guard is not None
    setattr(connection, _ASKED_FOR, info)
    if _follows(info):  # its session takes no questions
        setattr(connection, _JUDGEMENT, judgement_at(_connection_ends(connection).parameters, guard))
        return
    exchange = driver_hooks.judge_and_hold(guard, wire_of(connection).link, lambda: _connection_ends(connection))
    judgement = yield from _while_connecting(connection, _conducted(connection, exchange))
    setattr(connection, _JUDGEMENT, judgement)
    connection._rowback_fast = driver_hooks.is_free(judgement)
    connection._rowback_plain = judgement.verdict.disposable and not judgement.verdict.by_owner
    if judgement.evidence.pooled and not judgement.verdict.disposable:
        # Settings of this session would stay with the pooler's server connection, for whoever comes next.
        connection._read_only, connection._begin_statement = True, b""


def _conducted(connection: Any, exchange: QueryExchange[Any]) -> Generator[Any, Any, Any]:
    """A talk on a connection as a generator like psycopg's own: the caller waits for what is yielded."""
    try:
        text = next(exchange)
        while True:
            text = exchange.send((yield from _ask(connection, text)))
    except StopIteration as stop:
        return stop.value


def _ask(connection: Any, text: str) -> Generator[Any, Any, Row]:
    """Run one of the guard's queries on a connection that is otherwise idle; its first row as text."""
    pgconn = connection.pgconn
    pgconn.send_query(text.encode())
    running = generators.execute(pgconn)
    try:
        wait = next(running)
        while True:
            wait = running.send((yield wait))
    except StopIteration as stop:
        results: Sequence[Any] = stop.value
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError(f"the guard could not ask who the server is: {result.get_error_message()}")
    (first, *_) = results
    values = [first.get_value(0, i) for i in range(first.nfields)] if first.ntuples else []
    return [None if value is None else value.decode() for value in values]


def _while_connecting(connection: Any, talking: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """While a connection is made, its socket is waited for by name."""
    try:
        wait = next(talking)
        while True:
            wait = talking.send((yield connection.pgconn.socket, wait))
    except StopIteration as stop:
        return stop.value
