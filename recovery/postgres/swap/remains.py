"""What an attempt left that was cut off, once its sessions have ended: which steps are done under hidden names."""

from __future__ import annotations

import time

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.swap.brief_locks import LockNotFree
from recovery.postgres.swap.phase import SwapPhase

ENDED_S, LOOK_AGAIN_S = 60.0, 0.1

# Sessions of rowback whose client may be gone, and that the server has not missed yet.
_OURS = """
from pg_stat_activity a where a.application_name = 'rowback'
  and a.usename = current_user and a.pid <> pg_backend_pid() and a.pid in (select l.pid from pg_locks l
    join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s)
"""
_DONE = """
with t as (
  select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = %s and c.relkind = 'r'
)
select 'index', t.relname, i.relname from t join pg_index on indrelid = t.oid join pg_class i on i.oid = indexrelid
union all
select case contype when 'f' then 'key' else 'constraint' end, relname, conname from t join pg_constraint k
  on k.conrelid = t.oid and contype in ('p', 'u', 'x', 'f')
union all
select 'validate', relname, conname from t join pg_constraint k on k.conrelid = t.oid and contype = 'f' and convalidated
"""
_PHASES = {
    "index": SwapPhase.INDEX,
    "constraint": SwapPhase.CONSTRAINT,
    "key": SwapPhase.KEY,
    "validate": SwapPhase.VALIDATE,
}


def end_builders(original: Session, schema: str) -> None:
    """End sessions of rowback that still work in `schema`. Raises LockNotFree where one does not end."""
    deadline = time.monotonic() + ENDED_S
    while one(original, f"select count(pg_terminate_backend(a.pid)) {_OURS}", (schema,)):
        if time.monotonic() > deadline:
            raise LockNotFree(f"a session of an earlier attempt still works in schema {schema}")
        time.sleep(LOOK_AGAIN_S)


def hidden_oids(original: Session, schema: str) -> dict[str, int]:
    """The tables that are there in `schema`, by name."""
    rows = original.execute(
        "select relname, c.oid::bigint from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where nspname = %s and relkind = 'r'",
        (schema,),
    )
    return {name: int(oid) for name, oid in rows.fetchall()}


def remove_other_rows(original: Session, table: TableName, xid: int) -> None:
    """Delete the rows that transaction `xid` did not copy: those of others that were followed before the exchange.

    They are followed anew; T's checksum has to be that of T's rows alone.
    """
    original.execute(
        sql.SQL("delete from only {} where xmin::text <> {}").format(
            sql.Identifier(*table.key), sql.Literal(str(xid % 2**32))
        )
    )


def done_steps(original: Session, schema: str, within: str) -> frozenset[tuple[SwapPhase, TableName, str]]:
    """The indexes and constraints that are there in `schema`, each by its phase, and its table's name in `within`.

    Each was made in one transaction with all that belongs to it: what is there is whole.
    """
    return frozenset(
        (_PHASES[kind], TableName(schema_name=within, name=table), unit)
        for kind, table, unit in original.execute(_DONE, (schema,)).fetchall()
    )
