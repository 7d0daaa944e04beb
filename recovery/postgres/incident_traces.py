"""What the live database still tells of an incident that no log shows, and how it logs. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from psycopg import errors as pg

from recovery.model.counter_reading import FULL, Counted, Reading
from recovery.model.incident_findings import Reached, StatementReach
from recovery.postgres.connect import Session
from recovery.postgres.table_names import relations_named

LOGGING = (
    "log_statement",
    "log_min_duration_statement",
    "log_duration",
    "log_line_prefix",
    "log_destination",
    "log_timezone",
    "pgaudit.log",
    "track_commit_timestamp",
    "log_statement_sample_rate",
    "log_min_messages",
    "lc_messages",
)

CLOSURE = """
with recursive hit(oid) as (
  select unnest(%s::oid[])
  union select k.conrelid from pg_constraint k join hit on k.confrelid = hit.oid where k.contype = 'f'
    and case %s when 'cascade' then true when 'delete' then k.confdeltype in ('c', 'n', 'd') else false end
), part(root, oid) as (
  select oid, oid from hit union select root, i.inhrelid from part join pg_inherits i on i.inhparent = part.oid
)
select c.oid::regclass::text, sum(case when s.n_tup_ins > 0 then s.n_live_tup else greatest(l.reltuples, 0) end)::bigint
from part join pg_class c on c.oid = part.root join pg_class l on l.oid = part.oid
left join pg_stat_all_tables s on s.relid = part.oid
where c.relkind in ('r', 'p') group by c.oid order by 1
"""
# A table that is empty although rows were put into it; a file with another number than its table replaced a former one.
# Its size is not asked: that would wait for whoever locks it.
EMPTIED = """
select s.relid::regclass::text, s.n_tup_ins, s.n_tup_del, c.relfilenode <> c.oid
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where s.n_live_tup = 0 and s.n_tup_ins > 0 and (c.relfilenode <> c.oid or s.n_tup_del > 0) or s.n_tup_del > 1000
order by s.n_tup_del desc, 1 limit 20
"""
COUNTED = """
select s.relid::regclass::text, c.oid::bigint, c.relfilenode::bigint,
  case when s.n_tup_ins > 0 then s.n_live_tup else greatest(c.reltuples, 0)::bigint end,
  s.n_tup_ins, s.n_tup_upd, s.n_tup_del
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where s.schemaname !~ '^(pg_temp|rowback_case)_'
order by greatest(s.n_tup_ins, s.n_live_tup) desc, 1 limit %s
"""


def log_settings(session: Session) -> Mapping[str, str]:
    """The settings that decide what a log can show, as they are in force now."""
    rows = session.execute("select name, current_setting(name, true) from unnest(%s::text[]) name", (list(LOGGING),))
    return {name: value for name, value in rows if value is not None}


def status_of(session: Session, xid: int) -> str | None:
    """What the server itself says of a transaction that a log names by its 32 bits: committed, aborted, in progress.

    None where it has forgotten (PostgreSQL documentation 9.28.4: pg_xact_status).
    """
    row = session.execute(
        "select pg_xact_status((case when at > now then at - 4294967296 else at end)::text::xid8)"
        " from (select (now >> 32 << 32) + %s as at, now from"
        " (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as now) s) t"
        " where %s < now or now > 4294967296",
        (xid, xid),
    ).fetchone()
    return str(row[0]) if row and row[0] else None


def commit_time_of(session: Session, xid: int) -> datetime | None:
    """When a transaction that a log names by its 32 bits was committed; None unless track_commit_timestamp was on."""
    try:
        row = session.execute("select pg_xact_commit_timestamp(%s::text::xid)", (str(xid),)).fetchone()
    except (pg.ObjectNotInPrerequisiteState, pg.InvalidParameterValue):  # off, or a transaction without a time
        return None
    return row[0].astimezone(UTC) if row and row[0] else None


def closure(session: Session, tables: Sequence[str], reach: StatementReach) -> list[Reached]:
    """All tables that these names may mean (as a statement writes them) and those that are reached through them.

    Of a partitioned table the rows of its partitions count.
    """
    oids = [relation.oid for name in tables for relation in relations_named(session, name)]
    rows = session.execute(CLOSURE, (oids, str(reach))).fetchall()
    return [Reached(table=table, rows_estimate=rows_estimate) for table, rows_estimate in rows]


def emptied(session: Session) -> dict[str, str]:
    """Tables that look as if they had been emptied, each in words. Counters reach back to their last reset."""
    by_table = {}
    for table, inserted, deleted, rewritten in session.execute(EMPTIED):
        if deleted > 1000:
            by_table[table] = f"{table}: {deleted:,} rows deleted since the counters were reset, rolled back or not"
        else:
            how = "its file was replaced, as TRUNCATE does" if rewritten else "nobody replaced its file"
            by_table[table] = f"{table}: empty, {inserted:,} rows were inserted once; {how}"
    return by_table


def read_counters(session: Session) -> Reading:
    """What the server counted in the tables of this database until now."""
    row = session.execute(
        "select now(), (select stats_reset from pg_stat_database where datname = current_database())"
    ).fetchone()
    assert row
    counted = {
        table: Counted(oid=oid, file=file, rows_estimate=original, inserted=inserted, updated=updated, deleted=deleted)
        for table, oid, file, original, inserted, updated, deleted in session.execute(COUNTED, (FULL,))
    }
    return Reading(at=row[0], reset_at=row[1], tables=counted)
