"""Tables of T beside those of today: a schema of their own, the same columns, nothing that acts."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.values import TableName
from recovery.postgres.connect import Session, one
from recovery.postgres.publications import publishes_everything
from recovery.postgres.trusted_sql import trusted_sql

MOST_BYTES = 63  # of a name (NAMEDATALEN - 1)


def beside_schema(case: str) -> str:
    """Where a case puts what it loads beside."""
    return "recovered_" + case.replace("-", "_")


def beside_name(case: str, table: TableName) -> TableName:
    """A table's name there. Tables of another schema than public carry it in front, so that none meets another."""
    name = table.name if table.schema_name == "public" else f"{table.schema_name}.{table.name}"
    while len(name.encode()) > MOST_BYTES:
        name = name[1:]
    return TableName(schema_name=beside_schema(case), name=name)


def plain(table: Table) -> Table:
    """The table with its generated columns as ordinary ones: beside, they hold what they held at T."""
    return table.model_copy(
        update={"columns": tuple(column.model_copy(update={"generated": False}) for column in table.columns)}
    )


def create_beside(original: Session, case: str, tables: Iterable[Table]) -> None:
    """The empty tables, with their keys.

    Does nothing when an attempt before made them already. Unlogged where a publication of all tables would offer logged
    ones to its subscribers, who do not have them.
    """
    schema = beside_schema(case)
    if one(original, "select to_regnamespace(%s) is not null", (sql.Identifier(schema).as_string(original),)):
        return
    with original.transaction():
        original.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        kind = sql.SQL("unlogged table" if publishes_everything(original) else "table")
        for table in tables:
            columns = [
                sql.SQL("{} {}").format(sql.Identifier(column.name), trusted_sql(column.type_name))
                for column in table.columns
            ]
            if table.key:
                key = sql.SQL(", ").join(map(sql.Identifier, table.key))
                columns.append(sql.SQL("primary key ({})").format(key))
            original.execute(
                sql.SQL("create {} {} ({})").format(
                    kind, sql.Identifier(*beside_name(case, table.name).key), sql.SQL(", ").join(columns)
                )
            )
