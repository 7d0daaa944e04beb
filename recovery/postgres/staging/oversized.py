"""Values that no text can carry: PostgreSQL stores up to 1 GB, and bytea doubles as text, whose limit is the same.

Such a value is compared by checksum and size, written in its place, and travels by itself in binary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.staging.rules import trusted_sql

if TYPE_CHECKING:
    from recovery.postgres.comparison.scan import Field
    from recovery.postgres.staging.stage import Stage

# Twice as text, twice in the change set's row: below SQLite's limit of 1,000,000,000 bytes.
MOST_BYTES = 224 * 2**20
MEASURED = frozenset({"bytea", "text", "character varying"})  # their size is known without reading the value
_STAND_IN = re.compile(r"rowback:sha256:[0-9a-f]{64}:(\d+)")


def carried_text(value: sql.Composable, base_type: str) -> sql.Composable:
    """The value as text, or a stand-in with its checksum and size when it is larger than MOST_BYTES."""
    if base_type not in MEASURED:
        return sql.SQL("{}::text").format(value)
    content = value if base_type == "bytea" else sql.SQL("convert_to({}, getdatabaseencoding())").format(value)
    return sql.SQL(
        "case when octet_length({0}) > {1}"
        " then 'rowback:sha256:' || encode(sha256({2}), 'hex') || ':' || octet_length({0}) else {0}::text end"
    ).format(value, sql.Literal(MOST_BYTES), content)


def oversized_bytes(text: str | None) -> int | None:
    """The size of the value that `text` stands in for; None when it is a value itself."""
    found = _STAND_IN.fullmatch(text) if text and len(text) < 100 else None
    return int(found[1]) if found else None


def carry(copy: Session, table: TableName, fields: Mapping[str, Field], stage: Stage, which: tuple[int, str]) -> None:
    """Put one value of the copy in the place of its stand-in. `which`: the staged row and the column. `fields`: the
    original's columns as they are on the copy."""
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
