"""What a server says of itself, and what this machine knows of the connection: one query, one look into /proc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from guards.identity import Cursor, ServerIdentity
from guards.marker import Marker, read_marker
from guards.same_kernel import runs_here

# Roles, databases and settings that only a managed service has.
ROLES = {
    "rdsadmin": "Amazon RDS", "rds_superuser": "Amazon RDS", "rdstopmgr": "Amazon Aurora",
    "cloudsqlsuperuser": "Cloud SQL", "cloudsqladmin": "Cloud SQL", "alloydbsuperuser": "AlloyDB",
    "alloydbadmin": "AlloyDB", "azure_pg_admin": "Azure Database", "azuresu": "Azure Database",
    "neon_superuser": "Neon", "cloud_admin": "Neon", "supabase_admin": "Supabase", "doadmin": "DigitalOcean",
    "avnadmin": "Aiven", "tsdbadmin": "Timescale", "crunchy_superuser": "Crunchy Bridge", "pscale_admin": "PlanetScale",
    "heroku_admin": "Heroku", "ibm-cloud-base-user": "IBM Cloud",
}  # fmt: skip
DATABASES = {
    "rdsadmin": "Amazon RDS", "cloudsqladmin": "Cloud SQL", "alloydbadmin": "AlloyDB",
    "azure_maintenance": "Azure Database", "azure_sys": "Azure Database", "_aiven": "Aiven",
}  # fmt: skip
SETTINGS = {
    "rds.extensions": "Amazon RDS", "rds.superuser_variables": "Amazon RDS", "cloudsql.iam_authentication": "Cloud SQL",
    "alloydb.iam_authentication": "AlloyDB", "azure.extensions": "Azure Database", "neon.tenant_id": "Neon",
}  # fmt: skip

EVIDENCE_QUERY = """
select (select system_identifier from pg_control_system())::text, d.oid::bigint, d.datname::text,
       current_setting('server_version_num')::int, pg_postmaster_start_time()::text,
       coalesce(host(inet_server_addr()), 'a unix socket'), coalesce(inet_server_port(), 0), inet_client_port(),
       pg_backend_pid(), current_user::text, shobj_description(d.oid, 'pg_database'), pg_database_size(d.oid),
       current_setting('fsync') = 'off', pg_is_in_recovery(),
       current_setting('archive_mode') <> 'off' and (select archived_count > 0 from pg_stat_archiver),
       (select count(*) from pg_stat_replication),
       (select count(*) from pg_stat_activity a where a.datid = d.oid and a.backend_type = 'client backend'
          and a.pid <> pg_backend_pid() and (a.usename, host(a.client_addr)) is distinct from
              (current_user, host(inet_client_addr()))),
       array(select rolname::text from pg_roles where rolname = any(%s::text[]) order by 1),
       array(select datname::text from pg_database where datname = any(%s::text[]) order by 1),
       array(select s from unnest(%s::text[]) s where current_setting(s, true) is not null order by 1)
from pg_database d where d.datname = current_database()
"""


class Wire(Protocol):
    """As much of a connection as is asked: a question, and the socket it goes through."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Cursor: ...

    def fileno(self) -> int: ...


@dataclass(frozen=True)
class Evidence:
    """What is known of one database on one server, and of our way to it.

    `here`: how it is proven that the server runs on this kernel; None when it is not. `managed`: services whose
    tell-tales were found. `foreign_sessions`: in this database, of others than us.
    """

    identity: ServerIdentity
    server: str
    role: str
    born_at: datetime
    here: str | None
    comment_marker: Marker | None
    size_bytes: int
    fsync_off: bool
    standby: bool
    archiving: bool
    replicas: int
    foreign_sessions: int
    managed: tuple[str, ...]


def gather(connection: Wire) -> Evidence:
    """Ask the server and this machine. Raises what the driver raises; nothing is changed."""
    row = connection.execute(EVIDENCE_QUERY, (list(ROLES), list(DATABASES), list(SETTINGS))).fetchone()
    assert row is not None  # a session is always in a database
    identity = ServerIdentity(*row[:5])
    address, port, _, pid, role, comment, size, fsync_off, standby, archiving, replicas, foreign = row[5:17]
    told = [ROLES[name] for name in row[17]] + [DATABASES[name] for name in row[18]] + [SETTINGS[s] for s in row[19]]
    return Evidence(
        identity=identity, server=f"{address}:{port}" if port else str(address), role=role,
        # The upper half of the identifier is the moment of initdb (facts/guards.md §0.6).
        born_at=datetime.fromtimestamp(int(identity.system_identifier) >> 32, UTC),
        here=runs_here(connection.fileno(), pid), comment_marker=read_marker(comment), size_bytes=size,
        fsync_off=fsync_off, standby=standby, archiving=bool(archiving), replicas=replicas, foreign_sessions=foreign,
        managed=tuple(dict.fromkeys(told)),
    )  # fmt: skip
