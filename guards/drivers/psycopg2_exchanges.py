"""What the guard says on a connection of psycopg2: its questions, and what it sets before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg2
from psycopg2 import _psycopg, extensions, extras

from guards.connection_words import conninfo_of, shown
from guards.drivers import driver_hooks
from guards.drivers.open_connection import wire_of
from guards.drivers.surrounding_queries import judgement_at, mark_as_own
from guards.guard_session import ConnectionEnds, active
from guards.own_databases import Making

BARE_CONNECTION, BARE_CURSOR = _psycopg.connection, _psycopg.cursor


def may_make(connection: Any, text: str) -> bool:
    """Whether a statement about databases may be sent: none is made in a transaction."""
    judgement = getattr(connection, "rowback_judgement", None)
    if judgement is None or active() is None or connection.async_ or not driver_hooks.may_make(judgement, text):
        return False
    autocommit = getattr(connection, "autocommit", False)  # a replication connection has none
    return bool(autocommit and connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE)


def around(connection: Any, making: Making, ends: ConnectionEnds, send: Callable[[], Any]) -> Any:
    """Send a text about databases of this run, and hold the session again. Whatever comes between closes it."""
    with ExitStack() as unless_held:
        unless_held.callback(connection.close)
        try:
            driver_hooks.conducted(driver_hooks.lift(making), lambda text: ask(connection, text))
            result = send()
        except psycopg2.Error:
            driver_hooks.conducted(driver_hooks.hold_again(making), lambda text: ask(connection, text))
            unless_held.pop_all()
            raise
        driver_hooks.conducted(driver_hooks.hold_again(making), lambda text: ask(connection, text))
        unless_held.pop_all()
    for name in making.marks:
        mark_as_own(ends, name)
    return result


def connection_ends(connection: Any) -> ConnectionEnds:
    """Both ends of a connection, as the guard needs them for a connection of its own."""
    parameters = {**connection.info.dsn_parameters, "password": connection.info.password}
    conninfo = conninfo_of(parameters)
    return ConnectionEnds(wire_of(connection).link, parameters, shown(extensions.parse_dsn(connection.dsn)), conninfo)


def is_console(connection: Any) -> bool:
    """Whether a pooler itself answers, not a server behind it."""
    return "bouncer" in (connection.get_parameter_status("server_version") or "")


def judge_and_hold(connection: Any) -> None:
    """Judge the server of a connection, and hold the session unless it is proven: `rowback_judgement` is set then."""
    guard = active()
    assert guard is not None
    if connection.async_:
        extras.wait_select(connection)
    if is_console(connection):
        connection.rowback_free = True
        return
    if isinstance(connection, _psycopg.ReplicationConnection):  # its session takes no questions
        connection.rowback_judgement = judgement_at(connection_ends(connection).parameters, guard)
        return
    if not connection.async_ and connection.status != extensions.STATUS_READY:
        BARE_CONNECTION.commit(connection)  # nothing but reads and settings passed until now
    connection.rowback_judgement = driver_hooks.conducted(
        driver_hooks.judge_and_hold(guard, wire_of(connection).link, lambda: connection_ends(connection)),
        lambda text: ask(connection, text),
    )


def hold_read_only(connection: Any) -> None:
    """Make an unproven session read-only, again where something may have undone it."""
    driver_hooks.conducted(
        driver_hooks.hold_read_only(connection.rowback_judgement), lambda text: ask(connection, text)
    )


def ask(connection: Any, text: str) -> Sequence[str | None]:
    """Run one of the guard's own queries in a transaction of its own; returns its row as text."""
    # The bare class: a connection's own cursors may answer in any shape.
    cursor = BARE_CONNECTION.cursor(connection, cursor_factory=BARE_CURSOR)
    try:
        cursor.execute(text)
        if connection.async_:
            extras.wait_select(connection)
        return list(cursor.fetchone()) if cursor.description else []
    finally:
        cursor.close()
        if not connection.async_ and not connection.autocommit:
            BARE_CONNECTION.commit(connection)
