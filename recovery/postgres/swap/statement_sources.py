"""Queries that print, each for one kind of thing that depends on a table, the statements that carry it over.

They stand in the order in which their statements are executed within a phase. Each selects the table's schema and name,
the index or constraint that the statement is about (or an empty text), and the statement.
"""

from __future__ import annotations

from recovery.postgres.swap.phase import SwapPhase

# `name`: the table's own; `new`: what it is called until the exchange.
TABLES = """
with t as (
  select c.*, n.nspname, format('%%I.%%I', n.nspname, c.relname) as name,
    format('%%I.%%I', %(hidden)s::text, c.relname) as new
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join unnest(%(schemas)s::text[], %(names)s::text[]) w (schema_name, name)
    on w.schema_name = n.nspname and w.name = c.relname where c.relkind = 'r'
)
"""
_OPTIONS = (
    "(select string_agg(format('{prefix}%%s = %%L', option_name, option_value), ', ') from pg_options_to_table({of}))"
)
_SEQUENCES = """
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.classid = 'pg_class'::regclass
  join pg_class s on s.oid = d.objid and s.relkind = 'S'
"""
_STATISTICS = "join pg_statistic_ext x on stxrelid = t.oid join pg_namespace n on n.oid = stxnamespace"
_INDEXES = "join pg_index p on indrelid = t.oid and not indisexclusion join pg_class i on i.oid = indexrelid"
_INCOMING = """
  join pg_constraint k on k.confrelid = t.oid and k.contype = 'f' and k.conrelid not in (select oid from t)
"""
_KEYS = """
  select t.nspname, t.relname, conname, format('alter table only %%s add constraint %%I %%s%%s not valid', t.new,
    conname, head, case when starts_with(definition, head || coalesce(parent.name, ''))
      then coalesce(parent.new, '') || substr(definition, length(head || coalesce(parent.name, '')) + 1) else '!' end)
  from t join pg_constraint k on k.conrelid = t.oid and k.contype = 'f' left join t parent on parent.oid = k.confrelid
  cross join lateral (select pg_get_constraintdef(k.oid) as definition, format('FOREIGN KEY (%%s) REFERENCES ',
    (select string_agg(quote_ident(attname), ', ' order by place) from unnest(conkey) with ordinality a (number, place)
     join pg_attribute on attrelid = conrelid and attnum = number)) as head) printed
"""

