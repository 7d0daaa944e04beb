"""Conditions that limit a table's rows to a scope."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.model.values import TableName
from recovery.postgres.repair.rules import expression

Predicate = sql.Composable
EVERY_ROW: Predicate = sql.SQL("true")
NO_ROW: Predicate = sql.SQL("false")


def condition(where: str) -> Predicate:
    """The user's own condition, checked before by `scan.refuses_predicate`."""
    return sql.SQL("({})").format(expression(where))


def either(ways: Sequence[Predicate]) -> Predicate:
    """Rows for which one of `ways` holds."""
    return sql.SQL("({})").format(sql.SQL(" or ").join(ways))


def hangs_on(key: ForeignKey, parent: TableName, parents: Predicate) -> Predicate:
    """Rows of the key's child that reference a row of `parent` for which `parents` holds."""
    return sql.SQL("({}) in (select {} from only {} where {})").format(
        sql.SQL(", ").join(map(sql.Identifier, key.columns)),
        sql.SQL(", ").join(map(sql.Identifier, key.parent_columns)),
        sql.Identifier(*parent.key), parents,
    )  # fmt: skip
