"""Look rows of a table up by their keys, thousands at a time: the server says which keys are equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from psycopg import sql

from recovery.postgres.comparison.table_scan import Field, Side, Values, lines
from recovery.postgres.connect import one
from recovery.postgres.copy_line import unescaped
from recovery.postgres.trusted_sql import trusted_sql


class KeyedLine(NamedTuple):
    """One row that was asked for by its key: at which place, the xmin it has, its key as JSON, its line."""

    place: int
    xmin: int
    key: str
    line: str


def rows_by_key(
    side: Side, keys: Sequence[Values], *, by: Sequence[Field] | None = None
) -> Iterator[tuple[int, str, Values]]:
    """(place in `keys`, xmin, values) of every row whose key, or whose columns `by`, is among `keys`.

    The scope's `where` is not asked. The server says which are equal: texts of equal keys may differ.

    Values in the order of `fields`.
    """
    columns = sql.SQL(", ").join([sql.SQL("xmin::text"), *(field.carried for field in side.fields)])
    for row in side.session.execute(_matching(side, keys, by or side.key, columns)):
        yield row[0], row[1], row[2:]


def lines_by_key(side: Side, keys: Sequence[str]) -> Iterator[KeyedLine]:
    """Every row whose key is among `keys`, each a JSON array of texts. The scope's `where` is not asked.

    The server says which keys are equal, and writes both key and line: rows that are only kept or compared need not
    become values here. The query runs from the call on; until its rows are read to their end the session takes no
    other statement.
    """
    key = sql.SQL(", ").join(field.text for field in side.key)
    columns = sql.SQL("xmin::text, json_build_array({})::text, {}").format(
        key, sql.SQL(", ").join(field.carried for field in side.fields)
    )
    return map(_keyed_line, lines(side.session, _matching_json(side, keys, columns)))


def rows_that_share_keys(side: Side) -> int:
    """Rows of a table whose key another row has as well, or in which a part of it is null."""
    keys = sql.SQL(", ").join(field.value for field in side.key)
    null = sql.SQL(" or ").join(sql.SQL("{} is null").format(field.value) for field in side.key)
    counted = sql.SQL("select count(*) from {} group by {} having count(*) > 1 or bool_or({})").format(
        side.relation, keys, null
    )
    total = one(side.session, sql.SQL("select coalesce(sum(rows), 0) from ({}) as shared (rows)").format(counted))
    return int(total)


def _keyed_line(line: str) -> KeyedLine:
    place, xmin, key, values = line.split("\t", 3)
    return KeyedLine(int(place), int(xmin), unescaped(key), values)


def _matching(side: Side, keys: Sequence[Values], by: Sequence[Field], columns: sql.Composable) -> sql.Composed:
    """The statement that asks for (place in `keys`, `columns`) of the rows whose columns `by` are among `keys`."""
    names = _key_names(by)
    arrays = (sql.SQL("{}::text[]").format(sql.Literal(list(c))) for c in zip(*keys, strict=True))
    listed = sql.SQL("unnest({}) with ordinality k({}, place)").format(
        sql.SQL(", ").join(arrays), sql.SQL(", ").join(names)
    )
    return _joined(side, listed, by, columns)


def _matching_json(side: Side, keys: Sequence[str], columns: sql.Composable) -> sql.Composed:
    """The same for the table's key, with `keys` as they are written in a change set."""
    texts = sql.SQL(", ").join(
        sql.SQL("each.key ->> {} as {}").format(sql.Literal(place), name)
        for place, name in enumerate(_key_names(side.key))
    )
    listed = sql.SQL(
        "(select {}, each.place from json_array_elements({}::json) with ordinality each(key, place)) k"
    ).format(texts, sql.Literal(f"[{','.join(keys)}]"))
    return _joined(side, listed, side.key, columns)


def _key_names(by: Sequence[Field]) -> list[sql.Identifier]:
    return [sql.Identifier(f"k{number}") for number in range(len(by))]


def _joined(side: Side, listed: sql.Composable, by: Sequence[Field], columns: sql.Composable) -> sql.Composed:
    same = sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) k.{}::{}").format(
            field.value,
            sql.Identifier(field.equality[0]),
            trusted_sql(field.equality[1]),
            name,
            trusted_sql(field.key_type),
        )
        for field, name in zip(by, _key_names(by), strict=True)
    )
    # The aliases keep a table named k and a column named k0 from being taken for ours.
    return sql.SQL(
        "select k.place - 1, r.* from {} cross join lateral (select {} from {} as rowback where {}) r"
    ).format(listed, columns, side.relation, same)
