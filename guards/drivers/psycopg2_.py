"""psycopg2: its classes are C and cannot be changed, so connections and cursors are made of guarded subclasses.

`psycopg2.connect` looks `_connect` up each time, also for those who imported it before us; the names of the class
itself (psycopg2.extensions.connection) lead to the guarded one. Connections that are older than the guard are judged
when it is installed, and held by the server where they are not proven.
"""

from __future__ import annotations

import gc
import inspect
from abc import ABCMeta
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import Any

import psycopg2
from psycopg2 import _psycopg, extensions

from guards.drivers import driver_hooks
from guards.drivers.guard_connection import ASKING
from guards.drivers.psycopg2_exchanges import (
    BARE_CONNECTION,
    BARE_CURSOR,
    around,
    ask,
    connection_ends,
    hold_read_only,
    is_console,
    judge_and_hold,
    may_make,
)
from guards.drivers.surrounding_queries import judgement_at
from guards.guard_session import READ_ONLY, active
from guards.refusal import GuardError
from guards.refusal_text import Judgement
from guards.statements import Danger, Finding

_INSTALLED = "_rowback_guarded"
_CLASSES: dict[Any, Any] = {}


def install() -> None:
    """Stand in between, also after a reload.

    Raises AttributeError on a psycopg2 that is built otherwise, GuardError for an older connection that is amid a
    transaction: no run without a guard.
    """
    connect: Callable[..., Any] = psycopg2._connect
    if hasattr(connect, _INSTALLED):
        return

    def guarded_connect(dsn: str, connection_factory: Any = None, **options: Any) -> Any:
        if active() is None or ASKING.get():
            return connect(dsn, connection_factory=connection_factory or BARE_CONNECTION, **options)
        connection = _guarded(connect(dsn, connection_factory=_made_by(connection_factory), **options))
        connection.rowback_meet_now()
        return connection

    setattr(guarded_connect, _INSTALLED, True)
    psycopg2._connect = guarded_connect
    extensions.connection = _psycopg.connection = guarded_class(BARE_CONNECTION)
    _hold_older_ones()


def _hold_older_ones() -> None:
    """Nothing can stand in front of a bare C object: the server holds what is not proven."""
    for each in gc.get_objects():
        if isinstance(each, BARE_CONNECTION) and not isinstance(each, _Guarded) and not each.closed and not each.async_:
            _hold_older(each)


def _hold_older(connection: Any) -> None:
    guard = active()
    if guard is None or ASKING.get() or is_console(connection):
        return
    judgement = judgement_at(connection_ends(connection).parameters, guard)
    if judgement.verdict.disposable:
        return
    if connection.status != extensions.STATUS_READY:
        raise GuardError(
            "usage",
            f"a psycopg2 connection to {judgement.name} is older than the guard and amid a transaction",
            state="nothing was sent",
            help="enable the guard before anything connects (pytest: -p rowback first)",
        )
    ask(connection, READ_ONLY)
    guard.warnings.append(
        f"a psycopg2 connection to {judgement.name} is older than the guard: its session is read-only, its statements"
        " are not looked at"
    )


def _made_by(factory: Any) -> Any:
    """A factory of guarded connections of the same kind. What a function makes is guarded afterwards."""
    if factory is None:
        return guarded_class(BARE_CONNECTION)
    return guarded_class(factory) if inspect.isclass(factory) else factory


def _guarded(made: Any) -> Any:
    """A connection or cursor that another library made, guarded.

    Raises TypeError for one of the bare C class: it cannot be changed, and nothing may run unguarded.
    """
    if not isinstance(made, _Guarded):
        try:
            made.__class__ = guarded_class(type(made))
        except TypeError as error:
            raise TypeError(
                "the rowback guard cannot stand in front of a factory's bare C class: give a subclass"
            ) from error
    return made