SOURCES: tuple[tuple[SwapPhase, str], ...] = (
    (  # LIKE makes them bigint, with the limits of what they were
        SwapPhase.TABLE,
        f"""select nspname, t.relname, '', format('alter sequence %%I.%%I as %%s minvalue %%s maxvalue %%s',
              %(hidden)s::text, s.relname, seqtypid::regtype, seqmin, seqmax)
            from t {_SEQUENCES} join pg_sequence on seqrelid = s.oid where d.deptype = 'i'""",
    ),
    (
        SwapPhase.TABLE,
        f"""select nspname, relname, '', format('alter table only %%s set (%%s)', new,
              {_OPTIONS.format(prefix="", of="reloptions")}) from t where reloptions is not null""",
    ),
    (
        SwapPhase.TABLE,
        f"""select t.nspname, t.relname, '', format('alter table only %%s set (%%s)', new,
              {_OPTIONS.format(prefix="toast.", of="o.reloptions")})
            from t join pg_class o on o.oid = t.reltoastrelid and o.reloptions is not null""",
    ),
    (
        SwapPhase.TABLE,
        """select nspname, relname, '', format('alter table only %%s alter column %%I set statistics %%s', new, attname,
             attstattarget) from t join pg_attribute on attrelid = t.oid and attnum > 0 and attstattarget >= 0""",
    ),
    (
        SwapPhase.TABLE,
        """select nspname, relname, '', format('alter table only %%s alter column %%I set (%%s)', new, attname, options)
           from t join pg_attribute on attrelid = t.oid and attnum > 0, lateral (
             select string_agg(format('%%s = %%L', option_name, option_value), ', ') as options
             from pg_options_to_table(attoptions) where option_name <> 'pg_attver') listed where options is not null""",
    ),
    (
        SwapPhase.TABLE,
        """select nspname, relname, '', format('alter table only %%s replica identity %%s', new,
             case relreplident when 'f' then 'full' else 'nothing' end) from t where relreplident in ('f', 'n')""",
    ),
    (
        SwapPhase.TABLE,
        f"""select t.nspname, t.relname, '', format('CREATE STATISTICS %%I.%%I%%s FROM %%s', %(hidden)s::text, stxname,
              case when starts_with(definition, head) and right(definition, length(tail)) = tail
                then substr(definition, length(head) + 1, length(definition) - length(head) - length(tail))
                else '!' end, new)
            from t {_STATISTICS} cross join lateral (select pg_get_statisticsobjdef(x.oid) as definition,
              format('CREATE STATISTICS %%I.%%I', n.nspname, stxname) as head, ' FROM ' || t.name as tail) printed""",
    ),
    (
        SwapPhase.TABLE,
        f"""select t.nspname, t.relname, '', format('alter statistics %%I.%%I set statistics %%s', %(hidden)s::text,
              stxname, stxstattarget) from t {_STATISTICS} where stxstattarget >= 0""",
    ),
    (
        SwapPhase.TABLE,
        f"""select t.nspname, t.relname, '', format('comment on statistics %%I.%%I is %%L', %(hidden)s::text, stxname,
              description) from t {_STATISTICS}, obj_description(x.oid, 'pg_statistic_ext') description
            where description is not null""",
    ),
    (
        SwapPhase.TABLE,
        f"""select t.nspname, t.relname, '', format('alter statistics %%I.%%I owner to %%s', %(hidden)s::text, stxname,
              stxowner::regrole) from t {_STATISTICS} where pg_get_userbyid(stxowner) <> current_user""",
    ),
    (
        SwapPhase.INDEX,
        f"""select t.nspname, t.relname, i.relname, format('CREATE %%sINDEX %%I ON %%s USING %%s', kind, i.relname, new,
              case when starts_with(definition, head) then substr(definition, length(head) + 1) else '!' end)
            from t {_INDEXES} cross join lateral (select case when indisunique then 'UNIQUE ' else '' end as kind) kinds
            cross join lateral (select pg_get_indexdef(i.oid) as definition,
              format('CREATE %%sINDEX %%I ON %%s USING ', kind, i.relname, t.name) as head) printed""",
    ),
    (
        SwapPhase.INDEX,
        f"""select t.nspname, t.relname, i.relname, format('alter index %%I.%%I alter column %%s set statistics %%s',
              %(hidden)s::text, i.relname, attnum, attstattarget)
            from t {_INDEXES} join pg_attribute on attrelid = i.oid and attstattarget >= 0""",
    ),
    (
        SwapPhase.INDEX,
        f"""select t.nspname, t.relname, i.relname, format('comment on index %%I.%%I is %%L', %(hidden)s::text,
              i.relname, description) from t {_INDEXES}, obj_description(i.oid, 'pg_class') description
            where description is not null""",
    ),
    (
        SwapPhase.CONSTRAINT,
        """select t.nspname, t.relname, conname, format('alter table only %%s add constraint %%I %%s', new, conname,
             case contype when 'x' then pg_get_constraintdef(k.oid) else format('%%s using index %%I%%s%%s',
               case contype when 'p' then 'primary key' else 'unique' end, i.relname,
               case when condeferrable then ' deferrable' else '' end,
               case when condeferred then ' initially deferred' else '' end) end)
           from t join pg_constraint k on k.conrelid = t.oid and contype in ('p', 'u', 'x')
           join pg_class i on i.oid = conindid""",
    ),
    (
        SwapPhase.CONSTRAINT,
        """select nspname, relname, conname, format('comment on constraint %%I on %%s is %%L', conname, new,
             description) from t join pg_constraint k on k.conrelid = t.oid and contype in ('p', 'u', 'x'),
             obj_description(k.oid, 'pg_constraint') description where description is not null""",
    ),
    (
        SwapPhase.CONSTRAINT,
        f"""select t.nspname, t.relname, i.relname, format('alter table only %%s %%s %%I', new, what, i.relname)
            from t {_INDEXES}, lateral (select 'cluster on' as what where indisclustered
              union all select 'replica identity using index' where indisreplident) marks""",
    ),
    (SwapPhase.KEY, _KEYS),
    (
        SwapPhase.KEY,
        """select nspname, relname, conname, format('comment on constraint %%I on %%s is %%L', conname, new,
             description) from t join pg_constraint k on k.conrelid = t.oid and contype = 'f',
             obj_description(k.oid, 'pg_constraint') description where description is not null""",
    ),
    (
        SwapPhase.VALIDATE,
        """select nspname, relname, conname, format('alter table only %%s validate constraint %%I', new, conname)
           from t join pg_constraint on conrelid = t.oid and contype = 'f'""",
    ),
    (
        SwapPhase.BEFORE,
        f"""select nspname, relname, '', format('alter table only %%s drop constraint %%I', conrelid::regclass, conname)
            from t {_INCOMING}""",
    ),
    (
        SwapPhase.BEFORE,
        f"""select nspname, t.relname, '', format('alter sequence %%s owned by none', s.oid::regclass)
            from t {_SEQUENCES} where d.deptype = 'a'""",
    ),
    (
        SwapPhase.BEFORE,
        f"""select t.nspname, t.relname, '', format('alter statistics %%I.%%I set schema %%I', n.nspname, stxname,
              %(old)s::text) from t {_STATISTICS}""",
    ),
    (
        SwapPhase.AFTER,
        f"""select nspname, t.relname, '', format('alter sequence %%s owned by %%s.%%I', s.oid::regclass, t.name,
              attname) from t {_SEQUENCES} join pg_attribute on attrelid = t.oid and attnum = d.refobjsubid
            where d.deptype = 'a'""",
    ),
    (
        SwapPhase.AFTER,
        f"""select nspname, t.relname, '', format('comment on sequence %%s is %%L', s.oid::regclass, description)
            from t {_SEQUENCES}, obj_description(s.oid, 'pg_class') description
            where d.deptype = 'i' and description is not null""",
    ),
    (
        SwapPhase.AFTER,
        f"""select t.nspname, t.relname, '', format('alter statistics %%I.%%I set schema %%I', %(hidden)s::text,
              stxname, n.nspname) from t {_STATISTICS}""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', pg_get_triggerdef(g.oid)
           from t join pg_trigger g on tgrelid = t.oid and not tgisinternal""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('alter table only %%s %%s trigger %%I', name, case tgenabled
             when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, tgname)
           from t join pg_trigger on tgrelid = t.oid and not tgisinternal and tgenabled <> 'O'""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('comment on trigger %%I on %%s is %%L', tgname, name, description)
           from t join pg_trigger g on tgrelid = t.oid and not tgisinternal,
             obj_description(g.oid, 'pg_trigger') description where description is not null""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('create policy %%I on %%s as %%s for %%s to %%s%%s%%s', polname, name,
             case when polpermissive then 'permissive' else 'restrictive' end, case polcmd when 'r' then 'select'
               when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
             (select string_agg(case role when 0 then 'public' else role::regrole::text end, ', ' order by place)
              from unnest(polroles) with ordinality r (role, place)),
             ' using (' || pg_get_expr(polqual, polrelid) || ')',
             ' with check (' || pg_get_expr(polwithcheck, polrelid) || ')')
           from t join pg_policy on polrelid = t.oid""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('comment on policy %%I on %%s is %%L', polname, name, description)
           from t join pg_policy p on polrelid = t.oid, obj_description(p.oid, 'pg_policy') description
           where description is not null""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('alter table only %%s enable row level security', name) from t
           where relrowsecurity""",
    ),
    (
        SwapPhase.AFTER,
        """select nspname, relname, '', format('comment on table %%s is %%L', name, description)
           from t, obj_description(t.oid, 'pg_class') description where description is not null""",
    ),
    (
        SwapPhase.AFTER,
        f"""select nspname, relname, conname, format('alter table only %%s add constraint %%I %%s', conrelid::regclass,
              conname, pg_get_constraintdef(k.oid)) from t {_INCOMING}""",
    ),
    (
        SwapPhase.AFTER,
        f"""select nspname, relname, conname, format('comment on constraint %%I on %%s is %%L', conname,
              conrelid::regclass, description) from t {_INCOMING}, obj_description(k.oid, 'pg_constraint') description
            where description is not null""",
    ),
    (
        SwapPhase.AFTER,
        f"""select min(nspname), min(t.relname), '', format('create or replace view %%s%%s as %%s', v.oid::regclass,
              ' with (' || {_OPTIONS.format(prefix="", of="v.reloptions")} || ')', pg_get_viewdef(v.oid))
            from t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
              and d.classid = 'pg_rewrite'::regclass
            join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class group by v.oid, v.reloptions""",
    ),
)

