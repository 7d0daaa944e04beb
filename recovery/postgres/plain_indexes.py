"""Plain indexes: which of a table's may be dropped and built again exactly as they are, and the statements for both.

While they are away, their statements also stand in the database itself, in a table of the case's schema: after a crash
they can be built without the files of the machine that rowback ran on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from recovery.model.load_strategy import PlainIndex
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.publications import publishes_everything
from recovery.postgres.trusted_sql import trusted_sql

DROPPED = "dropped_indexes"
MEMORY_BYTES = 256 * 1024 * 1024  # maintenance_work_mem while they are built, where the server's own is less

# Unique ones stay: without them others could write rows that they would refuse. Rows of an expression that calls a
# function of the user's (oid 16384 and up) may need the search_path of a session, which a build does not have (17).
_PLAIN = """
select n.nspname, t.relname, i.relname, pg_get_indexdef(i.oid), coalesce(s.spcname, ''),
  obj_description(i.oid, 'pg_class'), x.indisclustered,
  array(select array[a.attnum, a.attstattarget]::int[] from pg_attribute a
        where a.attrelid = i.oid and a.attstattarget >= 0 order by a.attnum),
  case when not (x.indisvalid and x.indisready) then 'it is not valid'
    when i.relispartition then 'it belongs to an index of the partitioned table'
    when not pg_has_role(t.relowner, 'USAGE') then 'its table belongs to another role'
    when not has_schema_privilege(n.oid, 'create') then 'this role may not create in its schema'
    when i.reltablespace <> 0 and not has_tablespace_privilege(i.reltablespace, 'create')
      then 'this role may not create in its tablespace'
    when exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.oid
                 and d.deptype in ('e', 'x')) then 'it belongs to an extension'
    when exists (select from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = i.oid)
      then 'something depends on it'
    when exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.oid
                 and d.refclassid = 'pg_proc'::regclass and d.refobjid >= 16384)
      then 'it calls a function that is not PostgreSQL''s own'
    else '' end
from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
join pg_namespace n on n.oid = t.relnamespace left join pg_tablespace s on s.oid = i.reltablespace
where not (x.indisunique or x.indisexclusion) and t.relkind = 'r' and n.nspname = any(%s) and t.relname = any(%s)
  and not exists (select from pg_constraint c where c.conindid = i.oid and c.conrelid = t.oid)
order by n.nspname collate "C", t.relname collate "C", i.relname collate "C"
"""


def plain_indexes(original: Session, tables: Iterable[TableName]) -> dict[PlainIndex, str]:
    """Every plain index of `tables`, and why it has to stay: empty where it may be dropped and built again."""
    names = set(tables)
    schemas, relations = [name.schema_name for name in names], [name.name for name in names]
    indexes = {
        PlainIndex(
            table=TableName(schema_name=schema, name=table),
            name=name,
            definition=definition,
            tablespace=tablespace,
            comment=comment,
            statistics=tuple((number, target) for number, target in statistics),
            clustered=clustered,
        ): reason
        for schema, table, name, definition, tablespace, comment, clustered, statistics, reason in original.execute(
            _PLAIN, (schemas, relations)
        )
    }
    return {index: reason for index, reason in indexes.items() if index.table in names}


def may_keep_statements(original: Session) -> bool:
    """Whether this role may make the schema that keeps their statements."""
    return bool(one(original, "select has_database_privilege(current_database(), 'create')"))


def drop_indexes(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> None:
    """Drop the indexes and keep their statements in `schema`, both in the open transaction.

    Call under an ACCESS EXCLUSIVE lock on their tables.
    """
    original.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    kept, kind = sql.Identifier(schema, DROPPED), sql.SQL("unlogged " if publishes_everything(original) else "")
    original.execute(
        sql.SQL("create {}table if not exists {} (index text primary key, statements text)").format(kind, kept)
    )
    for index in indexes:
        statements = ";\n".join(statement.as_string(original) for statement in _building(index))
        original.execute(
            sql.SQL("insert into {} values (%s, %s) on conflict (index) do update set statements = %s").format(kept),
            (str(index.relation), statements, statements),
        )
        original.execute(sql.SQL("/* rowback */ drop index {}").format(sql.Identifier(*index.relation.key)))


def build_indexes(original: Session, indexes: Iterable[PlainIndex]) -> None:
    """Build the indexes as they were, in the open transaction."""
    original.execute(
        "select set_config('maintenance_work_mem',"
        " greatest(pg_size_bytes(current_setting('maintenance_work_mem')), %s) / 1024 || 'kB', true)",
        (MEMORY_BYTES,),
    )
    for index in indexes:
        for statement in _building(index):
            original.execute(statement)


def forget_statements(original: Session, schema: str) -> None:
    """Remove what `drop_indexes` kept, and the schema where nothing else is in it, in the open transaction."""
    original.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(schema, DROPPED)))
    used = "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s)"
    if not one(original, used, (schema,)):
        original.execute(sql.SQL("drop schema if exists {}").format(sql.Identifier(schema)))


def missing_indexes(original: Session, indexes: Iterable[PlainIndex]) -> list[PlainIndex]:
    """Those of which neither the index nor anything else of their name is there, though their table is."""
    query = "select to_regclass(%s) is not null and to_regclass(%s) is null"
    return [index for index in indexes if one(original, query, (str(index.table), str(index.relation)))]


def index_oids(original: Session, indexes: Iterable[PlainIndex]) -> list[int]:
    """The oids of those that are there."""
    names = [str(index.relation) for index in indexes]
    rows = original.execute("select to_regclass(name)::oid::bigint from unnest(%s::text[]) name", (names,))
    return [oid for (oid,) in rows if oid is not None]


def _building(index: PlainIndex) -> list[sql.SQL | sql.Composed]:
    name, table = sql.Identifier(*index.relation.key), sql.Identifier(*index.table.key)
    statements: list[sql.SQL | sql.Composed] = [
        sql.SQL("set local default_tablespace = {}").format(sql.Literal(index.tablespace)),
        sql.SQL("/* rowback */ {}").format(trusted_sql(index.definition)),
    ]
    statements += [
        sql.SQL("alter index {} alter column {} set statistics {}").format(
            name, sql.Literal(number), sql.Literal(target)
        )
        for number, target in index.statistics
    ]
    if index.comment is not None:
        statements.append(sql.SQL("comment on index {} is {}").format(name, sql.Literal(index.comment)))
    if index.clustered:
        statements.append(sql.SQL("alter table only {} cluster on {}").format(table, sql.Identifier(index.name)))
    return statements