class _StandsFor(ABCMeta):
    """What is an instance, or a subclass, of the class that a guarded one stands for is one of that, too.

    Connections that are older than the guard, and classes that were made of it. Of ABCMeta, so that both go together.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        bare = vars(cls).get("rowback_bare")
        return isinstance(instance, bare) if bare else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        bare = vars(cls).get("rowback_bare")
        return issubclass(subclass, bare) if bare else super().__subclasscheck__(subclass)


def guarded_class(base: Any) -> Any:
    """`base`, guarded: its instances are still instances of it, with its name."""
    if issubclass(base, _Guarded):
        return base
    if base not in _CLASSES:
        mixin = _GuardedCursor if issubclass(base, BARE_CURSOR) else _GuardedConnection
        named = {"__module__": base.__module__, "__qualname__": base.__qualname__, "rowback_bare": base}
        _CLASSES[base] = _StandsFor(base.__name__, (mixin, base), named)
    return _CLASSES[base]


class _Guarded:
    """A guarded connection or cursor."""


def _text(connection: Any, query: Any) -> str:
    if isinstance(query, str):
        return query
    if hasattr(query, "as_string"):
        return str(query.as_string(connection))
    return bytes(query).decode(extensions.encodings.get(connection.encoding, "utf-8"), "replace")


class _GuardedConnection(_Guarded):
    rowback_judgement: Judgement | None = None
    rowback_free = False  # a pooler's console
    rowback_lock: RLock | None = None
    rowback_meeting = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        made: Any = super()
        made.__init__(*arguments, **options)
        if "rowback_bare" in vars(type(self)) and not ASKING.get():
            self.rowback_meet_now()

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        made: Any = super()
        cursor = made.cursor(*arguments, **named)
        if self.rowback_free:
            return cursor
        if type(cursor) is BARE_CURSOR:  # the bare C class, where nobody asked for another
            cursor.close()
            name, _, *rest = (*arguments, None, None)[: max(2, len(arguments))]
            options = {**dict(zip(("withhold", "scrollable"), rest, strict=False)), **named}
            options["cursor_factory"] = guarded_class(BARE_CURSOR)
            return made.cursor(options.pop("name", name), **options)
        return _guarded(cursor)

    def rowback_meet_now(self) -> None:
        """Judge the server of a synchronous connection.

        An asynchronous one may still be connecting; it is judged before its first statement.
        """
        connection: Any = self
        if not connection.async_:
            self.rowback_meet()

    def rowback_meet(self) -> None:
        """Judge the server. A class that runs statements while it is made comes here before it is done."""
        if (
            self.rowback_judgement is None
            and not self.rowback_meeting
            and not self.rowback_free
            and active() is not None
        ):
            self.rowback_meeting = True
            try:
                judge_and_hold(self)
            finally:
                self.rowback_meeting = False

    def rowback_check(self, text: str) -> None:
        self.rowback_meet()
        if not self.rowback_free and not self.rowback_meeting and not ASKING.get():
            driver_hooks.check(self.rowback_judgement, text, lambda: connection_ends(self))

    def _refuse(self, verb: str) -> None:
        guard, judgement = active(), self.rowback_judgement
        if guard is not None and not (judgement and judgement.verdict.disposable):
            guard.refuse(judgement, [Finding(Danger.UNKNOWN, verb)], None)

    def set_session(self, isolation_level: Any = None, readonly: Any = None, *rest: Any, **options: Any) -> Any:
        """On an unproven session anything but readonly=True leaves it as it is, which is read-only.

        Where it goes in or out of autocommit, psycopg2 may send SET default_transaction_read_only TO DEFAULT: it is
        held again.
        """
        if driver_hooks.is_held(self.rowback_judgement) and (not readonly or str(readonly).upper() == "DEFAULT"):
            readonly = None
        made: Any = super()
        result = made.set_session(isolation_level, readonly, *rest, **options)
        hold_read_only(self)
        return result

    def set_isolation_level(self, *arguments: Any) -> Any:
        """One of the levels is autocommit."""
        made: Any = super()
        result = made.set_isolation_level(*arguments)
        hold_read_only(self)
        return result

    @property
    def readonly(self) -> Any:
        made: Any = super()
        return made.readonly

    @readonly.setter
    def readonly(self, value: Any) -> None:
        self.set_session(readonly="DEFAULT" if value is None else value)

    @property
    def autocommit(self) -> Any:
        made: Any = super()
        return made.autocommit

    @autocommit.setter
    def autocommit(self, value: Any) -> None:
        self.set_session(autocommit=value)

    def reset(self) -> None:
        """RESET ALL is part of it: an unproven session is read-only again afterwards."""
        made: Any = super()
        made.reset()
        hold_read_only(self)

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

    def _check(self, query: Any, parameters: Any = None) -> str | None:
        """The text as it will be sent, where it had to be looked at."""
        connection = self.connection
        if active() is None or not isinstance(connection, _GuardedConnection):
            return None
        connection.rowback_meet()
        text = _text(connection, query)
        if driver_hooks.passes(connection.rowback_judgement, text):
            return None
        if parameters:  # AsIs and the like put SQL into the text
            made: Any = self
            text = _text(connection, made.mogrify(text, parameters))
        connection.rowback_check(text)
        return text

    def _turn(self) -> AbstractContextManager[object]:
        """Threads may share a connection: while one sends what an unproven session is lifted for, the others wait."""
        if not isinstance(self.connection, _GuardedConnection) or not driver_hooks.is_held(
            self.connection.rowback_judgement
        ):
            return nullcontext()
        if self.connection.rowback_lock is None:
            self.connection.rowback_lock = RLock()
        return self.connection.rowback_lock

    def execute(self, query: Any, vars: Any = None) -> Any:
        with self._turn():
            return self.rowback_execute(query, vars)

    def rowback_execute(self, query: Any, vars: Any) -> Any:
        made: Any = super()
        if may_make(self.connection, _text(self.connection, query)):
            text, ends = _text(self.connection, made.mogrify(query, vars)), connection_ends(self.connection)
            if making := driver_hooks.making_in(self.connection.rowback_judgement, text, lambda: ends):
                return around(self.connection, making, ends, lambda: made.execute(query, vars))
        self._check(query, vars)
        return made.execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> Any:
        every = list(vars_list)
        for parameters in every or [None]:
            self._check(query, parameters)
        made: Any = super()
        with self._turn():
            return made.executemany(query, every)

    def callproc(self, procname: str, parameters: Any = None) -> Any:
        numbered = ", ".join(f"${n}" for n in range(1, len(parameters or ()) + 1))
        self._check(f"select * from {procname}({numbered})")  # noqa: S608 (looked at, not sent)
        made: Any = super()
        with self._turn():
            return made.callproc(procname, parameters) if parameters is not None else made.callproc(procname)

    def copy_expert(self, sql: Any, file: Any, *rest: Any, **options: Any) -> Any:
        self._check(sql)
        made: Any = super()
        with self._turn():
            return made.copy_expert(sql, file, *rest, **options)

    def copy_from(self, file: Any, table: str, *rest: Any, **options: Any) -> Any:
        self._check(f'copy "{table}" from stdin')
        made: Any = super()
        return made.copy_from(file, table, *rest, **options)
