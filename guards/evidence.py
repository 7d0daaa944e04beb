"""What a server says of itself, and what this machine knows of the connection: one query, one look into /proc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from guards.identity import Cursor, ServerIdentity
from guards.marker import Marker, read_marker, unreadable
from guards.neighbour import next_door
from guards.same_kernel import peer_of, runs_here

# Roles, databases, settings, functions and schemas that only a managed service has (facts/rds.md §6b).
ROLES = {
    "rdsadmin": "Amazon RDS", "rds_superuser": "Amazon RDS", "rdstopmgr": "Amazon Aurora",
    "cloudsqlsuperuser": "Cloud SQL", "cloudsqladmin": "Cloud SQL", "alloydbsuperuser": "AlloyDB",
    "alloydbadmin": "AlloyDB", "azure_pg_admin": "Azure Database", "azuresu": "Azure Database",
    "neon_superuser": "Neon", "cloud_admin": "Neon", "databricks_superuser": "Neon", "supabase_admin": "Supabase",
    "doadmin": "DigitalOcean", "_dodb": "DigitalOcean", "avnadmin": "Aiven", "tsdbadmin": "Timescale",
    "tsdbowner": "Timescale", "crunchy_superuser": "Crunchy Bridge", "crunchy_replication": "Crunchy Bridge",
    "pscale_admin": "PlanetScale", "ibm_superuser": "IBM Cloud", "ibm_admin": "IBM Cloud",
}  # fmt: skip
DATABASES = {
    "rdsadmin": "Amazon RDS", "cloudsqladmin": "Cloud SQL", "alloydbadmin": "AlloyDB",
    "azure_maintenance": "Azure Database", "azure_sys": "Azure Database", "_aiven": "Aiven",
}  # fmt: skip
SETTINGS = {
    "rds.extensions": "Amazon RDS", "rds.superuser_variables": "Amazon RDS", "cloudsql.iam_authentication": "Cloud SQL",
    "cloudsql.supported_extensions": "Cloud SQL", "supautils.reserved_roles": "Supabase",
    "alloydb.iam_authentication": "AlloyDB", "azure.extensions": "Azure Database", "neon.tenant_id": "Neon",
}  # fmt: skip
FUNCTIONS = {"aurora_version": "Amazon Aurora"}
SCHEMAS = {"heroku_ext": "Heroku"}


def _array(names: Iterable[str]) -> str:
    """Constants of ours as an array literal: no driver's parameters are needed to ask."""
    return "array[" + ", ".join(f"'{name}'" for name in names) + "]::text[]"


# Where a session comes from: a unix socket and loopback are one place.
_PLACE = (
    "case when {0}.client_addr is null or {0}.client_addr <<= '127.0.0.0/8' or {0}.client_addr = '::1' then 'here'"
    " else host({0}.client_addr) end"
)
# Every column as text, so that it reads the same through any driver. A new session finds its catalog caches empty:
# functions that look one name up stand here instead of the views that join (1.7 ms instead of 3.4).
EVIDENCE_QUERY = f"""
select (select system_identifier from pg_control_system())::text, d.oid::text, d.datname::text,
       current_setting('server_version_num'), extract(epoch from pg_postmaster_start_time())::text,
       coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a unix socket'),
       pg_backend_pid()::text, current_user::text, host(inet_client_addr()) || '(' || inet_client_port() || ')',
       (select description from pg_shdescription where objoid = d.oid and classoid = 'pg_database'::regclass),
       pg_database_size(d.oid)::text, (current_setting('fsync') = 'off')::text, pg_is_in_recovery()::text,
       (current_setting('archive_mode') <> 'off' and (select archived_count > 0 from pg_stat_archiver))::text,
       (select count(*) from pg_stat_get_wal_senders())::text,
       (select count(*) from pg_stat_get_activity(null) a, pg_stat_get_activity(pg_backend_pid()) ours
        where a.datid = d.oid
          -- of other roles an ordinary one sees neither kind nor address: what is hidden counts
          and coalesce(a.backend_type, 'client backend') = 'client backend' and a.pid <> ours.pid
          and a.usesysid is not null  -- autovacuum has none
          and (a.usesysid, {_PLACE.format("a")}) is distinct from (ours.usesysid, {_PLACE.format("ours")}))::text,
       array_to_string(array(select r from unnest({_array(ROLES)}) r where to_regrole(quote_ident(r)) is not null
                             order by 1), ','),
       array_to_string(array(select b.datname from pg_database b where b.datname = any({_array(DATABASES)})), ','),
       array_to_string(array(select s from unnest({_array(SETTINGS)}) s
                             where current_setting(s, true) is not null), ','),
       array_to_string(array(select f from unnest({_array(FUNCTIONS)}) f
                             where to_regproc('pg_catalog.' || f) is not null), ','),
       array_to_string(array(select n from unnest({_array(SCHEMAS)}) n where to_regnamespace(n) is not null), ',')
from pg_database d where d.datname = current_database()
"""  # noqa: S608 (constants)


