"""psycopg 3: every connection is judged before its first statement, every statement of an unproven one is classified.

Sync and async share `_connect_gen`, all cursors and copies share the three query classes, and `_exec_command` is how a
connection itself begins transactions (facts/guards.md §3a, §4a). What goes past them (conn.pgconn) meets the read-only
session on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import psycopg
from psycopg import _queries, conninfo, generators, pq
from psycopg._connection_base import BaseConnection

from guards.drivers.own import ASKING, radius_of, shown, way_of
from guards.drivers.wire import wire_of
from guards.evidence import EVIDENCE_QUERY
from guards.session import READ_ONLY, active
from guards.statements.classify import REMEMBERED
from guards.telling import Known

_KNOWN = "_rowback_known"  # on each connection; _OURS on the guard's own, which nobody judges
_OURS = object()
_READS: set[bytes] = set()  # texts that were looked at and only read
_QUERIES = (_queries.PostgresQuery, _queries.PostgresClientQuery, _queries.PostgresRawQuery)
_INSTALLED = "_rowback_guarded"


def install() -> None:
    """Stand in between, once. Raises AttributeError on a psycopg that is built otherwise: no run without a guard."""
    if getattr(BaseConnection, _INSTALLED, False):
        return
    base: Any = BaseConnection  # its private ways are what we stand in
    connect, command = base._connect_gen.__func__, base._exec_command

    def guarded_connect(cls: Any, info: str = "") -> Generator[Any, Any, Any]:
        connection = yield from connect(cls, info)
        if ASKING.get():
            setattr(connection, _KNOWN, _OURS)
        elif active() is not None:
            yield from _meet(connection, info)
        return connection

    def guarded_command(self: Any, text: Any, *arguments: Any, **named: Any) -> Any:
        _check(self, _encoded(self, text))
        return command(self, text, *arguments, **named)

    _stand_in_queries()
    _stand_in_beginnings(base)
    base._connect_gen = classmethod(guarded_connect)
    base._exec_command = guarded_command
    setattr(base, _INSTALLED, True)


def _stand_in_queries() -> None:
    for query in _QUERIES:
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


def _guarded(convert: Callable[..., None]) -> Callable[..., None]:
    def guarded_convert(self: Any, query: Any, vars: Any) -> None:
        convert(self, query, vars)
        _check(self._tx.connection, self.query)

    return guarded_convert


def _guarded_dump(dump: Callable[..., None]) -> Callable[..., None]:
    def guarded_dump(self: Any, vars: Any) -> None:
        dump(self, vars)
        if vars is not None:
            _check(self._tx.connection, self.query)

    return guarded_dump


def _is_held(connection: Any) -> bool:
    known = getattr(connection, _KNOWN, None)
    return isinstance(known, Known) and not known.verdict.disposable


def _check(connection: Any, text: bytes) -> None:
    """Before each statement: a proven database costs a look, a text that was seen before a second one."""
    guard = active()
    if guard is None or connection is None:
        return
    known = getattr(connection, _KNOWN, None)
    if known is _OURS or (known is not None and known.verdict.disposable) or text in _READS:
        return
    decoded = text.decode("utf-8", "replace")
    guard.check(known, decoded, lambda findings: radius_of(_parameters_of(connection), findings))
    if len(_READS) >= REMEMBERED:
        _READS.clear()
    _READS.add(text)


def _encoded(connection: Any, text: Any) -> bytes:
    if isinstance(text, psycopg.sql.Composable):
        return text.as_bytes(connection)
    return text.encode() if isinstance(text, str) else bytes(text)


def _parameters_of(connection: Any) -> dict[str, Any]:
    return {**connection.info.get_parameters(), "password": connection.info.password}


def _meet(connection: Any, info: str) -> Generator[Any, Any, None]:
    """Judge the server, in the connecting generator itself: it serves sync and async alike."""
    guard = active()
    assert guard is not None
    link = wire_of(connection).link
    known = guard.recognise(link)
    if known is None:
        row = yield from _ask(connection, EVIDENCE_QUERY)
        known = guard.meet(
            row, link, asked_for=shown(conninfo.conninfo_to_dict(info)), way=way_of(connection.info.get_parameters())
        )
    setattr(connection, _KNOWN, known)
    if known.verdict.disposable:
        return
    if known.evidence.pooled:
        # Settings of this session would stay with the pooler's server connection, for whoever comes next.
        connection._read_only, connection._begin_statement = True, b""
    else:
        yield from _ask(connection, READ_ONLY)


def _ask(connection: Any, text: str) -> Generator[Any, Any, Sequence[str | None]]:
    """Run a query of ours on a connection that is still being made; its first row as text."""
    pgconn = connection.pgconn
    pgconn.send_query(text.encode())
    running = generators.execute(pgconn)
    try:
        wait = next(running)
        while True:
            wait = running.send((yield pgconn.socket, wait))
    except StopIteration as done:
        results = done.value
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError(f"the guard could not ask who the server is: {result.get_error_message()}")
    (first, *_) = results
    values = [first.get_value(0, i) for i in range(first.nfields)] if first.ntuples else []
    return [None if value is None else value.decode() for value in values]
