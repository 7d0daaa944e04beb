"""asyncpg: every connection is judged before anybody has it, every statement of an unproven one is classified.

All statements pass through four methods of Connection (sources: GUARD-drivers); `copy_records_to_table` talks to the
protocol itself and is the fifth. Pools and transactions land in the same methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from asyncpg import connect_utils
from asyncpg.connection import Connection
from asyncpg.exceptions import InterfaceError, PostgresError
from asyncpg.prepared_stmt import PreparedStatement

from guards.connection_words import shown
from guards.drivers import driver_hooks
from guards.drivers.guard_connection import ASKING
from guards.drivers.surrounding_queries import mark_as_own
from guards.guard_session import ConnectionEnds, Row, active
from guards.own_databases import Making
from guards.refusal_text import Judgement
from guards.server_evidence import Link

_JUDGEMENT: WeakKeyDictionary[Any, Judgement] = WeakKeyDictionary()
_TURNS: WeakKeyDictionary[Any, asyncio.Task[Any] | None] = WeakKeyDictionary()
_INSTALLED = "_rowback_guarded"
# The method and which of its arguments is the statement.
_SENDS = {
    "execute": "query",
    "_execute": "query",
    "_get_statement": "query",
    "_copy_out": "copy_stmt",
    "_copy_in": "copy_stmt",
}
_RUNS_PREPARED = "_PreparedStatement__do_execute"


def install() -> None:
    """Stand in between, once. Raises AttributeError on an asyncpg that is built otherwise: no run without a guard."""
    if getattr(connect_utils, _INSTALLED, False):
        return
    connect, reset = connect_utils._connect, Connection.reset

    async def guarded_connect(**options: Any) -> Any:
        connection = await connect(**options)
        if active() is not None and not ASKING.get():
            with ExitStack() as unless_met:
                unless_met.callback(connection.terminate)
                await _meet(connection)
                unless_met.pop_all()
        return connection

    @wraps(reset)
    async def guarded_reset(self: Any, *, timeout: Any = None) -> None:
        with _turn(self):  # RESET ALL is part of it: the session is read-only again afterwards
            await reset(self, timeout=timeout)
        await _hold(self)

    for name, argument in _SENDS.items():
        setattr(Connection, name, _guarded(getattr(Connection, name), argument))
    setattr(PreparedStatement, _RUNS_PREPARED, _guarded_prepared(getattr(PreparedStatement, _RUNS_PREPARED)))
    Connection.copy_records_to_table = _guarded_records(Connection.copy_records_to_table)
    Connection.reset = guarded_reset
    connect_utils._connect = guarded_connect
    setattr(connect_utils, _INSTALLED, True)


def _guarded(send: Callable[..., Any], argument: str) -> Callable[..., Any]:
    @wraps(send)
    async def guarded_send(self: Any, *arguments: Any, **named: Any) -> Any:
        text = named[argument] if argument in named else arguments[0]
        executes = send.__name__ in ("execute", "_execute")
        if made := _making_in(self, text):
            if executes:
                return await _around(self, made, lambda: send(self, *arguments, **named))
        elif send.__name__ != "_execute":  # what it prepares is looked at there
            _check(self, text)
        return await send(self, *arguments, **named)

    return guarded_send


def _guarded_prepared(run: Callable[..., Any]) -> Callable[..., Any]:
    """A statement about databases of this run may have been prepared: it is run as the others are."""

    @wraps(run)
    async def guarded_run(self: Any, *arguments: Any, **named: Any) -> Any:
        if made := _making_in(self._connection, self._query):
            return await _around(self._connection, made, lambda: run(self, *arguments, **named))
        _check(self._connection, self._query)  # what it names may have come to be since it was prepared
        return await run(self, *arguments, **named)

    return guarded_run


def _making_in(connection: Any, text: str) -> Making | None:
    judgement = _JUDGEMENT.get(connection)
    if judgement is None or active() is None or _has_turn(connection) or connection.is_in_transaction():
        return None
    if not driver_hooks.may_make(judgement, text):
        return None
    return driver_hooks.making_in(judgement, text, lambda: _connection_ends(connection))


async def _around(connection: Any, made: Making, send: Callable[[], Awaitable[Any]]) -> Any:
    """Send a text about databases of this run, and hold the session again.

    Anything but a server error in between closes the session. Other tasks that use the connection meanwhile get the
    InterfaceError of asyncpg.
    """
    ends = _connection_ends(connection)
    with _turn(connection), ExitStack() as unless_held:
        unless_held.callback(connection.terminate)
        try:
            await driver_hooks.conducted_async(driver_hooks.lift(made), lambda text: _ask(connection, text))
            result = await send()
        except PostgresError:
            await driver_hooks.conducted_async(driver_hooks.hold_again(made), lambda text: _ask(connection, text))
            unless_held.pop_all()
            raise
        await driver_hooks.conducted_async(driver_hooks.hold_again(made), lambda text: _ask(connection, text))
        unless_held.pop_all()
    for name in made.marks:
        mark_as_own(ends, name)
    return result


@contextmanager
def _turn(connection: Any) -> Iterator[None]:
    """Inside, only this task sends on the connection, and what it sends is not judged.

    Query loggers and what else asyncpg calls run outside of it.
    """
    before, _TURNS[connection] = _TURNS.get(connection), asyncio.current_task()
    try:
        yield
    finally:
        _TURNS[connection] = before


def _has_turn(connection: Any) -> bool:
    """Whether this task may send anything. Raises InterfaceError where another one has the turn."""
    task = _TURNS.get(connection)
    if task is not None and task is not asyncio.current_task():
        raise InterfaceError("cannot perform operation: another operation is in progress")
    return task is not None


def _guarded_records(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    async def guarded_records(self: Any, table_name: str, **named: Any) -> Any:
        _check(self, "copy {} from stdin".format('"' + table_name.replace('"', '""') + '"'))
        return await send(self, table_name, **named)

    return guarded_records


def _check(connection: Any, text: str) -> None:
    if active() is not None and not _has_turn(connection):
        driver_hooks.check(_JUDGEMENT.get(connection), text, lambda: _connection_ends(connection))


def _connection_ends(connection: Any) -> ConnectionEnds:
    """How the guard itself gets to where this connection leads; asyncpg keeps nothing of what it was given.

    TLS as libpq does it by default.
    """
    parameters, address = connection._params, connection._addr
    host, port = (
        ("/".join(address.split("/")[:-1]), address.rpartition(".")[2]) if isinstance(address, str) else address
    )
    reached = {
        "host": host,
        "port": port,
        "user": parameters.user,
        "dbname": parameters.database,
        "password": parameters.password if isinstance(parameters.password, str) else None,
    }
    return ConnectionEnds(_link_of(connection), reached, asked_for=shown(reached), conninfo=shown(reached))


def _link_of(connection: Any) -> Link:
    transport = connection._transport
    socket, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
    return Link(socket.fileno(), connection.get_server_pid(), tls is not None)


async def _meet(connection: Any) -> None:
    guard = active()
    assert guard is not None
    exchange = driver_hooks.judge_and_hold(guard, _link_of(connection), lambda: _connection_ends(connection))
    _JUDGEMENT[connection] = await driver_hooks.conducted_async(exchange, lambda text: _ask(connection, text))


async def _ask(connection: Any, text: str) -> Row:
    """Run one of the guard's statements; its row as text.

    Settings return none and go by the simple protocol, because they may be several.
    """
    with _turn(connection):
        if not text.lstrip().startswith("select"):
            await Connection.execute(connection, text)
            return []
        row = await Connection.fetchrow(connection, text)  # a subclass may answer otherwise
    return [] if row is None else [*row.values()]


async def _hold(connection: Any) -> None:
    await driver_hooks.conducted_async(
        driver_hooks.hold_read_only(_JUDGEMENT.get(connection)), lambda text: _ask(connection, text)
    )
