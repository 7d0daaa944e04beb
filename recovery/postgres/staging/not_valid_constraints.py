"""Lift NOT VALID checks and foreign keys for rows that are older than they are, within the one transaction.

A NOT VALID constraint stands for new rows alone, yet the server asks every INSERT and UPDATE. A row that was there
beside it at T comes back only while it is away: it is dropped and added again as it was, NOT VALID and with its
comment, under an ACCESS EXCLUSIVE lock, as pg_restore would add it after the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from recovery.model.catalog import ForeignKey, Table
from recovery.model.repair_plan import LiftedConstraint
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.staging.row_constraints import Rules
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import refers
from recovery.postgres.trusted_sql import trusted_sql

# Neither inherited nor handed down: such a check is changed at its root alone. Nor of a published table: a subscriber
# has the check as well, nobody lifts it there, and its worker would stop at the row for good.
_OWN = """
select con.conrelid::bigint, con.conname from pg_constraint con
join pg_class c on c.oid = con.conrelid join pg_namespace n on n.oid = c.relnamespace
where not exists (select from pg_publication_tables p where p.schemaname = n.nspname and p.tablename = c.relname)
  and con.conrelid = any(%s) and con.contype = 'c' and not con.convalidated and con.coninhcount = 0
  and (con.connoinherit or not exists (select from pg_inherits i where i.inhparent = con.conrelid))
"""
_AS_IT_IS = """
select pg_get_constraintdef(con.oid), obj_description(con.oid, 'pg_constraint') from pg_constraint con
where con.conrelid = %s::regclass and con.conname = %s and not con.convalidated
"""


@dataclass(frozen=True)
class HeldConstraint:
    """A constraint that is away, and how it comes back."""

    table: TableName
    name: str
    definition: str
    comment: str | None


def liftable(original: Session, tables: Iterable[Table]) -> dict[TableName, set[str]]:
    """Names of NOT VALID checks that this role may lift: of its own tables, and of no other table as well."""
    owned = {table.oid: table.name for table in tables if table.owned}
    checks: dict[TableName, set[str]] = {}
    for oid, name in original.execute(_OWN, (list(owned),)):
        checks.setdefault(owned[oid], set()).add(name)
    return checks


def orphans_of_old(child: Stage, key: ForeignKey, parents: Sequence[Stage]) -> int:
    """How many rows to come reference a parent that is neither there nor was there at T."""
    filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(name)) for name in key.columns)
    return int(
        one(
            child.session,
            child.sql(
                "select count(*) from {name} s where s.{op} = {insert} and s.{skip} is null and {filled} and not {had}"
                " and not exists (select from only {parent} p where {equal})",
                filled=filled,
                had=child.had_parent(key, parents),
                parent=sql.Identifier(*key.parent.key),
                equal=refers(key, "s", "p"),
            ),
        )
    )


def without(rules: Rules, lifted: Collection[str]) -> Rules:
    """The rules that rows meet while the named checks are away."""
    return Rules(rules.distinct, tuple(check for check in rules.checks if check.constraint not in lifted))


def lift(original: Session, lifted: Iterable[LiftedConstraint]) -> list[HeldConstraint]:
    """Drop the constraints. Call only under an ACCESS EXCLUSIVE lock on their tables, of both ends of a key."""
    constraints = []
    for check in lifted:
        table = sql.Identifier(*check.table.key)
        row = original.execute(_AS_IT_IS, (table.as_string(original), check.name)).fetchone()
        if row is None:  # validated or dropped since it was compared: what is there now decides
            continue
        constraints.append(HeldConstraint(check.table, check.name, row[0], row[1]))
        original.execute(
            sql.SQL("/* rowback */ alter table only {} drop constraint {}").format(table, sql.Identifier(check.name))
        )
    return constraints


def put_back(original: Session, constraints: Iterable[HeldConstraint]) -> None:
    """Add the constraints again, as they were."""
    for check in constraints:
        table, name = sql.Identifier(*check.table.key), sql.Identifier(check.name)
        original.execute(
            sql.SQL("/* rowback */ alter table only {} add constraint {} {}").format(
                table, name, trusted_sql(check.definition)
            )
        )
        if check.comment is not None:
            original.execute(
                sql.SQL("comment on constraint {} on {} is {}").format(name, table, sql.Literal(check.comment))
            )
