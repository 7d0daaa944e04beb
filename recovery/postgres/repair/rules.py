"""What the original's definitions demand of a row: unique and exclusion keys, checks, NOT NULL.

Expressions are the server's own text of its own definitions (pg_get_expr, pg_get_indexdef), printed under the pinned
search_path, so that every name outside pg_catalog is qualified. They name columns without a table, hence hold for any
relation with the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.values import TableName
from recovery.postgres.connect import Session


@dataclass(frozen=True)
class DistinctRule:
    """No two rows may agree in all `expressions` by `operators` where `predicate` holds."""

    name: str
    expressions: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    predicate: str | None
    nulls_distinct: bool = True
    deferrable: bool = False


@dataclass(frozen=True)
class CheckRule:
    """`expression` must not be false."""

    name: str
    expression: str


@dataclass(frozen=True)
class Rules:
    """The rules of one table, by name."""

    distinct: tuple[DistinctRule, ...]
    checks: tuple[CheckRule, ...]


# For a unique index the operator is the equality of its operator class; an exclusion constraint names its own.
_DISTINCT = """
select i.indrelid::bigint, c.relname, pg_get_expr(i.indpred, i.indrelid),
  not coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false), not i.indimmediate,
  array(select pg_get_indexdef(i.indexrelid, k, false) from generate_series(1, i.indnkeyatts) k order by k),
  coalesce(
    (select array_agg(array[n.nspname::text, o.oprname::text] order by x.n)
       from pg_constraint con, unnest(con.conexclop) with ordinality x(op, n)
       join pg_operator o on o.oid = x.op join pg_namespace n on n.oid = o.oprnamespace
      where con.conindid = i.indexrelid and con.contype = 'x'),
    (select array_agg(array[n.nspname::text, o.oprname::text] order by x.n)
       from unnest(i.indclass) with ordinality x(opc, n) join pg_opclass oc on oc.oid = x.opc
       join pg_amop am on am.amopfamily = oc.opcfamily and am.amopstrategy = 3
         and am.amoplefttype = oc.opcintype and am.amoprighttype = oc.opcintype
       join pg_operator o on o.oid = am.amopopr join pg_namespace n on n.oid = o.oprnamespace
      where x.n <= i.indnkeyatts))
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any(%s) and i.indisvalid and (i.indisunique or i.indisexclusion)
order by i.indrelid, not i.indisprimary, c.relname
"""

_CHECKS = """
select conrelid::bigint, conname, pg_get_expr(conbin, conrelid) from pg_constraint
where conrelid = any(%s) and contype = 'c' order by conrelid, conname
"""

_PARTITION_BOUNDS = """
select oid::bigint, pg_get_partition_constraintdef(oid) from pg_class
where oid = any(%s) and relispartition and pg_get_partition_constraintdef(oid) is not null
"""


def read_rules(session: Session, tables: Iterable[Table]) -> dict[TableName, Rules]:
    """The rules of each table. A NOT NULL column is a check."""
    wanted = {table.oid: table for table in tables}
    distinct: dict[int, list[DistinctRule]] = {oid: [] for oid in wanted}
    for row in session.execute(_DISTINCT, (list(wanted),)):
        oid, name, predicate, nulls_distinct, deferrable, expressions, operators = row
        pairs = tuple((schema, operator) for schema, operator in operators or ())
        distinct[oid].append(DistinctRule(name, tuple(expressions), pairs, predicate, nulls_distinct, deferrable))
    checks: dict[int, list[CheckRule]] = {oid: [] for oid in wanted}
    for oid, name, expression in session.execute(_CHECKS, (list(wanted),)):
        checks[oid].append(CheckRule(f'check "{name}"', expression))
    for oid, bounds in session.execute(_PARTITION_BOUNDS, (list(wanted),)):
        checks[oid].append(CheckRule("the bounds of its partition", bounds))
    return {
        table.name: Rules(tuple(distinct[oid]), (*checks[oid], *_not_null(session, table)))
        for oid, table in wanted.items()
    }


def expression(text: str) -> sql.SQL:
    """A definition's own text as SQL. Only ever what the server printed of its catalog."""
    literal: LiteralString = text
    return sql.SQL(literal)


def _not_null(session: Session, table: Table) -> list[CheckRule]:
    return [
        CheckRule(
            f'NOT NULL on "{column.name}"',
            # a composite value whose fields are all null IS NULL, and yet is a value
            sql.SQL("{} is distinct from null").format(sql.Identifier(column.name)).as_string(session),
        )
        for column in table.columns
        if column.not_null and not column.generated and not column.identity
    ]
