"""Non-unique indexes: which of a table's may be dropped and built again exactly as they are, and how both is done.

While they are away, their statements are the comment of the case's schema. It is written in the transaction that drops
them and taken back in the one that builds them, so it says at any moment what is still to be built: after a crash, and
without the files of the machine that rowback ran on. A comment is neither locked by pg_dump nor published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql
from psycopg.errors import DependentObjectsStillExist, InsufficientPrivilege, LockNotAvailable

from recovery.model.plain_index import PlainIndex
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.trusted_sql import trusted_sql

MEMORY_BYTES = 256 * 1024 * 1024  # maintenance_work_mem while they are built, where the server's own is less

# Unique ones stay: without them others could write rows that they would refuse. Functions of the user's (oid 16384 and
# up) may need the search_path of a session, which a build does not have (17).
_PLAIN = """
select n.nspname, t.relname, t.oid::bigint, i.relname, pg_get_indexdef(i.oid), coalesce(s.spcname, ''),
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
OTHERWISE = "PostgreSQL would not print it again as it is"


def plain_indexes(original: Session, tables: Iterable[TableName]) -> dict[PlainIndex, str]:
    """Every non-unique index of `tables`, and why it has to stay: empty where it may be dropped and built again."""
    names = set(tables)
    schemas, relations = [name.schema_name for name in names], [name.name for name in names]
    indexes = {
        PlainIndex(
            table=TableName(schema_name=schema, name=table),
            table_oid=oid,
            name=name,
            definition=definition,
            tablespace=tablespace,
            comment=comment,
            statistics=tuple((number, target) for number, target in statistics),
            clustered=clustered,
        ): reason
        for schema, table, oid, name, definition, tablespace, comment, clustered, statistics, reason in (
            original.execute(_PLAIN, (schemas, relations))
        )
    }
    return {index: reason for index, reason in indexes.items() if index.table in names}


def why_not_again(original: Session, index: PlainIndex) -> str:
    """Why an index built from its own definition would be another one, or an empty text.

    PostgreSQL does not print every expression as it reads it (`varchar in (…)`). Tried on an empty temporary table.
    """
    header = f"CREATE INDEX {_quoted(original, index.name)} ON {_quoted(original, *index.table.key)} USING "
    if not index.definition.startswith(header):
        return OTHERWISE
    trial = sql.Identifier("pg_temp", "rowback_trial")
    body = trusted_sql(index.definition.removeprefix(header))
    try:
        with original.transaction(force_rollback=True):
            original.execute(
                sql.SQL("create temporary table rowback_trial (like {})").format(sql.Identifier(*index.table.key))
            )
            original.execute(sql.SQL("create index rowback_trial_index on {} using {}").format(trial, body))
            again = str(one(original, "select pg_get_indexdef('pg_temp.rowback_trial_index'::regclass)"))
    except ROW_ERRORS as error:
        return f"it could not be built: {server_words(error)}"
    return "" if again.partition(" USING ")[2] == index.definition.removeprefix(header) else OTHERWISE


def may_create_schema(original: Session) -> bool:
    """Whether this role may create a schema in the database: that of the statements, or of hidden tables."""
    return bool(one(original, "select has_database_privilege(current_database(), 'create')"))


def kept_statements(original: Session, schema: str) -> dict[str, str]:
    """Name of every index that is still to be built → the statements that build it."""
    row = original.execute(
        "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = %s", (schema,)
    ).fetchone()
    try:
        statements = json.loads(row[0]) if row and row[0] else {}
    except ValueError:  # a person's own comment stands there
        return {}
    return statements if isinstance(statements, dict) else {}


def drop_indexes(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> None:
    """Drop the indexes and keep their statements, both in the open transaction.

    Call under an ACCESS EXCLUSIVE lock on their tables. Raises InsufficientPrivilege where the schema is another's.
    """
    original.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    statements = {
        str(index.relation): ";\n".join(statement.as_string(original) for statement in _building(index))
        for index in indexes
    }
    _keep(original, schema, {**kept_statements(original, schema), **statements})
    for index in indexes:
        original.execute(sql.SQL("/* rowback */ drop index {}").format(sql.Identifier(*index.relation.key)))


def build_indexes(original: Session, schema: str, indexes: Sequence[PlainIndex]) -> None:
    """Build the indexes as they were and forget their statements, in the open transaction.

    Raises ROW_ERRORS for rows, names or tables that do not fit. Where the schema belongs to another role, the
    statements stay: that an index is there tells as well.
    """
    use_memory(original)
    for index in indexes:
        for statement in _building(index):
            original.execute(statement)
    kept = kept_statements(original, schema)
    try:
        with original.transaction():
            names = {str(index.relation) for index in indexes}
            _keep(original, schema, {name: text for name, text in kept.items() if name not in names})
    except InsufficientPrivilege:
        return


def use_memory(original: Session) -> None:
    """Give builds of the open transaction MEMORY_BYTES, where the server's own setting is less."""
    original.execute(
        "select set_config('maintenance_work_mem',"
        " greatest(pg_size_bytes(current_setting('maintenance_work_mem')), %s) / 1024 || 'kB', true)",
        (MEMORY_BYTES,),
    )


def remove_empty_schema(original: Session, schema: str) -> None:
    """Remove the schema where nothing is in it and it keeps no statements, if that can be had at once."""
    used = (
        "select exists (select from pg_class c where c.relnamespace = n.oid)"
        " or obj_description(n.oid, 'pg_namespace') is not null from pg_namespace n where n.nspname = %s"
    )
    row = original.execute(used, (schema,)).fetchone()
    if row is not None and not row[0]:
        try:
            with original.transaction():
                original.execute("set local lock_timeout = '1s'")
                original.execute(sql.SQL("drop schema {}").format(sql.Identifier(schema)))
        except (DependentObjectsStillExist, InsufficientPrivilege, LockNotAvailable):
            return


def table_oid(original: Session, table: TableName) -> int | None:
    """The oid of the table of that name."""
    oid: int | None = one(original, "select to_regclass(%s)::oid::bigint", (str(table),))
    return oid


def index_oids(original: Session, indexes: Iterable[PlainIndex]) -> list[int]:
    """The oids of those that are there."""
    names = [str(index.relation) for index in indexes]
    rows = original.execute("select to_regclass(name)::oid::bigint from unnest(%s::text[]) name", (names,))
    return [oid for (oid,) in rows if oid is not None]


def _keep(original: Session, schema: str, statements: Mapping[str, str]) -> None:
    comment = sql.Literal(json.dumps(statements, ensure_ascii=False)) if statements else sql.SQL("null")
    original.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(schema), comment))


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


def _quoted(original: Session, *parts: str) -> str:
    """A name as PostgreSQL prints it: quoted where it must be."""
    names = (one(original, "select quote_ident(%s)", (part,)) for part in parts)
    return ".".join(map(str, names))
