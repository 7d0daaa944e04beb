"""All that a table is but its rows, as lines of text, so that two readings can be compared.

Names stand in them, never oids: a table that was exchanged for another of the same definition reads the same.
"""

from __future__ import annotations

from collections.abc import Collection

from recovery.model.values import TableName
from recovery.postgres.connect import Session

_LINES = """
with t as (
  select c.*, format('%%I.%%I', n.nspname, c.relname) as name from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join unnest(%(schemas)s::text[], %(names)s::text[]) w (schema_name, name)
    on w.schema_name = n.nspname and w.name = c.relname where c.relkind = 'r'
), v as (
  select distinct c.*, c.oid::regclass::text as name from t join pg_depend d on d.refclassid = 'pg_class'::regclass
    and d.refobjid = t.oid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite r on r.oid = d.objid join pg_class c on c.oid = r.ev_class
), s as (
  select c.*, c.oid::regclass::text as name, d.deptype, d.refobjsubid, t.name as of_table from t
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
    and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  join pg_class c on c.oid = d.objid and c.relkind = 'S'
)
select format('%%s %%s: %%s', relkind, name, concat_ws(' | ', relowner::regrole, relacl::text, reloptions::text,
    (select x.reloptions::text from pg_class x where x.oid = c.reltoastrelid), reltablespace, relpersistence, relam,
    relrowsecurity, relforcerowsecurity, relreplident, relispartition,
    'comment ' || quote_nullable(obj_description(oid, 'pg_class'))))
  from (select oid, relkind, name, relowner, relacl, reloptions, reltoastrelid, reltablespace, relpersistence, relam,
          relrowsecurity, relforcerowsecurity, relreplident, relispartition from t
        union all select oid, relkind, name, relowner, relacl, reloptions, 0, reltablespace, relpersistence, 0,
          relrowsecurity, relforcerowsecurity, relreplident, relispartition from v) c
union all
select format('column %%s.%%I: %%s', name, attname, concat_ws(' | ', attnum, format_type(atttypid, atttypmod),
    attcollation::regcollation, attnotnull, attidentity, attgenerated, attstorage, attcompression,
    coalesce(attstattarget, -1),
    (select array_agg(o)::text from unnest(attoptions) o where o not like 'pg_attver=%%'), attacl::text,
    attislocal, attinhcount,
    (select 'default ' || pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum),
    'comment ' || quote_nullable(col_description(attrelid, attnum))))
  from (select oid, name from t union all select oid, name from v) c join pg_attribute on attrelid = c.oid
  where attnum > 0
union all
select format('constraint %%s on %%s: %%s', quote_ident(conname), conrelid::regclass, concat_ws(' | ', contype,
    pg_get_constraintdef(k.oid), condeferrable, condeferred, convalidated, conislocal, coninhcount, connoinherit,
    case contype when 'f' then conindid::regclass end,
    'comment ' || quote_nullable(obj_description(k.oid, 'pg_constraint')),
    (select string_agg(tgenabled::text, '' order by tgenabled::text) from pg_trigger where tgconstraint = k.oid)))
  from pg_constraint k where conrelid in (select oid from t) or confrelid in (select oid from t)
union all
select format('index %%s: %%s', pg_get_indexdef(i.oid), concat_ws(' | ', i.reltablespace, indisunique, indisprimary,
    indisexclusion, indimmediate, indisclustered, indisvalid, indisready, indisreplident,
    'comment ' || quote_nullable(obj_description(i.oid, 'pg_class')),
    (select string_agg(attnum || ' ' || attstattarget, ', ' order by attnum) from pg_attribute
     where attrelid = i.oid and attstattarget >= 0)))
  from pg_index join pg_class i on i.oid = indexrelid where indrelid in (select oid from t)
union all
select format('trigger %%s on %%s: %%s %%s', pg_get_triggerdef(oid), tgrelid::regclass, tgenabled,
    'comment ' || quote_nullable(obj_description(oid, 'pg_trigger')))
  from pg_trigger where tgrelid in (select oid from t union all select oid from v) and not tgisinternal
union all
select format('policy %%I on %%s: %%s', polname, polrelid::regclass, concat_ws(' | ', polpermissive, polcmd,
    (select string_agg(case role when 0 then 'public' else role::regrole::text end, ', ' order by place)
     from unnest(polroles) with ordinality r (role, place)),
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid),
    'comment ' || quote_nullable(obj_description(oid, 'pg_policy'))))
  from pg_policy where polrelid in (select oid from t)
union all
select format('statistics %%s: %%s', pg_get_statisticsobjdef(oid), concat_ws(' | ', stxowner::regrole,
    coalesce(stxstattarget, -1), 'comment ' || quote_nullable(obj_description(oid, 'pg_statistic_ext'))))
  from pg_statistic_ext where stxrelid in (select oid from t)
union all
select format('sequence %%s: %%s', name, concat_ws(' | ', of_table, deptype, refobjsubid, relowner::regrole,
    relacl::text, relpersistence, q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmax, q.seqmin, q.seqcache,
    q.seqcycle,
    'comment ' || quote_nullable(obj_description(s.oid, 'pg_class'))))
  from s join pg_sequence q on q.seqrelid = s.oid
union all
select format('view %%s: %%s', name, pg_get_viewdef(oid)) from v
"""


def definition_lines(original: Session, tables: Collection[TableName]) -> frozenset[str]:
    """What defines `tables`, and the views, keys, triggers, policies, statistics and sequences that depend on them.

    One line for each thing. Needs the session's pinned search_path, under which names print with their schemas.
    """
    parameters = {"schemas": [name.schema_name for name in tables], "names": [name.name for name in tables]}
    return frozenset(line for (line,) in original.execute(_LINES, parameters))
