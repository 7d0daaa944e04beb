"""Who notices when rows of a table change: subscribers, change capture, replicas, materialized views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session, one

_PUBLICATIONS = """
select pubname, count(*) from pg_publication_tables
where (schemaname || '.' || tablename) = any(%s) group by 1 order by 1
"""
_SLOTS = (
    "select slot_name, plugin from pg_replication_slots where slot_type = 'logical' and database = current_database()"
)
_VIEWS = """
select distinct n.nspname || '.' || v.relname from pg_depend d join pg_rewrite r on r.oid = d.objid
join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
where v.relkind = 'm' and d.classid = 'pg_rewrite'::regclass and (tn.nspname || '.' || t.relname) = any(%s) order by 1
"""
_LOCKS = """
select a.pid, a.usename, coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, 'hidden from this role'),
  coalesce(justify_hours(date_trunc('second', now() - a.xact_start))::text, 'an unknown time'),
  bool_or(l.mode not in ('AccessShareLock', 'RowShareLock')), coalesce(a.query, '')
from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
join pg_stat_activity a on a.pid = l.pid
where l.granted and a.pid <> pg_backend_pid() and (n.nspname || '.' || c.relname) = any(%s)
group by 1, 2, 3, 4, a.xact_start, 7 order by 6 desc, a.xact_start limit 10
"""
# It belongs to no session any more: its locks stay until it is ended by its name. pg_locks shows them under the virtual
# id of the session that prepared it, or after a restart under another; the lock on its transaction id has the same one.
_PREPARED = """
select p.gid, p.owner, date_trunc('second', now() - p.prepared)::text,
  bool_or(l.mode not in ('AccessShareLock', 'RowShareLock'))
from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
join pg_locks own on own.locktype = 'transactionid' and own.pid is null
  and own.virtualtransaction = l.virtualtransaction
join pg_prepared_xacts p on p.transaction = own.transactionid
where l.pid is null and p.database = current_database() and (n.nspname || '.' || c.relname) = any(%s)
group by 1, 2, 3 order by 1 limit 10
"""
_REPLICAS = "select count(*) from pg_stat_replication"


@dataclass(frozen=True)
class LockHolder:
    """A session, or a prepared transaction, that holds a lock on one of the tables.

    `writes`: its lock keeps a load waiting. `query`: as sent. `ended_by`: the statement that makes it let go.
    """

    who: str
    writes: bool
    query: str
    ended_by: str


def lock_holders(original: Session, tables: Iterable[TableName]) -> list[LockHolder]:
    """Those of other sessions, writers first, the oldest transaction first; ten at most."""
    names = [".".join(table.key) for table in tables]
    sessions = [
        LockHolder(
            f"pid {pid} ({user}, {app}) is {state}, in its transaction for {age}",
            writes,
            query,
            f"select pg_terminate_backend({pid})",
        )
        for pid, user, app, state, age, writes, query in original.execute(_LOCKS, (names,))
    ]
    prepared = [
        LockHolder(
            f"prepared transaction '{gid}' of {owner} waits for its COMMIT PREPARED since {age}",
            writes,
            "",
            sql.SQL("rollback prepared {}").format(sql.Literal(gid)).as_string(original),
        )
        for gid, owner, age, writes in original.execute(_PREPARED, (names,))
    ]
    return sorted([*sessions, *prepared], key=lambda holder: not holder.writes)


def event_triggers(original: Session) -> list[str]:
    """Event triggers that see definitions being made, by name."""
    rows = original.execute(
        "select evtname from pg_event_trigger where evtenabled in ('O', 'A') and evtevent <> 'login' order by 1"
    )
    return [row[0] for row in rows]


def frozen(original: Session) -> list[str]:
    """Whether role or database start every transaction read-only: they were frozen on purpose, and stay so."""
    if one(original, "select reset_val from pg_settings where name = 'default_transaction_read_only'") != "on":
        return []
    return [
        "default_transaction_read_only = on is set for role or database: rowback's own transactions write all the"
        " same, and the setting stays"
    ]


def fixed_sequences(original: Session) -> list[str]:
    """Sequences that this role may not read or set, by name: a load cannot move them forward."""
    rows = original.execute(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname !~ '^(pg|rowback_case)_'"
        " and n.nspname <> 'information_schema'"
        " and case when c.relkind = 'S' then not has_sequence_privilege(c.oid, 'SELECT')"
        "   or not has_sequence_privilege(c.oid, 'UPDATE') end"
        " and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid"
        "   and d.deptype = 'e') order by 1"
    )
    return [row[0] for row in rows]


def who_notices(original: Session, tables: Iterable[TableName]) -> list[str]:
    """One line for each thing that a write to `tables` reaches or leaves behind."""
    names = [".".join(table.key) for table in tables]
    lines = [
        f"publication {name} sends the changes of {count} of these tables to its subscribers"
        for name, count in original.execute(_PUBLICATIONS, (names,))
    ]
    lines += [f"logical slot {name} ({plugin}) sees the changes" for name, plugin in original.execute(_SLOTS)]
    lines += [
        f"materialized view {name} keeps its old rows until: refresh materialized view {name}"
        for (name,) in original.execute(_VIEWS, (names,))
    ]
    lines += [
        f"event trigger {name} sees that stages and before-images are made: what it writes of that is expected"
        for name in event_triggers(original)
    ]
    ((replicas,),) = original.execute(_REPLICAS).fetchall()
    return [*lines, *([f"{replicas} replicas replay the changes"] if replicas else [])]
