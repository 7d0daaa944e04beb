"""Read columns, defaults and checks of tables as the server describes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from recovery.model.table_parts import CheckPart, ColumnPart, TableParts
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one

NAMED_NOT_NULL_SINCE = 180000

_COLUMNS = """
select a.attrelid::bigint as table, a.attnum as number, a.attname as name,
  format_type(a.atttypid, a.atttypmod) as type_name, format_type(a.atttypid, -1) as unlimited_type,
  (with recursive below(o, m, depth) as (select a.atttypid, a.atttypmod, 0 union all
      select y.typbasetype, y.typtypmod, depth + 1 from below join pg_type y on y.oid = o where y.typtype = 'd')
    select format_type(o, m) from below order by depth desc limit 1) as base_type,
  case when a.attcollation <> t.typcollation then quote_ident(cn.nspname) || '.' || quote_ident(c.collname) end
    as collation,
  a.attnotnull as not_null, {not_null_name} as not_null_name,
  pg_get_expr(d.adbin, d.adrelid) as default, a.attgenerated as generated, a.attidentity as identity,
  a.attinhcount > 0 and not a.attislocal as inherited,
  array_remove(array[
    case when a.attstorage <> t.typstorage then 'set storage ' || case a.attstorage when 'p' then 'plain'
      when 'e' then 'external' when 'm' then 'main' else 'extended' end end,
    case a.attcompression when 'p' then 'set compression pglz' when 'l' then 'set compression lz4' end,
    case when coalesce(a.attstattarget, -1) >= 0 then 'set statistics ' || a.attstattarget end,
    case when a.attoptions is not null then 'set (' || array_to_string(a.attoptions, ', ') || ')' end], null)
    as settings,
  array(select refobjid::bigint from pg_depend p where (p.classid, p.objid, p.objsubid)
      = ('pg_class'::regclass, a.attrelid, a.attnum) or (p.classid, p.objid) = ('pg_attrdef'::regclass, d.oid)
    union select t.typelem::bigint where t.typelem <> 0) as needs,
  array(select distinct refobjsubid from pg_depend p where (p.classid, p.objid) = ('pg_attrdef'::regclass, d.oid)
      and p.refobjid = a.attrelid and p.refobjsubid not in (0, a.attnum)) as uses
