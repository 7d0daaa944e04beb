"""What a server says of itself and of the database that a connection is in: one query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from guards.database_mark import Marker, TakenOff, read_marker, taken_off, unreadable
from guards.managed_service_signs import DATABASES, FUNCTIONS, ROLES, SCHEMAS, SETTINGS, array
from guards.server_identity import Cursor, ServerIdentity

# Every column as text, so that it reads the same through any driver. A new session finds its catalog caches empty:
# functions that look one name up stand here instead of the views that join (1.7 ms instead of 3.4).
_OF_DATABASE = """d.oid::text, extract(epoch from pg_postmaster_start_time())::text, pg_backend_pid()::text,
       (select description from pg_shdescription where objoid = d.oid and classoid = 1262),
       exists (select from pg_foreign_server)::text"""  # 1262 is pg_database
_CLIENT = "coalesce(host({0}.client_addr), '') || '(' || {0}.client_port || ')'"
EVIDENCE_QUERY = f"""
select {_OF_DATABASE}, (select system_identifier from pg_control_system())::text, d.datname::text,
       current_setting('server_version_num'),
       extract(epoch from clock_timestamp())::text,
       host(inet_server_addr()) || '(' || inet_server_port() || ')',
       host(inet_client_addr()) || '(' || inet_client_port() || ')', current_user::text,
       pg_database_size(d.oid)::text, (current_setting('fsync') = 'off')::text, pg_is_in_recovery()::text,
       (current_setting('archive_mode') <> 'off' and (select archived_count > 0 from pg_stat_archiver))::text,
       -- others in this database, and whoever follows the server; of other roles an ordinary one sees neither kind nor
       -- address: what is hidden counts. Autovacuum has no role.
       (select json_agg(json_build_array(a.pid, a.usesysid = ours.usesysid, {_CLIENT.format("a")}, w.pid is not null))
        from pg_stat_get_activity(null) a left join pg_stat_get_wal_senders() w on w.pid = a.pid,
             pg_stat_get_activity(pg_backend_pid()) ours
        where a.pid <> ours.pid and a.usesysid is not null and (w.pid is not null
          or a.datid = d.oid and coalesce(a.backend_type, 'client backend') = 'client backend'))::text,
       array_to_string(array(select r from unnest({array(ROLES)}) r where to_regrole(quote_ident(r)) is not null
                             order by 1), ','),
       array_to_string(array(select b.datname from pg_database b where b.datname = any({array(DATABASES)})), ','),
       array_to_string(array(select s from unnest({array(SETTINGS)}) s
                             where current_setting(s, true) is not null), ','),
       array_to_string(array(select f from unnest({array(FUNCTIONS)}) f
                             where to_regproc('pg_catalog.' || f) is not null), ','),
       array_to_string(array(select n from unnest({array(SCHEMAS)}) n where to_regnamespace(n) is not null), ',')
from pg_database d where d.datname = current_database()
"""  # noqa: S608 (constants)
# What tells a database that was met at the same address before, and a mark that was made or taken off since.
JUDGED_BEFORE_QUERY = f"select {_OF_DATABASE} from pg_database d where d.datname = current_database()"  # noqa: S608


@dataclass(frozen=True)
class Link:
    """Our end of a connection.

    Its socket, the process id that the server announced when the session began, and whether it is encrypted.
    """

    fd: int
    key_pid: int
    tls: bool


class Wire(Protocol):
    """As much of a connection as is asked: a question, and our end of it."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor:
        """Run one query."""

    @property
    def link(self) -> Link:
        """Our end of the connection."""


@dataclass(frozen=True)
class OtherSession:
    """Another session: in this database, or following the server (`follows`).

    `client`: its end as `address(port)`; None for a unix socket, and where the server does not show it (`hidden`).
    """

    pid: int
    same_role: bool
    client: str | None
    follows: bool
    hidden: bool


@dataclass(frozen=True)
class Evidence:
    """What was read about one database on one server, and about the connection to it.

    `at`: the server's clock when it was read. `taken_off`: protections that were removed from it. `ends`: the
    connection as the server sees it, the client's address first. `others`: other sessions. `foreign_servers`: tables of
    the database may be those of another server. `managed`: managed services that its settings and roles point to.
    `pooled`: another process answers than the one that authenticated the connection, so session settings reach other
    clients.

    The following are None, or 0, until they are looked up (guards.server_location, and what costs more).
    `on_this_kernel`: the proof that the server runs on this kernel. `next_door`: the bridge or virtual cable that leads
    to it. `foreign_sessions`, `replicas`: sessions and replicas of other clients; `from_afar`: how many of them connect
    from outside this machine and its containers. `certified`: what the server's certificate says. `application`: the
    configured database of the application that this is.
    """

    identity: ServerIdentity
    server: str
    role: str
    born_at: datetime
    at: datetime
    comment_marker: Marker | None
    unreadable_mark: bool
    size_bytes: int
    fsync_off: bool
    standby: bool
    archiving: bool
    managed: tuple[str, ...]
    taken_off: tuple[TakenOff, ...] = ()
    ends: tuple[str | None, str | None] = (None, None)
    others: tuple[OtherSession, ...] = ()
    foreign_servers: bool = False
    pooled: bool = False
    on_this_kernel: str | None = None
    next_door: str | None = None
    foreign_sessions: int = 0
    replicas: int = 0
    from_afar: int = 0
    certified: str | None = None
    application: str | None = None


def as_text(row: Sequence[str | bytes | None]) -> list[str | None]:
    """A row of text as text: in SQL_ASCII psycopg gives bytes."""
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row]


def evidence_of(row: Sequence[str | None], link: Link) -> Evidence:
    """The evidence in the one row that EVIDENCE_QUERY gave through `link`, without a look at this machine."""
    oid, started, pid = (str(value) for value in row[:3])
    comment, foreign, _, name, version, at, server, client, role = row[3:12]
    identifier = str(row[5])
    size, fsync_off, standby, archiving, others, *telltales = row[12:22]
    services = [
        group[telltale]
        for group, names in zip((ROLES, DATABASES, SETTINGS, FUNCTIONS, SCHEMAS), telltales, strict=True)
        for telltale in (names or "").split(",")
        if telltale
    ]
    return Evidence(
        identity=ServerIdentity(identifier, int(oid), str(name), int(version or 0), started),
        server=(server or "a unix socket").replace("(", ":").rstrip(")"),
        role=str(role),
        # The upper half of the identifier is the moment of initdb (sources: GUARD-identity).
        born_at=datetime.fromtimestamp(int(identifier) >> 32, UTC),
        at=datetime.fromtimestamp(float(at or 0), UTC),
        comment_marker=read_marker(comment),
        unreadable_mark=unreadable(comment),
        size_bytes=int(size or 0),
        fsync_off=fsync_off == "true",
        standby=standby == "true",
        archiving=archiving == "true",
        managed=tuple(dict.fromkeys(services)),
        taken_off=tuple(taken_off(comment)),
        ends=(client, server),
        others=tuple(_other(*each) for each in json.loads(others or "[]")),
        foreign_servers=foreign == "true",
        pooled=link.key_pid != int(pid),
    )


def _other(pid: int, same_role: bool | None, client: str | None, follows: bool) -> OtherSession:  # noqa: FBT001 (JSON)
    return OtherSession(pid, bool(same_role), None if (client or "").endswith("(-1)") else client, follows, not client)
