"""One digest over what a database defines, to tell whether anything but rows changed."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from recovery.postgres.connect import Session, one
from recovery.postgres.read_catalog import USER_RELATIONS


def definitions_digest(session: Session, *, without: Sequence[int] = ()) -> str:
    """A digest over the definitions in this database: columns, constraints, indexes, triggers, policies, grants.

    `without`: oids of indexes that are passed over.
    """
    return str(one(session, sql.SQL(_DEFINITIONS).format(without=sql.Literal(list(without)))))


_DEFINITIONS = f"""
with c as (select c.oid, c.relname, c.relkind, c.relacl, c.relrowsecurity, c.relforcerowsecurity, n.nspname
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I') and c.relpersistence <> 't'
             and c.oid <> all({{without}}::oid[]) and {USER_RELATIONS}),
lines as (
  select format('%s %s.%s %s %s %s', relkind, nspname, relname, relacl, relrowsecurity, relforcerowsecurity) l from c
  union all select format('col %s.%s %s %s %s', nspname, relname, attnum, attname, format_type(atttypid, atttypmod))
    from pg_attribute join c on c.oid = attrelid where attnum > 0
  union all select format('con %s %s', conname, pg_get_constraintdef(oid)) || convalidated from pg_constraint
    where conrelid in (select oid from c)
  union all select 'idx ' || pg_get_indexdef(indexrelid) || indisvalid from pg_index
    where indrelid in (select oid from c) and indexrelid <> all({{without}}::oid[])
  union all select 'trg ' || pg_get_triggerdef(oid) || tgenabled::text from pg_trigger
    where tgrelid in (select oid from c) and not tgisinternal
  union all select format('pol %s %s %s', polrelid::regclass, polname, pg_get_expr(polqual, polrelid)) from pg_policy
  union all select 'fun ' || p.oid::text || md5(p.prosrc) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
)
select md5(string_agg(l, E'\\n' order by l collate "C")) from lines
"""  # noqa: S608 (constants only)
