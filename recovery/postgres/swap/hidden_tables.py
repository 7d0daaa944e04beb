"""Tables under hidden names: made empty, built from their rows by the statements of a phase, and removed again."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.plain_indexes import use_memory
from recovery.postgres.swap.brief_locks import LockNotFree, until_locked
from recovery.postgres.swap.remains import end_builders
from recovery.postgres.swap.statements import SwapStatement
from recovery.postgres.trusted_sql import trusted_sql

_FACTS = """
select c.relowner::regrole::text, pg_get_userbyid(c.relowner) = current_user,
  coalesce((select spcname from pg_tablespace where oid = c.reltablespace), '')
from pg_class c where c.oid = to_regclass(%s)
"""
_IDENTITY = """
select attname, n.nspname, s.relname from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
join pg_namespace n on n.oid = s.relnamespace join pg_attribute on attrelid = d.refobjid and attnum = d.refobjsubid
where d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass(%s) and d.classid = 'pg_class'::regclass
  and d.deptype = 'i' order by attnum
"""
# Rights that ALTER DEFAULT PRIVILEGES gave to what was just made.
_RIGHTS = """
select c.relkind::text, c.relname, coalesce(nullif(a.grantee, 0)::regrole::text, 'public')
from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
where n.nspname = %s and c.relkind in ('r', 'S') group by 1, 2, 3
"""


def hidden_name(schema: str, table: TableName) -> TableName:
    """What the new table is called until it is exchanged."""
    return TableName(schema_name=schema, name=table.name)


def identity_sequences(original: Session, table: TableName) -> dict[str, TableName]:
    """Identity column → its sequence."""
    rows = original.execute(_IDENTITY, (str(table),)).fetchall()
    return {column: TableName(schema_name=schema, name=name) for column, schema, name in rows}


def make_hidden_tables(original: Session, schema: str, tables: Sequence[TableName]) -> None:
    """The schema and, in it, each table anew and empty: columns, defaults, checks, identity. One transaction.

    The tables' owners alone may look into the schema. Raises what the server raises where the role may not.
    """
    with original.transaction():
        original.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        for table in tables:
            _make(original, schema, table)
        for kind, name, grantee in original.execute(_RIGHTS, (schema,)).fetchall():
            original.execute(
                sql.SQL("revoke all on {} {} from {}").format(
                    sql.SQL("table" if kind == "r" else "sequence"),
                    sql.Identifier(schema, name),
                    trusted_sql(grantee),
                )
            )


def _make(original: Session, schema: str, table: TableName) -> None:
    ((owner, ours, tablespace),) = original.execute(_FACTS, (str(table),)).fetchall()
    new = sql.Identifier(schema, table.name)
    original.execute(sql.SQL("set local default_tablespace = {}").format(sql.Literal(tablespace)))
    original.execute(
        sql.SQL(
            "create table {} (like {} including defaults including constraints including generated including identity"
            " including storage including compression including comments)"
        ).format(new, sql.Identifier(*table.key))
    )
    names = identity_sequences(original, table)
    for column, made in identity_sequences(original, hidden_name(schema, table)).items():
        if made.name != names[column].name:
            original.execute(
                sql.SQL("alter sequence {} rename to {}").format(
                    sql.Identifier(*made.key), sql.Identifier(names[column].name)
                )
            )
    if not ours:
        original.execute(
            sql.SQL("grant usage, create on schema {} to {}").format(sql.Identifier(schema), trusted_sql(owner))
        )
        original.execute(sql.SQL("alter table {} owner to {}").format(new, trusted_sql(owner)))


def execute_unit(session: Session, statements: Sequence[SwapStatement]) -> None:
    """Statements that belong together, in one transaction. Raises LockNotFree, or what the server raises."""

    def attempt(wait_ms: int) -> bool:
        with session.transaction():
            session.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(wait_ms)))
            use_memory(session)
            for statement in statements:
                session.execute(sql.SQL("set local default_tablespace = {}").format(sql.Literal(statement.tablespace)))
                session.execute(statement.sql)
        return True

    until_locked(session, [statement.table for statement in statements], attempt)


def analyze(session: Session, table: Table) -> None:
    """Statistics for the planner: the first query after the exchange needs them."""
    session.execute(sql.SQL("analyze {}").format(sql.Identifier(*table.name.key)))


def remove_hidden_tables(original: Session, schema: str) -> bool:
    """Remove the schema with the tables in it, where it is there. False where a lock was not free.

    Sessions of rowback that still build in it are terminated.
    """
    if not one(original, "select to_regnamespace(quote_ident(%s)) is not null", (schema,)):
        return True

    def attempt(wait_ms: int) -> bool:
        with original.transaction():
            original.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(wait_ms)))
            drop_schema_with_tables(original, schema)
        return True

    try:
        end_builders(original, schema)
        until_locked(original, [], attempt)
    except LockNotFree:
        return False
    return True


def drop_schema_with_tables(original: Session, schema: str) -> None:
    """Drop the tables of a schema, all at once because they may reference each other, and the schema.

    Nothing that depends on them goes along.
    """
    rows = original.execute(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relkind = 'r'",
        (schema,),
    ).fetchall()
    if rows:
        names = sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in rows)
        original.execute(sql.SQL("drop table {}").format(names))
    original.execute(sql.SQL("drop schema {}").format(sql.Identifier(schema)))