from pg_attribute a join pg_type t on t.oid = a.atttypid
left join pg_collation c on c.oid = a.attcollation left join pg_namespace cn on cn.oid = c.collnamespace
left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
{not_null_join}
where a.attrelid = any(%s::bigint[]::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""
_NAME_OF_NOT_NULL = (
    "left join pg_constraint nn on nn.contype = 'n' and nn.conrelid = a.attrelid and nn.conkey = array[a.attnum]"
)
_CHECKS = """
select c.conrelid::bigint as table, c.conname as name, pg_get_constraintdef(c.oid) as definition,
  coalesce(c.conkey, '{}')::int[] as columns, c.coninhcount > 0 and not c.conislocal as inherited,
  array(select refobjid::bigint from pg_depend p where (p.classid, p.objid) = ('pg_constraint'::regclass, c.oid)
    and p.refobjid <> c.conrelid) as needs
from pg_constraint c where c.contype = 'c' and c.conrelid = any(%s::bigint[]::oid[]) order by 1, 2
"""
_FACTS = """
select c.oid::bigint as table, n.nspname as schema_name, c.relname as name, pg_get_userbyid(c.relowner) as owner,
  array(select inhparent::bigint from pg_inherits where inhrelid = c.oid) as parents, c.relispartition as is_partition,
  c.relpersistence = 'u' as is_unlogged, coalesce(pg_relation_filenode(c.oid), 0)::bigint as file_node,
  array_remove(array[
    'options ' || (select string_agg(o, ', ' order by o) from unnest(c.reloptions) o),
    'persistence ' || c.relpersistence::text, 'access method ' || (select amname from pg_am where oid = c.relam),
    'of type ' || nullif(c.reloftype, 0)::regtype::text, 'partitioned by ' || pg_get_partkeydef(c.oid),
    'bounds ' || pg_get_expr(c.relpartbound, c.oid),
    'inherits from ' || (select string_agg(inhparent::text, ', ' order by inhseqno) from pg_inherits
      where inhrelid = c.oid and not c.relispartition)], null) as facts
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any(%s::bigint[]::oid[])
"""


def read_table_parts(session: Session, oids: Collection[int]) -> dict[int, TableParts]:
    """The parts of the tables with these oids, by oid; of those that are there."""
    named = session.info.server_version >= NAMED_NOT_NULL_SINCE
    columns = _COLUMNS.format(
        not_null_name="nn.conname" if named else "null::text", not_null_join=_NAME_OF_NOT_NULL if named else ""
    )
    columns_of = _by_table(session, columns, oids)
    checks_of = _by_table(session, _CHECKS, oids)
    return {
        oid: TableParts(
            name=TableName(schema_name=row["schema_name"], name=row["name"]),
            oid=oid,
            owner=row["owner"],
            columns=tuple(map(ColumnPart.model_validate, columns_of[oid])),
            checks=tuple(map(CheckPart.model_validate, checks_of[oid])),
            facts=tuple(row["facts"]),
            parents=tuple(row["parents"]),
            is_partition=row["is_partition"],
            is_unlogged=row["is_unlogged"],
            file_node=row["file_node"],
        )
        for oid, rows in _by_table(session, _FACTS, oids).items()
        for row in rows
    }


def heirs(session: Session, oids: Collection[int]) -> dict[int, int]:
    """Tables that inherit from these at any depth, partitions too: their columns go and come with the parents'.

    Each with one of `oids` that it inherits from.
    """
    rows = session.execute(
        "with recursive heir(oid, of) as (select o, o from unnest(%s::bigint[]::oid[]) o union"
        "  select i.inhrelid, h.of from heir h join pg_inherits i on i.inhparent = h.oid)"
        " select h.oid::bigint, h.of::bigint from heir h where h.oid <> h.of",
        (list(oids),),
    )
    return dict(rows.fetchall())


def identifies(session: Session, table: TableName, columns: Sequence[str]) -> bool:
    """Whether no two rows of `table` hold the same in `columns`, none of which is ever null."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("select not exists (select from {} group by {} having count(*) > 1)")
    return bool(one(session, query.format(sql.Identifier(*table.key), names)))


def _by_table(session: Session, query: str, oids: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with session.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(query.encode(), (list(oids),)):
            rows[row.pop("table")].append(row)
    return rows


def columns_needed_by(session: Session, oids: Collection[int]) -> set[tuple[int, int]]:
    """(table, column number) of the columns that these objects depend on, views by their rules."""
    rows = session.execute(
        "select distinct d.refobjid::bigint, d.refobjsubid from pg_depend d where d.refclassid = 'pg_class'::regclass"
        " and d.refobjsubid > 0 and (d.objid = any(%(oids)s::bigint[]::oid[]) or d.classid = 'pg_rewrite'::regclass"
        " and d.objid in (select oid from pg_rewrite where ev_class = any(%(oids)s::bigint[]::oid[])))",
        {"oids": list(oids)},
    )
    return set(rows.fetchall())


def hanging_on(session: Session, table: TableName, columns: Sequence[str]) -> tuple[str, ...]:
    """What goes along when these columns are dropped: what depends on them, comments, privileges."""
    rows = session.execute(
        "with c as (select a.* from pg_attribute a join pg_class t on t.oid = attrelid join pg_namespace n"
        "  on n.oid = relnamespace where (nspname, relname) = (%s, %s) and attname = any(%s) and not attisdropped)"
        " select pg_describe_object(classid, objid, objsubid) from pg_depend, c where refclassid = 'pg_class'::regclass"
        "  and refobjid = attrelid and refobjsubid = attnum and deptype in ('n', 'a')"
        " union select 'comment on column ' || attname from c where col_description(attrelid, attnum) is not null"
        " union select 'privileges on column ' || attname || ': ' || attacl::text from c where attacl is not null"
        " order by 1",
        (table.schema_name, table.name, list(columns)),
    )
    return tuple(row[0] for row in rows)


def file_node(session: Session, oid: int) -> int:
    """Of the table's file, which a rewrite replaces."""
    return int(one(session, "select coalesce(pg_relation_filenode(%s::bigint::oid::regclass), 0)", (oid,)))
