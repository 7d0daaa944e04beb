"""Any connection that is already open, as the guard can ask it: psycopg 3, psycopg2, and what SQLAlchemy wraps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from guards.connection_words import conninfo_of
from guards.server_evidence import Link
from guards.server_identity import Cursor


class Open(Protocol):
    """An open connection as the guard asks it. `way`: how it was reached, as `rowback guard` takes it."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor:
        """Run one query on the open connection."""

    @property
    def link(self) -> Link:
        """Our end of the connection."""

    @property
    def conninfo(self) -> str:
        """How the connection was reached, as `rowback guard` takes it."""


@dataclass(frozen=True)
class _OfPsycopg:
    connection: Any

    @property
    def conninfo(self) -> str:
        return conninfo_of(self.connection.info.get_parameters())

    @property
    def link(self) -> Link:
        info = self.connection.pgconn
        return Link(info.socket, info.backend_pid, bool(info.ssl_in_use))

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor:
        answered: Cursor = self.connection.execute(query, params)
        return answered


@dataclass(frozen=True)
class _OfPsycopg2:
    connection: Any

    @property
    def conninfo(self) -> str:
        return conninfo_of(self.connection.info.dsn_parameters)

    @property
    def link(self) -> Link:
        info = self.connection.info
        return Link(info.socket, info.backend_pid, bool(info.ssl_in_use))

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor:
        cursor = self.connection.cursor()
        cursor.execute(query, params)
        answered: Cursor = cursor
        return answered


def wire_of(connection: Any) -> Open:
    """Query access to `connection`: a psycopg 3 or psycopg2 connection, or an SQLAlchemy Connection or Session on one.

    Raises TypeError for any other type: its server cannot be determined.
    """
    match type(connection).__module__.partition(".")[0], connection:
        case "sqlalchemy", _ if hasattr(connection, "connection"):
            bound = connection.connection() if callable(connection.connection) else connection.connection
            return wire_of(getattr(bound, "driver_connection", bound))
    for kind in type(connection).__mro__:
        match kind.__module__.partition(".")[0]:
            case "psycopg":
                return _OfPsycopg(connection)
            case "psycopg2":
                return _OfPsycopg2(connection)
    raise TypeError(f"the guard cannot ask a {type(connection).__module__}.{type(connection).__qualname__}")
