"""Read a database's catalog. Works on PostgreSQL 13-18, as any role that may read the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from psycopg import sql

from recovery.model.catalog import Catalog, Column, ForeignKey, Partitioned, RewriteRule, Sequence, Table, Trigger
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one

# pg_temp, toast and our own before-images never match these.
_USER_SCHEMAS = "n.nspname !~ '^(pg|rowback_case)_' and n.nspname <> 'information_schema'"
_MEMBERSHIP = """
  select e.extname::text, c.oid = any(e.extconfig) as config from pg_depend d join pg_extension e on e.oid = d.refobjid
  where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    and d.refclassid = 'pg_extension'::regclass
"""
# What an extension's members define belongs to it.
USER_RELATIONS = f"""{_USER_SCHEMAS} and not exists ({_MEMBERSHIP})"""  # noqa: S608 (constants only)

_TABLES = f"""
select c.oid::bigint, n.nspname, c.relname,
       -- the size of a table waits for whoever locks it, though nobody here wants the table itself
       case when c.oid in (select relation from pg_locks where locktype = 'relation' and mode = 'AccessExclusiveLock'
                           and database = (select oid from pg_database where datname = current_database()))
            then c.relpages::bigint * 8192 else pg_table_size(c.oid) end,
       c.relpersistence = 'u', c.relrowsecurity
         and (c.relforcerowsecurity or not pg_has_role(c.relowner, 'USAGE'))
         and not (select rolbypassrls or rolsuper from pg_roles where rolname = current_user),
       pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT')
         and has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'),
       array(select array[pn.nspname::text, p.relname::text] from pg_inherits i join pg_class p on p.oid = i.inhparent
             join pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = c.oid order by 1),
       member.extname,
       array(select array[r.rulename::text, r.ev_enabled::text] from pg_rewrite r
             where r.ev_class = c.oid and r.ev_type <> '1' and r.ev_enabled <> 'D' order by 1),
       c.relfilenode::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join lateral ({_MEMBERSHIP}) member on true
where c.relkind = 'r' and c.relpersistence <> 't' and {_USER_SCHEMAS}
  -- rows that users keep in tables of an extension: those it registered for dumps, and tables that users own
  and (member.extname is null or member.config or pg_has_role(c.relowner, 'USAGE'))
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_PARTITIONED = f"""
select c.oid::bigint, n.nspname, c.relname,
       array(select relid::oid::bigint from pg_partition_tree(c.oid) where isleaf order by 1),
       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum =
       any(i.indkey) where i.indrelid = c.oid and i.indisprimary order by 1)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'p' and {USER_RELATIONS}
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_COLUMNS = """
select a.attrelid::bigint, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
       b.oid::regtype::text, a.attgenerated <> '', a.attnum, a.attnotnull, a.atthasdef, a.attidentity::text,
       coalesce((select array[n.nspname::text, o.oprname::text] from pg_opclass c
         join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3 and m.amoplefttype = c.opcintype
           and m.amoprighttype = c.opcintype
         join pg_operator o on o.oid = m.amopopr join pg_namespace n on n.oid = o.oprnamespace
         where c.opcdefault and c.opcmethod = 403 and c.opcintype = b.oid),
         array['pg_catalog', '=']),
       format_type(b.oid, b.modifier),
       array(select array[l.oid::bigint::text, l.enumlabel::text] from pg_enum l
             where l.enumtypid in (b.oid, b.element) order by l.enumsortorder)
from pg_attribute a cross join lateral (
  with recursive below as (
    select t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typelem, a.atttypmod as modifier, 0 as depth
    from pg_type t where t.oid = a.atttypid
    union all
    select t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typelem, below.typtypmod, depth + 1
    from below join pg_type t on t.oid = below.typbasetype where below.typtype = 'd')
  select oid, modifier, typelem as element from below order by depth desc limit 1) b
