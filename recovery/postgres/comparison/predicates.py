"""Conditions that limit a table's rows to a scope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.model.values import TableName
from recovery.postgres.row_versions import written_by
from recovery.postgres.trusted_sql import user_sql

Predicate = sql.Composable
EVERY_ROW: Predicate = sql.SQL("true")
NO_ROW: Predicate = sql.SQL("false")


def condition(where: str) -> Predicate:
    """The user's own condition, checked before by `table_scan.refuses_predicate`."""
    return sql.SQL("({})").format(user_sql(where))


def either(ways: Sequence[Predicate]) -> Predicate:
    """Rows for which one of `ways` holds."""
    return sql.SQL("({})").format(sql.SQL(" or ").join(ways))


def all_filled(names: Sequence[str]) -> Predicate:
    """Rows that hold a value in every one of the columns."""
    filled = [sql.SQL("{} is not null").format(sql.Identifier(name)) for name in names]
    return sql.SQL("({})").format(sql.SQL(" and ").join([EVERY_ROW, *filled]))


def by_writers(where: Predicate, xids: Iterable[int]) -> tuple[Predicate, Predicate]:
    """The rows of `where` in two parts: those that one of the transactions wrote last, and the others."""
    ours = written_by(xids)
    return sql.SQL("({} and {})").format(where, ours), sql.SQL("({} and not {})").format(where, ours)


def hangs_on(key: ForeignKey, parent: TableName, parents: Predicate) -> Predicate:
    """Rows of the key's child that reference a row of `parent` for which `parents` holds."""
    return sql.SQL("({}) in (select {} from only {} where {})").format(
        sql.SQL(", ").join(map(sql.Identifier, key.columns)),
        sql.SQL(", ").join(map(sql.Identifier, key.parent_columns)),
        sql.Identifier(*parent.key),
        parents,
    )
