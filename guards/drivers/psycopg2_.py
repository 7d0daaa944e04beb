"""psycopg2: its classes are C and cannot be changed, so connections and cursors are made of guarded subclasses.

`psycopg2.connect` looks `_connect` up each time, also for those who imported it before us. What somebody makes of a
class directly (psycopg2.extensions.connection(dsn), DictCursor(connection)) is not seen here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import extensions, extras

from guards.drivers.own import ASKING, radius_of, shown, way_of
from guards.drivers.wire import wire_of
from guards.evidence import EVIDENCE_QUERY
from guards.session import READ_ONLY, active
from guards.statements import Danger, Finding
from guards.telling import Known

_INSTALLED = "_rowback_guarded"
_CLASSES: dict[Any, Any] = {}


def install() -> None:
    """Stand in between, also after a reload. Raises AttributeError on a psycopg2 that is built otherwise: no run
    without a guard."""
    connect: Callable[..., Any] = psycopg2._connect
    if hasattr(connect, _INSTALLED):
        return

    def guarded_connect(dsn: str, connection_factory: Any = None, **options: Any) -> Any:
        if active() is None or ASKING.get():
            return connect(dsn, connection_factory=connection_factory, **options)
        connection = _guarded(connect(dsn, connection_factory=_made_by(connection_factory), **options))
        connection.rowback_meet()
        return connection

    setattr(guarded_connect, _INSTALLED, True)
    psycopg2._connect = guarded_connect


def _made_by(factory: Any) -> Any:
    """A factory of guarded connections of the same kind. What a function makes is guarded afterwards."""
    if factory is None:
        return guarded_class(extensions.connection)
    return guarded_class(factory) if inspect.isclass(factory) else factory


def _guarded(made: Any) -> Any:
    """A connection or cursor that somebody else's function made, guarded. Raises TypeError for one of the bare C class:
    it cannot be changed, and nothing may run unguarded."""
    if not isinstance(made, _Guarded):
        try:
            made.__class__ = guarded_class(type(made))
        except TypeError as error:
            raise TypeError(
                "the rowback guard cannot stand in front of a factory's bare C class: give a subclass"
            ) from error
    return made


def guarded_class(base: Any) -> Any:
    """`base`, guarded: its instances are still instances of it, with its name."""
    if issubclass(base, _Guarded):
        return base
    if base not in _CLASSES:
        mixin = _GuardedCursor if issubclass(base, extensions.cursor) else _GuardedConnection
        named = {"__module__": base.__module__, "__qualname__": base.__qualname__}
        _CLASSES[base] = type(base.__name__, (mixin, base), named)
    return _CLASSES[base]


class _Guarded:
    """Either of both."""


def _text(connection: Any, query: Any) -> str:
    if isinstance(query, str):
        return query
    return query.as_string(connection) if hasattr(query, "as_string") else bytes(query).decode("utf-8", "replace")


class _GuardedConnection(_Guarded):
    rowback_known: Known | None = None
    rowback_meeting = False

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        made: Any = super()
        cursor = made.cursor(*arguments, **named)
        if self.rowback_known is not None and self.rowback_known.verdict.disposable:
            return cursor
        if type(cursor) is extensions.cursor:  # the bare C class, where nobody asked for another
            cursor.close()
            name, _, *rest = (*arguments, None, None)[: max(2, len(arguments))]
            options = {**dict(zip(("withhold", "scrollable"), rest, strict=False)), **named}
            options["cursor_factory"] = guarded_class(extensions.cursor)
            return made.cursor(options.pop("name", name), **options)
        return _guarded(cursor)

    def rowback_meet(self) -> None:
        """Judge the server. A class that runs statements while it is made comes here before it is done."""
        if self.rowback_known is None and not self.rowback_meeting and active() is not None:
            self.rowback_meeting = True
            try:
                _meet(self)
            finally:
                self.rowback_meeting = False

    def rowback_check(self, text: str) -> None:
        self.rowback_meet()
        guard, known = active(), self.rowback_known
        if guard is not None and not ASKING.get() and not (known and known.verdict.disposable):
            guard.check(known, text, lambda findings: radius_of(_parameters_of(self), findings))

    def _refuse(self, verb: str) -> None:
        guard, known = active(), self.rowback_known
        if guard is not None and not (known and known.verdict.disposable):
            guard.refuse(known, [Finding(Danger.UNKNOWN, verb)], lambda _: None)

    def set_session(self, isolation_level: Any = None, readonly: Any = None, *rest: Any, **options: Any) -> Any:
        """On an unproven session readonly=False leaves it to the session, which is read-only."""
        held = self.rowback_known is not None and not self.rowback_known.verdict.disposable
        if held and readonly is not None and not readonly:
            readonly = "DEFAULT"
        made: Any = super()
        return made.set_session(isolation_level, readonly, *rest, **options)

    @property
    def readonly(self) -> Any:
        made: Any = super()
        return made.readonly

    @readonly.setter
    def readonly(self, value: Any) -> None:
        self.set_session(readonly="DEFAULT" if value is None else value)

    def reset(self) -> None:
        """RESET ALL is part of it: an unproven session is read-only again afterwards."""
        made: Any = super()
        made.reset()
        _hold(self)

    def lobject(self, *arguments: Any, **named: Any) -> Any:
        self._refuse("lobject()")
        made: Any = super()
        return made.lobject(*arguments, **named)

    def tpc_commit(self, *arguments: Any) -> Any:
        self._refuse("tpc_commit()")
        made: Any = super()
        return made.tpc_commit(*arguments)

    def tpc_rollback(self, *arguments: Any) -> Any:
        self._refuse("tpc_rollback()")
        made: Any = super()
        return made.tpc_rollback(*arguments)


class _GuardedCursor(_Guarded):
    """Every way in which a cursor sends text. What is merged with parameters is looked at as it will be sent."""

    connection: Any

    def _check(self, query: Any, parameters: Any = None) -> None:
        connection = self.connection
        if active() is None or not isinstance(connection, _GuardedConnection):
            return
        connection.rowback_meet()
        if connection.rowback_known is None or not connection.rowback_known.verdict.disposable:
            text = _text(connection, query)
            if parameters:  # AsIs and the like put SQL into the text
                made: Any = self
                text = made.mogrify(text, parameters).decode("utf-8", "replace")
            connection.rowback_check(text)

    def execute(self, query: Any, vars: Any = None) -> Any:
        self._check(query, vars)
        made: Any = super()
        return made.execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> Any:
        every = list(vars_list)
        for parameters in every or [None]:
            self._check(query, parameters)
        made: Any = super()
        return made.executemany(query, every)

    def callproc(self, procname: str, parameters: Any = None) -> Any:
        numbered = ", ".join(f"${n}" for n in range(1, len(parameters or ()) + 1))
        self._check(f"select * from {procname}({numbered})")  # noqa: S608 (looked at, not sent)
        made: Any = super()
        return made.callproc(procname, parameters) if parameters is not None else made.callproc(procname)

    def copy_expert(self, sql: Any, file: Any, *rest: Any, **options: Any) -> Any:
        self._check(sql)
        made: Any = super()
        return made.copy_expert(sql, file, *rest, **options)

    def copy_from(self, file: Any, table: str, *rest: Any, **options: Any) -> Any:
        self._check(f'copy "{table}" from stdin')
        made: Any = super()
        return made.copy_from(file, table, *rest, **options)


def _parameters_of(connection: Any) -> Mapping[str, Any]:
    return {**connection.info.dsn_parameters, "password": connection.info.password}


def _meet(connection: Any) -> None:
    guard = active()
    assert guard is not None
    if connection.async_:
        extras.wait_select(connection)
    elif connection.status != extensions.STATUS_READY:
        extensions.connection.commit(connection)  # nothing but reads and settings passed until now
    link = wire_of(connection).link
    known = guard.recognise(link)
    if known is None:
        row = _ask(connection, EVIDENCE_QUERY)
        asked_for, way = shown(extensions.parse_dsn(connection.dsn)), way_of(connection.info.dsn_parameters)
        known = guard.meet(row, link, asked_for=asked_for, way=way)
    connection.rowback_known = known
    _hold(connection)


def _hold(connection: Any) -> None:
    """Read-only until proven; behind a pooler nothing is set, for it would stay with whoever comes next."""
    known = connection.rowback_known
    if known is not None and not known.verdict.disposable and not known.evidence.pooled:
        _ask(connection, READ_ONLY)


def _ask(connection: Any, text: str) -> Sequence[str | None]:
    """One question of ours, outside any transaction; its row as text."""
    before = connection.autocommit
    if not connection.async_ and not before:
        extensions.connection.set_session(connection, autocommit=True)
    # The bare class: a connection's own cursors may answer in any shape.
    cursor = extensions.connection.cursor(connection, cursor_factory=extensions.cursor)
    try:
        cursor.execute(text)
        if connection.async_:
            extras.wait_select(connection)
        return list(cursor.fetchone()) if cursor.description else []
    finally:
        cursor.close()
        if not connection.async_ and not before:
            extensions.connection.set_session(connection, autocommit=False)
