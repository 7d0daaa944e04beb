"""Who a connection really talks to, asked of the server itself: never of a host name, an alias or a variable.

Works with any DB-API-shaped connection of psycopg 3; imports no driver.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# One lean query (sources: GUARD-identity). pg_control_system() is readable by any role.
IDENTITY_QUERY = """
select (select system_identifier from pg_control_system())::text,
       d.oid::bigint, d.datname::text, current_setting('server_version_num')::int,
       extract(epoch from pg_postmaster_start_time())::text
from pg_database d where d.datname = current_database()
"""


class Cursor(Protocol):
    """What `execute` gives back."""

    def fetchone(self) -> Sequence[Any] | None:
        """The next row, or None."""


class Connection(Protocol):
    """As much of a connection as is needed to ask one question."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor:
        """Run one query."""


@dataclass(frozen=True)
class ServerIdentity:
    """A database on a server.

    `system_identifier` is shared by physical copies; `started_at` (seconds since 1970) tells those apart.
    """

    system_identifier: str
    database_oid: int
    database: str
    server_version_num: int
    started_at: str


def identify(connection: Connection) -> ServerIdentity:
    """Ask the server who it is. Raises whatever the driver raises when it may not be asked."""
    row = connection.execute(IDENTITY_QUERY).fetchone()
    assert row is not None  # a session is always in a database
    values: list[Any] = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row]
    return ServerIdentity(*values)


def same_server(one: Connection, other: Connection) -> bool:
    """Whether two sessions are on the same running server, through whatever tunnel or alias.

    Proof: a random advisory lock taken in one session is seen in pg_locks by the other. `one` must be in autocommit
    or the caller's transaction; the lock is released again.
    """
    high, low = secrets.randbits(31), secrets.randbits(31)
    one.execute("select pg_advisory_lock(%s, %s)", (high, low))
    try:
        row = other.execute(
            "select exists (select from pg_locks where locktype = 'advisory' and classid = %s and objid = %s)",
            (high, low),
        ).fetchone()
    finally:
        one.execute("select pg_advisory_unlock(%s, %s)", (high, low))
    assert row is not None
    return bool(row[0])