where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
"""

# The primary key first, then the replica identity, then the narrowest unique index over every row. A deferrable one
# tells rows apart as any other: only ON CONFLICT cannot use it.
_KEYS = """
select distinct on (i.indrelid) i.indrelid::bigint,
  (select array_agg(a.attname::text order by k.n) from unnest(i.indkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num where k.n <= i.indnkeyatts)
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any(%s) and i.indisunique and i.indisvalid
  and i.indpred is null and i.indexprs is null
  and not exists (select from unnest(i.indkey) with ordinality k(num, n) join pg_attribute a
                  on a.attrelid = i.indrelid and a.attnum = k.num where k.n <= i.indnkeyatts and not a.attnotnull)
order by i.indrelid, not i.indisprimary, not i.indisreplident, i.indnkeyatts, c.relname
"""

_PARTITION_KEYS = """
with recursive up as (
  select inhrelid as leaf, inhparent as above from pg_inherits where inhrelid = any(%s)
  union all select up.leaf, i.inhparent from up join pg_inherits i on i.inhrelid = up.above)
select up.leaf::bigint, array_agg(distinct a.attname::text) from up
join pg_partitioned_table p on p.partrelid = up.above
join pg_attribute a on a.attrelid = p.partrelid and a.attnum = any(p.partattrs::int2[]) group by 1
"""

_TRIGGERS = """
select tgrelid::bigint, tgname, tgenabled::text from pg_trigger
where tgrelid = any(%s) and not tgisinternal order by tgrelid, tgname
"""

_FOREIGN_KEYS = """
select con.conname, con.conrelid::bigint, con.confrelid::bigint, con.condeferrable,
  con.convalidated, con.confdeltype::text,
  (select array_agg(a.attname order by k.n) from unnest(con.conkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = con.conrelid and a.attnum = k.num),
  (select array_agg(a.attname order by k.n) from unnest(con.confkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = con.confrelid and a.attnum = k.num),
  (select array_agg(array[n.nspname::text, o.oprname::text] order by k.n)
     from unnest(con.conpfeqop) with ordinality k(op, n) join pg_operator o on o.oid = k.op
     join pg_namespace n on n.oid = o.oprnamespace),
  pn.nspname, p.relname
from pg_constraint con join pg_class p on p.oid = con.confrelid join pg_namespace pn on pn.oid = p.relnamespace
where con.contype = 'f' and con.conrelid = any(%s)
  -- a key to a partitioned parent has one more row for each partition: those are not constraints of their own
  and not exists (select from pg_constraint up where up.oid = con.conparentid and up.conrelid = con.conrelid)
order by con.conrelid, con.conname
"""

# Owned by a column (serial, identity) or named in its default. One may serve several tables; an identity column of a
# partitioned table belongs to the parent, whose leaves hold the values. Others stand by themselves: triggers and
# defaults that name them as text leave no trace in pg_depend.
_SEQUENCES = f"""
select distinct n.nspname, c.relname, d.refobjid::bigint, a.attname,
       coalesce(a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype), false),
       q.seqincrement, q.seqmin, q.seqmax,
       case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'UPDATE') end
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_sequence q on q.seqrelid = c.oid
left join (
  select objid as seq, refobjid, refobjsubid from pg_depend
   where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and deptype in ('a', 'i')
  union all
  select dd.refobjid, ad.adrelid, ad.adnum from pg_attrdef ad
   join pg_depend dd on dd.classid = 'pg_attrdef'::regclass and dd.objid = ad.oid
     and dd.refclassid = 'pg_class'::regclass
) d on d.seq = c.oid and d.refobjid = any(%s)
left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where c.relkind = 'S' and c.relpersistence <> 't' and {_USER_SCHEMAS}
  and case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'SELECT') end  -- asked of sequences alone
  and has_schema_privilege(n.oid, 'USAGE') order by 1, 2, 3
"""  # noqa: S608 (constants only)

# Who reads the copy is its master user, whoever logs in to the original.
_HIDDEN_FROM = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = any(%(oids)s) and (
  not has_table_privilege(%(role)s, c.oid, 'SELECT') or not has_schema_privilege(%(role)s, n.oid, 'USAGE')
  or (c.relrowsecurity and (c.relforcerowsecurity or not pg_has_role(%(role)s, c.relowner, 'USAGE'))
      and not (select rolbypassrls or rolsuper from pg_roles where rolname = %(role)s)))
order by 1, 2
"""


def read_catalog(session: Session) -> Catalog:
    """Every user table of the session's database with its columns, triggers, foreign keys and sequences."""
    rows = session.execute(_TABLES).fetchall()
    oids = [row[0] for row in rows]
    names = {row[0]: TableName(schema_name=row[1], name=row[2]) for row in rows}
    columns = _columns(session, oids)
    keys = dict(session.execute(_KEYS, (oids,)).fetchall())
    bounds = dict(session.execute(_PARTITION_KEYS, (oids,)).fetchall())
    triggers: dict[TableName, list[Trigger]] = defaultdict(list)
    for trigger in _triggers(session, names):
        triggers[trigger.table].append(trigger)
    tables = tuple(
        Table(
            name=names[row[0]],
            oid=row[0],
            columns=tuple(columns[row[0]]),
            bytes=row[3],
            unlogged=row[4],
            row_security=row[5],
            owned=row[6],
            readable=row[7],
            insertable=row[8],
            key=tuple(keys.get(row[0], ())),
            partition_key=tuple(bounds.get(row[0], ())),
            inherits=tuple(TableName(schema_name=schema, name=name) for schema, name in row[9]),
            triggers=tuple(triggers[names[row[0]]]),
            extension=row[10],
            rules=tuple(RewriteRule(name=name, state=state) for name, state in row[11]),
            file_node=row[12],
        )
        for row in rows
    )
    roots = {
        oid: Partitioned(
            name=TableName(schema_name=schema, name=name),
            leaves=tuple(names[leaf] for leaf in leaves if leaf in names),
            key=tuple(key),
        )
        for oid, schema, name, leaves, key in session.execute(_PARTITIONED)
    }
    return Catalog(
        tables=tables,
        partitioned=tuple(roots.values()),
        foreign_keys=tuple(_foreign_keys(session, oids, names, roots)),
        sequences=tuple(_sequences(session, oids, names, roots)),
    )