@dataclass(frozen=True)
class Link:
    """Our end of a connection: its socket, the process id that the server announced when the session began, and
    whether it is encrypted."""

    fd: int
    key_pid: int
    tls: bool


class Wire(Protocol):
    """As much of a connection as is asked: a question, and our end of it."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor: ...

    @property
    def link(self) -> Link: ...


@dataclass(frozen=True)
class Evidence:
    """What is known of one database on one server, and of our way to it.

    `here`: how it is proven that the server runs on this kernel; None when it is not. `next_door`: the bridge or
    virtual cable that leads to it. `managed`: services whose tell-tales were found. `foreign_sessions`: in this
    database, of others than us. `pooled`: another process answers than the one that greeted us, so session settings
    belong to whoever comes next. `certified`: what the server's certificate tells, `application`: the configured
    database of the application that this is; None where nothing was found or looked for.
    """

    identity: ServerIdentity
    server: str
    role: str
    born_at: datetime
    here: str | None
    comment_marker: Marker | None
    unreadable_mark: bool
    size_bytes: int
    fsync_off: bool
    standby: bool
    archiving: bool
    replicas: int
    foreign_sessions: int
    managed: tuple[str, ...]
    pooled: bool = False
    next_door: str | None = None
    certified: str | None = None
    application: str | None = None


def gather(connection: Wire) -> Evidence:
    """Ask the server and this machine. Raises what the driver raises; nothing is changed."""
    row = connection.execute(EVIDENCE_QUERY).fetchone()
    assert row is not None  # a session is always in a database
    return evidence_of(row, connection.link)


def evidence_of(row: Sequence[str | None], link: Link) -> Evidence:
    """The evidence in the one row that EVIDENCE_QUERY gave through `link`."""
    identifier, oid, name, version, started, server, pid, role = (str(value) for value in row[:8])
    client, comment, size, fsync_off, standby, archiving, replicas, foreign = row[8:16]
    told = [
        known[found]
        for known, names in zip((ROLES, DATABASES, SETTINGS, FUNCTIONS, SCHEMAS), row[16:], strict=True)
        for found in (names or "").split(",") if found
    ]  # fmt: skip
    return Evidence(
        identity=ServerIdentity(identifier, int(oid), name, int(version), started), server=server, role=role,
        # The upper half of the identifier is the moment of initdb (facts/guards.md §0.6).
        born_at=datetime.fromtimestamp(int(identifier) >> 32, UTC),
        here=runs_here(link.fd, int(pid), client), comment_marker=read_marker(comment),
        unreadable_mark=unreadable(comment), size_bytes=int(size or 0),
        fsync_off=fsync_off == "true", standby=standby == "true", archiving=archiving == "true",
        replicas=int(replicas or 0), foreign_sessions=int(foreign or 0), managed=tuple(dict.fromkeys(told)),
        pooled=link.key_pid != int(pid), next_door=next_door(peer_of(link.fd)[0]),
    )  # fmt: skip
