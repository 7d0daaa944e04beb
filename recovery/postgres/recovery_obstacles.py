"""What of a live database makes a recovery harder: settings, privileges, replication, large objects. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from recovery.postgres.connect import Session, one

SETTINGS = (
    "track_commit_timestamp",
    "rds.log_retention_period",
    "max_connections",
    "max_prepared_transactions",
    "superuser_reserved_connections",
)
OLD_TRANSACTION_S = 600


@dataclass(frozen=True)
class SessionFacts:
    """How this session is connected. `tls`: the protocol, empty without; `clock`: the server's time."""

    user: str
    tls: str
    clock: datetime
    free_connections: int


def login_of(session: Session) -> SessionFacts:
    """What the server says of this session."""
    row = session.execute(
        "select current_user, coalesce((select version from pg_stat_ssl where pid = pg_backend_pid() and ssl), ''),"
        " clock_timestamp(), current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " - (select sum(numbackends) from pg_stat_database)::int"
    ).fetchone()
    assert row
    return SessionFacts(row[0], row[1], row[2].astimezone(UTC), row[3])


def may_create_schema(session: Session) -> bool:
    """Whether this role may create a schema, where before-images are kept."""
    return bool(one(session, "select has_database_privilege(current_database(), 'CREATE')"))


def settings_of(session: Session) -> Mapping[str, str]:
    """Those of SETTINGS that this server knows."""
    rows = session.execute("select name, current_setting(name, true) from unnest(%s::text[]) name", (list(SETTINGS),))
    return {name: value for name, value in rows if value is not None}


def slots_taken_from(session: Session) -> list[str]:
    """Subscriptions of every database of the server that have a slot at their publisher, enabled or not."""
    rows = session.execute(
        "select format('%I of %I', subname, datname) from pg_subscription s join pg_database d on d.oid = subdbid"
        " where subslotname is not null order by 1"
    )
    return [row[0] for row in rows]


def slots(session: Session) -> list[tuple[str, str, int]]:
    """Replication slots: name, `active` or `inactive`, and the bytes of WAL that they hold back."""
    rows = session.execute(
        "select slot_name, case when active then 'active' else 'inactive' end,"
        " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint from pg_replication_slots order by 1"
    )
    return [(name, state, retained_bytes) for name, state, retained_bytes in rows]


def sees_others(session: Session) -> bool:
    """Whether this role sees what sessions of other roles do (PostgreSQL documentation 22.5: pg_read_all_stats)."""
    return bool(one(session, "select pg_has_role('pg_read_all_stats', 'USAGE')"))


def databases(session: Session) -> list[str]:
    """Databases that accept connections, without the templates, postgres and rdsadmin."""
    rows = session.execute(
        "select datname from pg_database where datallowconn and not datistemplate"
        " and datname not in ('postgres', 'rdsadmin') order by 1"
    )
    return [row[0] for row in rows]


def large_objects(session: Session) -> int:
    """How many large objects the database has."""
    return int(one(session, "select count(*) from pg_largeobject_metadata"))


def old_transactions(session: Session) -> list[str]:
    """Transactions open for more than ten minutes, in words: a load may wait for their locks."""
    rows = session.execute(
        "select pid, usename, coalesce(nullif(application_name, ''), '?'), state,"
        " justify_hours(date_trunc('second', now() - xact_start))::text"
        " from pg_stat_activity where xact_start < now() - make_interval(secs => %s) and pid <> pg_backend_pid()"
        " and datname = current_database() order by xact_start limit 5",
        (OLD_TRANSACTION_S,),
    )
    return [f"pid {pid} ({user}, {app}) is {state}, for {age}" for pid, user, app, state, age in rows]


def prepared_transactions(session: Session) -> list[str]:
    """Transactions that were prepared and never ended: they hold their locks over restarts."""
    return [row[0] for row in session.execute("select gid from pg_prepared_xacts where database = current_database()")]


def database_bytes(session: Session) -> int:
    """The size of the database on disk."""
    return int(one(session, "select pg_database_size(current_database())"))
