"""Why a table cannot be exchanged for one built beside it: the list of what can be carried over is closed.

What depends on a table and is none of the kinds named here keeps it from being exchanged, whatever it is: a copy of the
table would be another table to it.
"""

from __future__ import annotations

from collections.abc import Collection

from recovery.model.values import TableName
from recovery.postgres.connect import Session

SINCE = 150_000  # publications of whole schemas are asked about
CHECKED_BYTES = 64 * 1024 * 1024  # of a table that references the exchanged one: it is read under the lock

_TABLES = r"""
with t as (
  select c.*, n.nspname, y.typarray from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_type y on y.oid = c.reltype
  join unnest(%(schemas)s::text[], %(names)s::text[]) w (schema_name, name)
    on w.schema_name = n.nspname and w.name = c.relname
  where c.relkind = 'r'
), named (oid, refclassid, refobjid) as (  -- what others may depend on
  select oid, 'pg_class'::regclass::oid, oid from t
  union all select oid, 'pg_type'::regclass, reltype from t
  union all select oid, 'pg_type'::regclass, typarray from t
  union all select t.oid, 'pg_class'::regclass, indexrelid from t join pg_index on indrelid = t.oid
  union all select t.oid, 'pg_constraint'::regclass, k.oid from t join pg_constraint k on conrelid = t.oid
), reasons as (
  select t.oid, 1 as rank, case
    when relispartition or exists (select from pg_inherits where t.oid in (inhrelid, inhparent))
      then 'it is a partition, or another table inherits'
    when reloftype <> 0 then 'it is a typed table'
    when relpersistence <> 'p' then 'it is unlogged'
    when (select amname from pg_am where pg_am.oid = relam) <> 'heap' then 'its access method is not heap'
    when exists (select from pg_attribute where attrelid = t.oid and attisdropped)
      then 'it has columns that were dropped'
    when relforcerowsecurity then 'row security is forced on its owner'
    when not pg_has_role(relowner, 'MEMBER') then 'it belongs to another role'
    when not has_schema_privilege(relnamespace, 'create') then 'this role may not create in its schema'
    when reltablespace <> 0 and not has_tablespace_privilege(reltablespace, 'create')
      then 'this role may not create in its tablespace'
    when exists (select from pg_seclabel where classoid = 'pg_class'::regclass and objoid = t.oid)
      then 'it has a security label'
    when exists (select from pg_rewrite where ev_class = t.oid) then 'it has a rule'
    when exists (select from pg_depend where classid = 'pg_class'::regclass and objid = t.oid and deptype in ('e', 'x'))
      then 'it belongs to an extension'
    when exists (select from pg_publication where puballtables)
      or exists (select from pg_publication_rel where prrelid = t.oid)
      or exists (select from pg_publication_namespace where pnnspid = relnamespace)
      then 'it is published: subscribers would not see the rows'
    when exists (select from pg_subscription_rel where srrelid = t.oid) then 'it is filled by a subscription'
    when exists (select from pg_type y where y.oid in (reltype, typarray)
                 and (typacl is not null or obj_description(y.oid, 'pg_type') is not null))
      then 'its row type has rights or a comment of its own'
    when exists (select from pg_proc p join pg_language l on l.oid = p.prolang where lanname = 'plpgsql'
                 and prosrc ~* ('\mdeclare\M.*\m' || regexp_replace(relname, '(\W)', '\\\1', 'g') || '\M.*\mbegin\M'))
      then 'a PL/pgSQL function may have variables of its row type, which sessions keep'
    when exists (select from pg_replication_slots where slot_type = 'logical' and database = current_database())
      then 'a logical slot would see the rows come into a table of another name'
    end as reason from t
  union all
  select t.oid, 2, case
    when not convalidated and contype in ('c', 'f') then format('constraint "%%s" is not valid', conname)
    when contype not in ('p', 'u', 'c', 'f', 'x', 't', 'n')
      then format('constraint "%%s" is of a kind that is not carried over', conname)
    when contype in ('p', 'u') and (select indisexclusion from pg_index where indexrelid = conindid)
      then format('constraint "%%s" is without overlaps', conname)
    when contype = 'f' and exists (select from pg_class p where p.oid = confrelid and p.relkind <> 'r')
      then format('it references a partitioned table ("%%s")', conname)
    end from t join pg_constraint k on k.conrelid = t.oid
  union all
  select t.oid, 3, case
    when not k.convalidated then format('the key "%%s" of %%s is not valid', k.conname, k.conrelid::regclass)
    when c.relkind <> 'r' or c.relispartition then format('%%s references it and is partitioned', k.conrelid::regclass)
    when pg_relation_size(c.oid) > %(bytes)s then format('%%s references it and is large', k.conrelid::regclass)
    when not pg_has_role(c.relowner, 'MEMBER')
      then format('%%s references it and belongs to another role', k.conrelid::regclass)
    end from t join pg_constraint k on k.contype = 'f' and k.confrelid = t.oid join pg_class c on c.oid = k.conrelid
    where k.conrelid not in (select oid from t)
  union all
  select t.oid, 4, case
    when not (indisvalid and indisready and indislive) then format('index "%%s" is not valid', i.relname)
    when i.reltablespace <> 0 and not has_tablespace_privilege(i.reltablespace, 'create')
      then format('this role may not create in the tablespace of index "%%s"', i.relname)
    when exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.oid
                 and (d.deptype in ('e', 'x') or d.refobjid >= 16384
                      and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)))
      then format('index "%%s" calls a function that is not PostgreSQL''s own', i.relname)
    end from t join pg_index x on x.indrelid = t.oid join pg_class i on i.oid = x.indexrelid
  union all
  select t.oid, 5, case when g.tgenabled <> 'O' and g.tgisinternal then 'triggers of its foreign keys are disabled'
    when exists (select from pg_depend d where d.classid = 'pg_trigger'::regclass and d.objid = g.oid
                 and d.deptype in ('e', 'x')) then format('trigger "%%s" belongs to an extension', g.tgname)
    end from t join pg_trigger g on t.oid in (g.tgrelid, case when g.tgisinternal then g.tgconstrrelid end)
  union all
  select t.oid, 6, case when a.grantor <> relowner then 'another role than its owner granted rights on it' end
    from t, aclexplode(relacl) a
  union all
  select t.oid, 6, case when a.grantor <> relowner then 'another role than its owner granted rights on a column' end
    from t join pg_attribute on attrelid = t.oid, aclexplode(attacl) a
  union all
  select t.oid, 7, case
    when s.relpersistence <> 'p'
      or d.deptype = 'i' and exists (select from aclexplode(s.relacl) a where a.grantor <> s.relowner)
      or exists (select from pg_seclabel where classoid = 'pg_class'::regclass and objoid = s.oid)
      then format('its sequence "%%s" cannot be carried over', s.relname)
    when d.deptype = 'i' and exists (select from pg_depend o where o.refclassid = 'pg_class'::regclass
        and o.refobjid = s.oid) then format('something depends on its sequence "%%s"', s.relname)
    end from t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
      and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    join pg_class s on s.oid = d.objid and s.relkind = 'S'
  union all
  select t.oid, 8, case
    when v.relkind <> 'v' or r.rulename <> '_RETURN'
      then format('%%s depends on it', pg_describe_object('pg_class'::regclass, v.oid, 0))
    when not pg_has_role(v.relowner, 'MEMBER') then format('view %%s belongs to another role', v.oid::regclass)
    when not has_schema_privilege(v.relnamespace, 'create')
      then format('this role may not create in the schema of view %%s', v.oid::regclass)
    when exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = v.oid
                 and e.deptype in ('e', 'x')) then format('view %%s belongs to an extension', v.oid::regclass)
    end from t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
      and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class
  union all
  select distinct t.oid, 9, format('%%s depends on it', pg_describe_object(d.classid, d.objid, d.objsubid))
    from named join t using (oid) join pg_depend d on d.refclassid = named.refclassid and d.refobjid = named.refobjid
    where case d.classid
      when 'pg_class'::regclass then not (
        exists (select from pg_index where indexrelid = d.objid and indrelid = t.oid)
        or exists (select from pg_class s where s.oid = d.objid and (s.relkind = 'S' and d.deptype in ('a', 'i')
                   or s.oid = t.reltoastrelid)))
      when 'pg_type'::regclass then d.objid not in (t.reltype, t.typarray)
      when 'pg_attrdef'::regclass then not exists (select from pg_attrdef where oid = d.objid and adrelid = t.oid)
      when 'pg_constraint'::regclass then not exists (select from pg_constraint k where k.oid = d.objid
        and (k.conrelid = t.oid or k.contype = 'f' and k.confrelid = t.oid))
      when 'pg_trigger'::regclass then not exists (select from pg_trigger g where g.oid = d.objid
        and (g.tgrelid = t.oid or g.tgisinternal))
      when 'pg_policy'::regclass then not exists (select from pg_policy where oid = d.objid and polrelid = t.oid)
      when 'pg_rewrite'::regclass then d.refclassid <> 'pg_class'::regclass
        and not (d.refclassid = 'pg_constraint'::regclass and exists (select from pg_depend also
          where also.classid = d.classid and also.objid = d.objid and also.refclassid = 'pg_class'::regclass
            and also.refobjid = t.oid))
      when 'pg_statistic_ext'::regclass
        then not exists (select from pg_statistic_ext where oid = d.objid and stxrelid = t.oid)
      else true end
)
select t.nspname, t.relname, min(reason) from t join reasons r on r.oid = t.oid and r.reason is not null
  and r.rank = (select min(rank) from reasons f where f.oid = t.oid and f.reason is not null)
group by 1, 2
"""


def swap_obstacles(original: Session, tables: Collection[TableName]) -> dict[TableName, str]:
    """Table → what keeps it from being exchanged together with the others; those that nothing keeps are not named."""
    if original.info.server_version < SINCE:
        return dict.fromkeys(tables, f"PostgreSQL {original.info.server_version // 10000} is older than 15")
    parameters = {
        "schemas": [name.schema_name for name in tables],
        "names": [name.name for name in tables],
        "bytes": CHECKED_BYTES,
    }
    rows = original.execute(_TABLES, parameters).fetchall()
    reasons = {TableName(schema_name=schema, name=name): reason for schema, name, reason in rows}
    return {table: reasons[table] for table in tables if table in reasons}
