"""Plain indexes of tables that are loaded whole: dropped before, built from all rows at once, the same afterwards.

Kept up row by row they cost several times what building them costs (docs/performance.md). Only those go that are
nothing but a way to find rows: what guarantees something (unique, exclusion, a constraint's) stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from recovery.model.held_index import HeldIndex
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.load_statements import lock_tables
from recovery.postgres.trusted_sql import trusted_sql

_PLAIN = """
select n.nspname, t.relname, x.relname, pg_get_indexdef(x.oid),
  (select spcname from pg_tablespace s where s.oid = x.reltablespace),
  array(select array[a.attnum, a.attstattarget] from pg_attribute a
        where a.attrelid = x.oid and a.attnum > 0 and a.attstattarget >= 0 order by 1),
  i.indisclustered, obj_description(x.oid, 'pg_class')
from pg_index i join pg_class x on x.oid = i.indexrelid
join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
where i.indrelid = any(%s) and t.relkind = 'r' and x.relkind = 'i' and not x.relispartition
  and not (i.indisunique or i.indisprimary or i.indisexclusion or i.indisreplident)
  and i.indisvalid and i.indisready and i.indislive
  and pg_has_role(current_user, t.relowner, 'usage')
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = x.oid
                  and d.deptype in ('e', 'x'))
  and not exists (select from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = x.oid)
  and not exists (select from pg_seclabel l where l.classoid = 'pg_class'::regclass and l.objoid = x.oid)
order by 1, 2, 3
"""


def plain_indexes(original: Session, tables: Sequence[int]) -> list[HeldIndex]:
    """The indexes of `tables` (oids) that may be dropped and built again by this role."""
    return [
        HeldIndex(
            table=TableName(schema_name=schema, name=table),
            name=name,
            definition=definition,
            tablespace=tablespace,
            targets=tuple((number, target) for number, target in targets),
            clustered=clustered,
            comment=comment,
        )
        for schema, table, name, definition, tablespace, targets, clustered, comment in original.execute(
            _PLAIN, (list(tables),)
        )
    ]


def drop_indexes(original: Session, held: Sequence[HeldIndex], *, timeout_ms: int) -> bool:
    """Drop them in a transaction of a moment; False, and nothing is dropped, where that has to wait or rows came.

    Readers of an empty table miss no index. The lock is asked for as long as `timeout_ms`, because readers queue
    behind it.
    """
    tables = list(dict.fromkeys(index.table for index in held))
    with original.transaction():
        if not lock_tables(original, [], alone=tables, timeout_ms=timeout_ms):
            return False
        if any(_has_rows(original, table) for table in tables) or still_missing(original, held):
            return False
        for index in held:
            original.execute(sql.SQL("/* rowback */ drop index {}").format(sql.Identifier(*index.relation.key)))
    return True


def still_missing(original: Session, held: Iterable[HeldIndex]) -> list[HeldIndex]:
    """Those that are not there, though their tables are."""
    return [index for index in held if not _exists(original, index.relation) and _exists(original, index.table)]


def build_indexes(original: Session, held: Iterable[HeldIndex]) -> None:
    """Build them as they were, in the open transaction. Raises the server's error where one cannot be."""
    for index in held:
        name, table = sql.Identifier(*index.relation.key), sql.Identifier(*index.table.key)
        original.execute(sql.SQL("set local default_tablespace = {}").format(sql.Literal(index.tablespace or "")))
        original.execute(sql.SQL("/* rowback */ {}").format(trusted_sql(index.definition)))
        for number, target in index.targets:
            original.execute(
                sql.SQL("/* rowback */ alter index {} alter column {} set statistics {}").format(
                    name, sql.Literal(number), sql.Literal(target)
                )
            )
        if index.clustered:
            original.execute(
                sql.SQL("/* rowback */ alter table {} cluster on {}").format(table, sql.Identifier(index.name))
            )
        if index.comment is not None:
            original.execute(
                sql.SQL("/* rowback */ comment on index {} is {}").format(name, sql.Literal(index.comment))
            )
    original.execute("set local default_tablespace = default")


def _exists(original: Session, relation: TableName) -> bool:
    query = (
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s)"
    )
    return bool(one(original, query, relation.key))


def _has_rows(original: Session, table: TableName) -> bool:
    return bool(one(original, sql.SQL("select exists (select from only {})").format(sql.Identifier(*table.key))))