def _columns(session: Session, oids: list[int]) -> Mapping[int, list[Column]]:
    """The columns of each table by its oid, in the order of their numbers."""
    columns: dict[int, list[Column]] = defaultdict(list)
    for row in session.execute(_COLUMNS, (oids,)):
        columns[row[0]].append(
            Column(
                name=row[1],
                type_name=row[2],
                type_oid=row[3],
                base_type=row[4],
                generated=row[5],
                number=row[6],
                not_null=row[7],
                has_default=row[8],
                identity=row[9],
                equality=(row[10][0], row[10][1]),
                value_type=row[11],
                labels=tuple((int(oid), label) for oid, label in row[12]),
            )
        )
    return columns


def read_triggers(session: Session, tables: Iterable[TableName]) -> list[Trigger]:
    """The user triggers of `tables` as they are at this moment."""
    on_tables = set(tables)
    rows = session.execute(_TABLES).fetchall()
    names = {row[0]: TableName(schema_name=row[1], name=row[2]) for row in rows}
    return _triggers(session, {oid: name for oid, name in names.items() if name in on_tables})


def hidden_from(session: Session, role: str, tables: Iterable[Table]) -> list[TableName]:
    """Those of `tables` whose rows `role` may not read, or not all of them."""
    rows = session.execute(_HIDDEN_FROM, {"oids": [table.oid for table in tables], "role": role})
    return [TableName(schema_name=schema, name=name) for schema, name in rows]


def _triggers(session: Session, names: Mapping[int, TableName]) -> list[Trigger]:
    rows = session.execute(_TRIGGERS, (list(names),))
    return [Trigger(table=names[oid], name=name, state=state) for oid, name, state in rows]


def _foreign_keys(
    session: Session, oids: list[int], names: Mapping[int, TableName], roots: Mapping[int, Partitioned]
) -> Iterable[ForeignKey]:
    for row in session.execute(_FOREIGN_KEYS, (oids,)):
        (
            name,
            child,
            parent,
            deferrable,
            validated,
            on_delete,
            columns,
            parent_columns,
            operators,
            schema,
            relation,
        ) = row
        parent_name = TableName(schema_name=schema, name=relation)
        yield ForeignKey(
            name=name,
            child=names[child],
            columns=tuple(columns),
            parent=parent_name,
            parent_tables=roots[parent].leaves if parent in roots else (parent_name,),
            parent_columns=tuple(parent_columns),
            operators=tuple((s, o) for s, o in operators),
            deferrable=deferrable,
            validated=validated,
            on_delete=on_delete,
        )


def _sequences(
    session: Session, oids: list[int], names: Mapping[int, TableName], roots: Mapping[int, Partitioned]
) -> Iterable[Sequence]:
    for row in session.execute(_SEQUENCES, ([*oids, *roots],)).fetchall():
        schema, name, table, column, integers, increment, minimum, maximum, settable = row
        sequence_name = TableName(schema_name=schema, name=name)
        stands_at = last_value(session, sequence_name)
        holders = (None,) if table is None else roots[table].leaves if table in roots else (names[table],)
        for holder in holders:
            yield Sequence(
                name=sequence_name,
                table=holder,
                column=column,
                last_value=stands_at,
                increment=increment,
                minimum=minimum,
                maximum=maximum,
                integers=integers,
                settable=settable,
            )


def invalid_indexes(session: Session, tables: Iterable[TableName]) -> list[str]:
    """Indexes of `tables` that PostgreSQL itself calls invalid: they do not guard their keys."""
    rows = session.execute(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid"
        " join pg_namespace n on n.oid = c.relnamespace where not i.indisvalid"
        " and (n.nspname || '.' || c.relname) = any(%s)",
        ([".".join(table.key) for table in tables],),
    )
    return sorted(row[0] for row in rows)


def last_value(session: Session, sequence: TableName) -> int | None:
    """Where a sequence stands, or None when it has not been used yet."""
    statement = sql.SQL("select case when is_called then last_value end from {}")
    value: int | None = one(session, statement.format(sql.Identifier(*sequence.key)))
    return value


def count_rows(session: Session, tables: Iterable[TableName]) -> dict[TableName, int]:
    """Exact row counts, one table after the other."""
    return {
        table: one(session, sql.SQL("select count(*) from only {}").format(sql.Identifier(*table.key)))
        for table in tables
    }


def nonempty(session: Session, tables: Iterable[TableName]) -> set[TableName]:
    """Which tables hold at least one row: looks at one row each, whatever their size."""
    probe = sql.SQL("select exists (select from only {})")
    return {table for table in tables if one(session, probe.format(sql.Identifier(*table.key)))}
