"""What a load costs the server and its replicas: WAL written, and how far standbys are behind."""

from __future__ import annotations

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session, one


def wal_position(original: Session) -> str:
    """Where the WAL ends now."""
    return str(one(original, "select pg_current_wal_insert_lsn()::text"))


def wal_since(original: Session, position: str) -> int:
    """Bytes of WAL the whole server wrote since `position`: ours and what others wrote meanwhile."""
    return int(one(original, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s::pg_lsn)::bigint", (position,)))


def wal_bytes_per_s(original: Session) -> float | None:
    """The average since the server's statistics were reset; None before PostgreSQL 14, which does not count."""
    if original.info.server_version < 140000:
        return None
    rate = one(
        original,
        "select wal_bytes / greatest(extract(epoch from clock_timestamp() - coalesce(stats_reset,"
        " pg_postmaster_start_time())), 1) from pg_stat_wal",
    )
    return float(rate) if rate is not None else None


def replica_lag_bytes(original: Session) -> int:
    """How far the slowest replica is behind, in bytes of WAL; 0 without one.

    A receiver of WAL that replays nothing (pg_receivewal, a logical slot's client) counts by what it has flushed.

    Raises privilege-missing when there are replicas and this role may not see where they are.
    """
    row = original.execute(
        "select count(*) filter (where sent_lsn is null), coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(),"
        " coalesce(replay_lsn, flush_lsn, write_lsn, sent_lsn))), 0)::bigint from pg_stat_replication"
        " where state = 'streaming' or state is null"
    ).fetchone()
    assert row
    if row[0]:
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"{row[0]} replicas follow this server and role '{original.info.user}' may not see how far they are behind",
            state="nothing more was written to the original",
            help=f"grant pg_monitor to {original.info.user}; or apply without --max-wal-rate",
        )
    return int(row[1])
