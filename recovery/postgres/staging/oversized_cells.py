"""Values that no text can carry are carried from the copy into staged rows one by one, in binary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import trusted_sql

if TYPE_CHECKING:
    from recovery.postgres.comparison.table_scan import Field
    from recovery.postgres.staging.stage import Stage


def carry(copy: Session, table: TableName, fields: Mapping[str, Field], stage: Stage, which: tuple[int, str]) -> None:
    """Put one value of the copy in the place of its stand-in.

    `which`: the staged row and the column. `fields`: the original's columns as they are on the copy.
    """
    n, column = which
    keys = [fields[name] for name in stage.table.key]
    own = stage.session.execute(
        stage.sql(
            "select {keys} from {name} s where s.{n} = {which}",
            which=sql.Literal(n),
            keys=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(field.column.name)) for field in keys),
        )
    ).fetchone()
    assert own
    same = sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}::{}").format(
            field.value,
            sql.Identifier(field.equality[0]),
            trusted_sql(field.equality[1]),
            sql.Literal(value),
            trusted_sql(field.key_type),
        )
        for field, value in zip(keys, own, strict=True)
    )
    with copy.cursor(binary=True) as cursor:
        row = cursor.execute(
            sql.SQL("select {} from only {} where {}").format(fields[column].value, sql.Identifier(*table.key), same)
        ).fetchone()
    assert row
    stage.session.execute(
        stage.sql(
            "update {name} set {column} = %s where {n} = {which}", column=sql.Identifier(column), which=sql.Literal(n)
        ),
        (row[0],),
    )