# Rights are granted in the order in which they stand in the list, on tables, identity sequences and columns.
GRANTS = f"""{TABLES}, o as (
  select nspname, relname, 'table ' || name as target, null::name as attname, relowner, relacl as acl from t
  union all
  select nspname, t.relname, 'sequence ' || s.oid::regclass, null, s.relowner, s.relacl from t {_SEQUENCES}
    where d.deptype = 'i'
  union all
  select nspname, relname, 'table ' || name, attname, relowner, attacl from t
    join pg_attribute on attrelid = t.oid and attnum > 0
)
select nspname, relname, '', text from (
  select nspname, relname, target, attname, 0 as place,
      format('revoke all on %%s from %%s', target, relowner::regrole) as text
    from o where acl is not null and attname is null
  union all
  select nspname, relname, target, attname, min(place), format('grant %%s on %%s to %%s%%s',
      string_agg(privilege_type || coalesce(' (' || quote_ident(attname) || ')', ''), ', ' order by place), target,
      coalesce(nullif(grantee, 0)::regrole::text, 'public'),
      case when is_grantable then ' with grant option' else '' end)
    from o, aclexplode(acl) with ordinality a (grantor, grantee, privilege_type, is_grantable, place)
    group by nspname, relname, target, attname, grantee, is_grantable
) granted order by target, attname nulls first, place
"""
