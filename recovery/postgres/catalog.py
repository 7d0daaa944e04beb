"""Read a database's catalog. Works on PostgreSQL 13-18, as any role that may read the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from psycopg import sql

from recovery.model.catalog import Catalog, Column, ForeignKey, Partitioned, Sequence, Table, Trigger
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one

# pg_temp and toast schemas never match these; extension members belong to their extension, not to the data.
_USER_RELATIONS = """
  n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
                  and e.deptype = 'e')
"""

_TABLES = f"""
select c.oid::bigint, n.nspname, c.relname, pg_table_size(c.oid), c.relpersistence = 'u', c.relrowsecurity
         and (c.relforcerowsecurity or not pg_has_role(c.relowner, 'USAGE'))
         and not (select rolbypassrls or rolsuper from pg_roles where rolname = current_user),
       pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'INSERT')
         and has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'), pn.nspname, p.relname
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
left join pg_class p on p.oid = i.inhparent left join pg_namespace pn on pn.oid = p.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and {_USER_RELATIONS}
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_PARTITIONED = f"""
select c.oid::bigint, n.nspname, c.relname,
       array(select relid::oid::bigint from pg_partition_tree(c.oid) where isleaf order by 1)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'p' and {_USER_RELATIONS}
order by n.nspname collate "C", c.relname collate "C"
"""  # noqa: S608 (constants only)

_COLUMNS = """
select a.attrelid::bigint, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
       coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text, a.attgenerated <> ''
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
"""

_TRIGGERS = """
select tgrelid::bigint, tgname, tgenabled::text from pg_trigger
where tgrelid = any(%s) and not tgisinternal order by tgrelid, tgname
"""

_FOREIGN_KEYS = """
select con.conname, con.conrelid::bigint, con.confrelid::bigint, con.condeferrable, con.confmatchtype = 'f',
  (select array_agg(a.attname order by k.n) from unnest(con.conkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = con.conrelid and a.attnum = k.num),
  (select array_agg(a.attname order by k.n) from unnest(con.confkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = con.confrelid and a.attnum = k.num)
from pg_constraint con where con.contype = 'f' and con.conrelid = any(%s)
  -- a key to a partitioned parent has one more row for each partition: those are not constraints of their own
  and not exists (select from pg_constraint up where up.oid = con.conparentid and up.conrelid = con.conrelid)
order by con.conrelid, con.conname
"""

# Owned by a column (serial, identity) or named in its default: both must move with the rows.
_SEQUENCES = """
select distinct on (s.oid) sn.nspname, s.relname, d.refobjid::bigint, a.attname,
       a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
from pg_class s join pg_namespace sn on sn.oid = s.relnamespace
join (
  select objid as seq, refobjid, refobjsubid from pg_depend
   where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and deptype in ('a', 'i')
  union all
  select dd.refobjid, ad.adrelid, ad.adnum from pg_attrdef ad
   join pg_depend dd on dd.classid = 'pg_attrdef'::regclass and dd.objid = ad.oid
     and dd.refclassid = 'pg_class'::regclass
) d on d.seq = s.oid
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where s.relkind = 'S' and d.refobjid = any(%s) order by s.oid, d.refobjid
"""


def read_catalog(session: Session) -> Catalog:
    """Every user table of the session's database with its columns, triggers, foreign keys and sequences."""
    rows = session.execute(_TABLES).fetchall()
    oids = [row[0] for row in rows]
    names = {row[0]: TableName(schema_name=row[1], name=row[2]) for row in rows}
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, name, type_name, type_oid, base, generated in session.execute(_COLUMNS, (oids,)):
        columns[oid].append(
            Column(name=name, type_name=type_name, type_oid=type_oid, base_type=base, generated=generated)
        )
    triggers: dict[int, list[Trigger]] = defaultdict(list)
    for oid, name, state in session.execute(_TRIGGERS, (oids,)):
        triggers[oid].append(Trigger(table=names[oid], name=name, state=state))
    tables = tuple(
        Table(
            name=names[row[0]], oid=row[0], columns=tuple(columns[row[0]]), bytes=row[3], unlogged=row[4],
            row_security=row[5], owned=row[6], insertable=row[7],
            parent=TableName(schema_name=row[8], name=row[9]) if row[8] else None,
            triggers=tuple(triggers[row[0]]),
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
        sequences=tuple(_sequences(session, oids, names)),
    )


def _foreign_keys(
    session: Session, oids: list[int], names: Mapping[int, TableName], roots: Mapping[int, Partitioned]
) -> Iterable[ForeignKey]:
    for name, child, parent, deferrable, full, columns, parent_columns in session.execute(_FOREIGN_KEYS, (oids,)):
        holders = roots[parent].leaves if parent in roots else (names[parent],)
        yield ForeignKey(
            name=name, child=names[child], columns=tuple(columns),
            parent=roots[parent].name if parent in roots else names[parent], parent_tables=holders,
            parent_columns=tuple(parent_columns), deferrable=deferrable, full_match=full,
        )  # fmt: skip


def _sequences(session: Session, oids: list[int], names: Mapping[int, TableName]) -> Iterable[Sequence]:
    for schema, name, table, column, integers in session.execute(_SEQUENCES, (oids,)).fetchall():
        found = TableName(schema_name=schema, name=name)
        yield Sequence(
            name=found, table=names[table], column=column, last_value=last_value(session, found),
            increment=one(
                session, "select increment_by from pg_sequences where schemaname = %s and sequencename = %s",
                (schema, name),
            ),
            integers=integers,
        )  # fmt: skip


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


def definitions_digest(session: Session) -> str:
    """A digest over the definitions in this database: columns, constraints, indexes, triggers, policies, grants."""
    return str(one(session, _DEFINITIONS))


_DEFINITIONS = f"""
with c as (select c.oid, c.relname, c.relkind, c.relacl, c.relrowsecurity, c.relforcerowsecurity, n.nspname
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I') and c.relpersistence <> 't'
             and {_USER_RELATIONS}),
lines as (
  select format('%s %s.%s %s %s %s', relkind, nspname, relname, relacl, relrowsecurity, relforcerowsecurity) l from c
  union all select format('col %s %s %s %s', attrelid, attnum, attname, format_type(atttypid, atttypmod))
    from pg_attribute where attrelid in (select oid from c) and attnum > 0
  union all select format('con %s %s', conname, pg_get_constraintdef(oid)) || convalidated from pg_constraint
    where conrelid in (select oid from c)
  union all select 'idx ' || pg_get_indexdef(indexrelid) || indisvalid from pg_index
    where indrelid in (select oid from c)
  union all select 'trg ' || pg_get_triggerdef(oid) || tgenabled::text from pg_trigger
    where tgrelid in (select oid from c) and not tgisinternal
  union all select format('pol %s %s %s', polrelid, polname, pg_get_expr(polqual, polrelid)) from pg_policy
  union all select 'fun ' || p.oid::text || md5(p.prosrc) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
)
select md5(string_agg(l, E'\\n' order by l collate "C")) from lines
"""  # noqa: S608 (constants only)
