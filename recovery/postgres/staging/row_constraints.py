"""What the original's definitions demand of a row: unique and exclusion keys, checks, NOT NULL.

Expressions are the server's own text of its own definitions (pg_get_expr, pg_get_indexdef), printed under the pinned
search_path, so that every name outside pg_catalog is qualified. They name columns without a table, hence hold for any
relation with the same columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.values import TableName
from recovery.postgres.connect import Session

SQL_BODIES_SINCE = 140000


@dataclass(frozen=True)
class DistinctRule:
    """No two rows may agree in all `expressions` by `operators` where `predicate` holds.

    An expression carries its index's collation, which need not be its column's. `columns`: those it is over, in any
    order; none: expressions.
    """

    name: str
    expressions: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    predicate: str | None
    nulls_distinct: bool = True
    deferrable: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckRule:
    """`expression` must not be false.

    `validated`: the server holds every row to satisfy it. `functions`: oids of the users' own functions that it calls.
    They may read other tables, so it can only be asked where those stand as they shall. `column`: whose domain has the
    rule: it is asked only where that column is written. `constraint`: the name of a check of the table's own.
    """

    name: str
    expression: str
    validated: bool = True
    functions: tuple[int, ...] = ()
    column: str | None = None
    constraint: str | None = None


@dataclass(frozen=True)
class Rules:
    """The rules of one table, by name."""

    distinct: tuple[DistinctRule, ...]
    checks: tuple[CheckRule, ...]


# For a unique index the operator is the equality of its operator class; an exclusion constraint names its own.
_DISTINCT = """
select i.indrelid::bigint, c.relname, pg_get_expr(i.indpred, i.indrelid),
  not coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false), not i.indimmediate,
  array(select pg_get_indexdef(i.indexrelid, k, false) || coalesce((
          select format(' collate %%I.%%I', cn.nspname, co.collname) from pg_collation co
          join pg_namespace cn on cn.oid = co.collnamespace
          where co.oid = i.indcollation[k - 1] and co.collname <> 'default'), '')
        from generate_series(1, i.indnkeyatts) k order by k),
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
      where x.n <= i.indnkeyatts)),
  array(select a.attname::text from unnest(i.indkey) with ordinality k(num, n)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num where k.n <= i.indnkeyatts)
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any(%s) and i.indisvalid and (i.indisunique or i.indisexclusion)
order by i.indrelid, not i.indisprimary, c.relname
"""

# A function of an extension or of the server says the same wherever it is asked.
_USER_FUNCTIONS = """
array(select p.oid::bigint from pg_depend d join pg_proc p on p.oid = d.refobjid
      join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
      where d.classid = 'pg_constraint'::regclass and d.objid = con.oid and d.refclassid = 'pg_proc'::regclass
        and n.nspname <> 'pg_catalog' and l.lanname not in ('c', 'internal')
        and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid
                        and e.deptype = 'e') order by 1)
"""

_CHECKS = f"""
select con.conrelid::bigint, con.conname, pg_get_expr(con.conbin, con.conrelid), con.convalidated, {_USER_FUNCTIONS}
from pg_constraint con where con.conrelid = any(%s) and con.contype = 'c' order by 1, 2
"""  # noqa: S608 (constants only)

# Rules of domains, and of domains over domains. VALUE is how pg_get_expr prints the value in question.
_DOMAINS = f"""
with recursive chain as (
  select a.attrelid, a.attname, t.oid, t.typname, t.typbasetype, t.typnotnull
  from pg_attribute a join pg_type t on t.oid = a.atttypid
  where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and t.typtype = 'd'
  union all
  select chain.attrelid, chain.attname, t.oid, t.typname, t.typbasetype, t.typnotnull
  from chain join pg_type t on t.oid = chain.typbasetype where t.typtype = 'd')
select chain.attrelid::bigint, chain.attname, chain.typname, chain.typnotnull, con.conname,
  pg_get_expr(con.conbin, 0), con.convalidated, {_USER_FUNCTIONS}
from chain left join pg_constraint con on con.contypid = chain.oid and con.contype = 'c' order by 1, 2, 3, 5
"""  # noqa: S608 (constants only)

_PARTITION_BOUNDS = """
select oid::bigint, pg_get_partition_constraintdef(oid) from pg_class
where oid = any(%s) and relispartition and pg_get_partition_constraintdef(oid) is not null
"""


def read_rules(session: Session, tables: Iterable[Table]) -> dict[TableName, Rules]:
    """The rules of each table. A NOT NULL column is a check."""
    by_oid = {table.oid: table for table in tables}
    distinct: dict[int, list[DistinctRule]] = {oid: [] for oid in by_oid}
    for row in session.execute(_DISTINCT, (list(by_oid),)):
        oid, name, predicate, nulls_distinct, deferrable, expressions, operators, columns = row
        pairs = tuple((schema, operator) for schema, operator in operators or ())
        distinct[oid].append(
            DistinctRule(name, tuple(expressions), pairs, predicate, nulls_distinct, deferrable, tuple(columns))
        )
    checks: dict[int, list[CheckRule]] = {oid: [] for oid in by_oid}
    for oid, name, expression, validated, functions in session.execute(_CHECKS, (list(by_oid),)):
        checks[oid].append(CheckRule(f'check "{name}"', expression, validated, tuple(functions), constraint=name))
    for oid, rule in _domain_rules(session, by_oid):
        checks[oid].append(rule)
    for oid, bounds in session.execute(_PARTITION_BOUNDS, (list(by_oid),)):
        checks[oid].append(CheckRule("the bounds of its partition", bounds))
    return {
        table.name: Rules(tuple(distinct[oid]), (*checks[oid], *_not_null(session, table)))
        for oid, table in by_oid.items()
    }


def mentioned_tables(session: Session, functions: Iterable[int], among: Iterable[TableName]) -> set[TableName]:
    """Those of `among` whose name is a word in the source of one of the functions: what they may read."""
    sources = [
        row[0]
        for row in session.execute(
            "select lower(prosrc || coalesce(pg_get_function_sqlbody(oid), '')) from pg_proc where oid = any(%s)"
            if session.info.server_version >= SQL_BODIES_SINCE
            else "select lower(prosrc) from pg_proc where oid = any(%s)",
            (list(functions),),
        )
    ]
    return {
        name
        for name in among
        if any(re.search(rf"(?<!\w){re.escape(name.name.lower())}(?!\w)", source) for source in sources)
    }


def _domain_rules(session: Session, oids: Iterable[int]) -> Iterator[tuple[int, CheckRule]]:
    for row in session.execute(_DOMAINS, (list(oids),)):
        oid, column, domain, not_null, name, text, validated, functions = row
        quoted = sql.Identifier(column)
        if not_null:
            filled = sql.SQL("{} is not null").format(quoted).as_string(session)
            yield oid, CheckRule(f'NOT NULL of domain "{domain}" on "{column}"', filled, column=column)
        if name:
            # under the name by which the expression calls it
            value = sql.SQL("(select {} as value)").format(quoted).as_string(session)
            holds = f"not exists (select from {value} rowback_value where not ({text}))"  # noqa: S608 (the server's own)
            label = f'constraint "{name}" of domain "{domain}" on "{column}"'
            yield oid, CheckRule(label, holds, validated, tuple(functions), column)


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
