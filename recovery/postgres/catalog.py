"""Read a database's catalog. Works on PostgreSQL 13-18, as any role that may read the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from psycopg import sql

from recovery.model.catalog import Catalog, Column, ForeignKey, Partitioned, Sequence, Table, Trigger
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one

# pg_temp, toast and our own before-images never match these; extension members belong to their extension.
USER_RELATIONS = """
  n.nspname !~ '^(pg|rowback_case)_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                  and e.deptype = 'e')
"""

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
             join pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = c.oid order by 1)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and {USER_RELATIONS}
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_PARTITIONED = f"""
select c.oid::bigint, n.nspname, c.relname,
       array(select relid::oid::bigint from pg_partition_tree(c.oid) where isleaf order by 1)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'p' and {USER_RELATIONS}
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_COLUMNS = """
select a.attrelid::bigint, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
       coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text, a.attgenerated <> '',
       a.attnum, a.attnotnull, a.atthasdef, a.attidentity::text,
       coalesce((select array[n.nspname::text, o.oprname::text] from pg_opclass c
         join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3 and m.amoplefttype = c.opcintype
           and m.amoprighttype = c.opcintype
         join pg_operator o on o.oid = m.amopopr join pg_namespace n on n.oid = o.oprnamespace
         where c.opcdefault and c.opcmethod = 403 and c.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)),
         array['pg_catalog', '='])
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
"""

# The primary key first; otherwise the narrowest unique index that PostgreSQL checks at once over every row.
_KEYS = """
select distinct on (i.indrelid) i.indrelid::bigint,
  (select array_agg(a.attname::text order by k.n) from unnest(i.indkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num where k.n <= i.indnkeyatts)
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any(%s) and i.indisunique and i.indisvalid and i.indimmediate
  and i.indpred is null and i.indexprs is null
  and not exists (select from unnest(i.indkey) with ordinality k(num, n) join pg_attribute a
                  on a.attrelid = i.indrelid and a.attnum = k.num where k.n <= i.indnkeyatts and not a.attnotnull)
order by i.indrelid, not i.indisprimary, i.indnkeyatts, c.relname
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
select con.conname, con.conrelid::bigint, con.confrelid::bigint, con.condeferrable, con.confmatchtype = 'f',
  con.convalidated,
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
# partitioned table belongs to the parent, whose leaves hold the values.
_SEQUENCES = """
select distinct sn.nspname, s.relname, d.refobjid::bigint, a.attname,
       a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype), q.seqincrement, q.seqmin, q.seqmax
from pg_class s join pg_namespace sn on sn.oid = s.relnamespace join pg_sequence q on q.seqrelid = s.oid
join (
  select objid as seq, refobjid, refobjsubid from pg_depend
   where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and deptype in ('a', 'i')
  union all
  select dd.refobjid, ad.adrelid, ad.adnum from pg_attrdef ad
   join pg_depend dd on dd.classid = 'pg_attrdef'::regclass and dd.objid = ad.oid
     and dd.refclassid = 'pg_class'::regclass
) d on d.seq = s.oid
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where s.relkind = 'S' and d.refobjid = any(%s) order by 1, 2, 3
"""

# Who reads the temporary instance is its master user, whoever logs in to the original.
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
    columns: dict[int, list[Column]] = defaultdict(list)
    for row in session.execute(_COLUMNS, (oids,)):
        columns[row[0]].append(
            Column(
                name=row[1], type_name=row[2], type_oid=row[3], base_type=row[4], generated=row[5], number=row[6],
                not_null=row[7], has_default=row[8], identity=row[9], equality=(row[10][0], row[10][1]),
            )
        )  # fmt: skip
    keys = dict(session.execute(_KEYS, (oids,)).fetchall())
    bounds = dict(session.execute(_PARTITION_KEYS, (oids,)).fetchall())
    triggers: dict[TableName, list[Trigger]] = defaultdict(list)
    for trigger in _triggers(session, names):
        triggers[trigger.table].append(trigger)
    tables = tuple(
        Table(
            name=names[row[0]], oid=row[0], columns=tuple(columns[row[0]]), bytes=row[3], unlogged=row[4],
            row_security=row[5], owned=row[6], readable=row[7], insertable=row[8],
            key=tuple(keys.get(row[0], ())), partition_key=tuple(bounds.get(row[0], ())),
            inherits=tuple(TableName(schema_name=schema, name=name) for schema, name in row[9]),
            triggers=tuple(triggers[names[row[0]]]),
        )
        for row in rows
    )  # fmt: skip
    roots = {
        oid: Partitioned(
            name=TableName(schema_name=schema, name=name),
            leaves=tuple(names[leaf] for leaf in leaves if leaf in names),
        )
        for oid, schema, name, leaves in session.execute(_PARTITIONED)
    }
    return Catalog(
        tables=tables,
        partitioned=tuple(roots.values()),
        foreign_keys=tuple(_foreign_keys(session, oids, names, roots)),
        sequences=tuple(_sequences(session, oids, names, roots)),
    )


def read_triggers(session: Session, tables: Iterable[TableName]) -> list[Trigger]:
    """The user triggers of `tables` as they are at this moment."""
    wanted = set(tables)
    rows = session.execute(_TABLES).fetchall()
    names = {row[0]: TableName(schema_name=row[1], name=row[2]) for row in rows}
    return _triggers(session, {oid: name for oid, name in names.items() if name in wanted})


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
        name, child, parent, deferrable, full, validated, columns, parent_columns, operators, schema, relation = row
        parent_name = TableName(schema_name=schema, name=relation)
        yield ForeignKey(
            name=name, child=names[child], columns=tuple(columns), parent=parent_name,
            parent_tables=roots[parent].leaves if parent in roots else (parent_name,),
            parent_columns=tuple(parent_columns), operators=tuple((s, o) for s, o in operators),
            deferrable=deferrable, full_match=full, validated=validated,
        )  # fmt: skip


def _sequences(
    session: Session, oids: list[int], names: Mapping[int, TableName], roots: Mapping[int, Partitioned]
) -> Iterable[Sequence]:
    for row in session.execute(_SEQUENCES, ([*oids, *roots],)).fetchall():
        schema, name, table, column, integers, increment, minimum, maximum = row
        found = TableName(schema_name=schema, name=name)
        stands_at = last_value(session, found)
        for holder in roots[table].leaves if table in roots else (names[table],):
            yield Sequence(
                name=found, table=holder, column=column, last_value=stands_at, increment=increment,
                minimum=minimum, maximum=maximum, integers=integers,
            )  # fmt: skip


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
    return {table: one(session, sql.SQL("select count(*) from only {}").format(sql.Identifier(*table.key)))
            for table in tables}  # fmt: skip


def nonempty(session: Session, tables: Iterable[TableName]) -> set[TableName]:
    """Which tables hold at least one row: looks at one row each, whatever their size."""
    probe = sql.SQL("select exists (select from only {})")
    return {table for table in tables if one(session, probe.format(sql.Identifier(*table.key)))}
