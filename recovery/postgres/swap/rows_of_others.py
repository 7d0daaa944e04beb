"""Rows that others write into a table while its successor is built: followed there, until the lock shows the last.

Which rows were copied is kept by key in a temporary table of the session. What was copied and is another row now, or
none, leaves again; what came since comes. Under the lock that is as little as was written since the last time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import LiteralString

from psycopg import sql

from recovery.model.catalog import Column
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair, column_list
from recovery.postgres.trusted_sql import trusted_sql


class OthersRows:
    """Of one table with a key, and the new one in schema `hidden`. `number` tells its temporary table apart.

    `came`, `left`: rows that were copied into the new table, and that left it again, since `count_anew`.
    """

    def __init__(self, original: Session, pair: Pair, hidden: str, number: int) -> None:
        self.table = pair.name
        self.came = self.left = 0
        columns = {column.name: column for column in pair.original.columns}
        key = [columns[name] for name in pair.original.key]
        name = f"rowback_copied_{number}"
        self._original = original
        self._names: Mapping[str, sql.Composable] = {
            "live": sql.Identifier(*pair.name.key),
            "new": sql.Identifier(hidden, pair.name.name),
            "name": sql.Identifier(name),
            "copied": sql.Identifier("pg_temp", name),
            "keys": column_list(pair.original.key),
            "columns": column_list([column.name for column in columns.values() if not column.generated]),
            "n_keys": _columns("n", key),
            "live_row": _columns("l", columns.values()),
            "new_row": _columns("n", columns.values()),
            "n_is_c": _same(key, "n", "c"),
            "l_is_n": _same(key, "l", "n"),
            "l_is_c": _same(key, "l", "c"),
        }
        self._run("drop table if exists {copied}")
        self._run("create temporary table {name} as select {keys} from {live} with no data")
        self._run("create unique index on {copied} ({keys})")

    def count_anew(self) -> None:
        """Count from 0 from here on."""
        self.came = self.left = 0

    def leave(self) -> None:
        """Take those out of the new table that do not stand in the live one any more as they were copied."""
        self.left += self._run(
            "with stale as (delete from only {new} n using {copied} c where {n_is_c} and not exists (select"
            " from only {live} l where {l_is_n} and row({live_row})::text = row({new_row})::text) returning {n_keys})"
            " delete from {copied} c using stale n where {n_is_c}"
        )

    def come(self) -> None:
        """Copy those that are not copied yet. Raises UniqueViolation where one has a key of T's rows."""
        self.came += self._run(
            "with missing as (select l.* from only {live} l where not exists (select from {copied} c where {l_is_c})),"
            " here as (insert into {new} ({columns}) overriding system value select {columns} from missing"
            " returning {keys}) insert into {copied} select * from here"
        )

    def _run(self, text: LiteralString) -> int:
        return self._original.execute(sql.SQL(text).format(**self._names)).rowcount


def how_many(original: Session, tables: Sequence[TableName], *, at_most: int) -> Mapping[TableName, int]:
    """How many rows each table holds that holds any, counted no further than one beyond `at_most`."""
    if not tables:
        return {}
    counted = sql.SQL(" union all ").join(
        sql.SQL("select {}, count(*) from (select from only {} limit {}) r").format(
            sql.Literal(number), sql.Identifier(*table.key), sql.Literal(at_most + 1)
        )
        for number, table in enumerate(tables)
    )
    return {tables[number]: rows for number, rows in original.execute(counted).fetchall() if rows}


def _columns(alias: str, columns: Iterable[Column]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, column.name) for column in columns)


def _same(key: Sequence[Column], left: str, right: str) -> sql.Composed:
    """Whether two aliases have the same key, by its types' own equality."""
    return sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier(left, column.name),
            sql.Identifier(column.equality[0]),
            trusted_sql(column.equality[1]),
            sql.Identifier(right, column.name),
        )
        for column in key
    )
