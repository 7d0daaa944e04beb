"""asyncpg: every connection is judged before anybody has it, every statement of an unproven one is classified.

All statements pass through four methods of Connection (facts/guards.md §4a); `copy_records_to_table` talks to the
protocol itself and is the fifth. Pools and transactions land in the same methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from asyncpg import connect_utils
from asyncpg.connection import Connection

from guards.drivers.own import ASKING, asking, radius_of, shown
from guards.evidence import EVIDENCE_QUERY, Link
from guards.session import READ_ONLY, active
from guards.telling import Known

_KNOWN: WeakKeyDictionary[Any, Known] = WeakKeyDictionary()
_INSTALLED = "_rowback_guarded"
# The method and which of its arguments is the statement.
_SENDS = {"execute": "query", "_get_statement": "query", "_copy_out": "copy_stmt", "_copy_in": "copy_stmt"}


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
                await _meet(connection, options)
                unless_met.pop_all()
        return connection

    @wraps(reset)
    async def guarded_reset(self: Any, *, timeout: Any = None) -> None:
        with asking():  # RESET ALL is part of it: the session is read-only again afterwards
            await reset(self, timeout=timeout)
        await _hold(self)

    for name, argument in _SENDS.items():
        setattr(Connection, name, _guarded(getattr(Connection, name), argument))
    Connection.copy_records_to_table = _guarded_records(Connection.copy_records_to_table)
    Connection.reset = guarded_reset
    connect_utils._connect = guarded_connect
    setattr(connect_utils, _INSTALLED, True)


def _guarded(send: Callable[..., Any], argument: str) -> Callable[..., Any]:
    @wraps(send)
    async def guarded_send(self: Any, *arguments: Any, **named: Any) -> Any:
        _check(self, named[argument] if argument in named else arguments[0])
        return await send(self, *arguments, **named)

    return guarded_send


def _guarded_records(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    async def guarded_records(self: Any, table_name: str, **named: Any) -> Any:
        _check(self, "copy {} from stdin".format('"' + table_name.replace('"', '""') + '"'))
        return await send(self, table_name, **named)

    return guarded_records


def _check(connection: Any, text: str) -> None:
    guard = active()
    if guard is None or ASKING.get():
        return
    known = _KNOWN.get(connection)
    if known is not None and known.verdict.disposable:
        return
    guard.check(known, text, lambda findings: radius_of(_way_of(connection), findings))


def _way_of(connection: Any) -> Mapping[str, Any]:
    """How the guard itself gets to where this connection leads. TLS as libpq does it by default."""
    parameters, address = connection._params, connection._addr
    host, port = (
        ("/".join(address.split("/")[:-1]), address.rpartition(".")[2]) if isinstance(address, str) else address
    )
    return {
        "host": host, "port": port, "user": parameters.user, "dbname": parameters.database,
        "password": parameters.password if isinstance(parameters.password, str) else None,
    }  # fmt: skip


async def _meet(connection: Any, options: Mapping[str, Any]) -> None:
    guard = active()
    assert guard is not None
    transport = connection._transport
    link = Link(
        transport.get_extra_info("socket").fileno(), connection.get_server_pid(),
        transport.get_extra_info("ssl_object") is not None,
    )  # fmt: skip
    known = guard.recognise(link)
    if known is None:
        with asking():
            row = await Connection.fetchrow(connection, EVIDENCE_QUERY)  # a subclass may answer otherwise
        way = shown(_way_of(connection))  # asyncpg keeps nothing of what it was given
        known = guard.meet([*row.values()], link, asked_for=way, way=way)
    _KNOWN[connection] = known
    await _hold(connection)


async def _hold(connection: Any) -> None:
    """Read-only until proven; behind a pooler nothing is set, for it would stay with whoever comes next."""
    known = _KNOWN.get(connection)
    if known is not None and not known.verdict.disposable and not known.evidence.pooled:
        with asking():
            await Connection.execute(connection, READ_ONLY)
