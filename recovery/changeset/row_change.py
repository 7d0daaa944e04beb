"""A differing row and the table it is of, and how both are written in the file of a change set.

A row's key is a JSON array of texts there, its values are a line as COPY writes it (postgres/copy_line.py).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import from_json

from recovery.model.catalog import Catalog, ColumnNumbers, Table
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.copy_line import line_of, values_of

Texts = tuple[str | None, ...]
_CLASSES = {kind.value: kind for kind in RowClass}
OPS = {op.value: op for op in Op}
JSON_TEXT = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder for every call
# The line that a row shall be: as at T, or `instead`. Not a generated column, which SQLite has since 3.31 alone.
WANT = "case when op in ('insert', 'update') then coalesce(instead, target) end"
_TEXT_OR_NULL = frozenset({str, type(None)})
_NOT_OURS = (ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True)
class Shape:
    """One table of a change set: its key and the columns that every row's values stand for."""

    no: int
    table: TableName
    key: tuple[str, ...]
    columns: tuple[str, ...]


class Change(NamedTuple):
    """One differing row. `target` at T, `original` as the diff saw it, `want` as it shall become; None: no row.

    `xmin`: of the live row. `key`: texts of the key columns, of the whole row and a counter in a table without key.
    A named tuple, because there are millions: it is made in a third of a dataclass's time.
    """

    table: int
    key: Texts
    kind: RowClass
    target: Texts | None
    original: Texts | None
    xmin: int | None
    op: Op = Op.KEEP
    want: Texts | None = None
    reason: str | None = None
    n: int | None = None


def column_numbers(catalog: Catalog, shapes: Iterable[Shape]) -> ColumnNumbers:
    """The columns of the tables in a change set by their numbers."""
    tables = {table.name: table for table in catalog.tables}
    return {
        str(shape.table): {c.name: c.number for c in tables[shape.table].columns if c.name in shape.columns}
        for shape in shapes
        if shape.table in tables
    }


def changed_columns(table: Table, recorded: Mapping[str, int | None]) -> list[str]:
    """What became of columns since their numbers were recorded (None: only that there was one of that name)."""
    now = {column.name: column.number for column in table.columns}
    missing = [f"column {name} was dropped or renamed" for name in recorded if name not in now]
    return missing + [
        f"column {name} is another one now"
        for name, number in recorded.items()
        if name in now and number is not None and now[name] != number
    ]


def key_text(shape: Shape, key: Texts) -> str:
    """A row's key for people: its values; of a table without key, all of them."""
    return ", ".join("null" if text is None else text for text in key[: len(shape.key) or len(shape.columns)])


def row_of(change: Change) -> tuple[object, ...]:
    """The change as a row of the change set's table."""
    return (
        change.n,
        change.table,
        as_json(change.key),
        change.kind.value,
        change.op.value,
        line_or_none(change.target),
        line_or_none(change.original),
        line_instead(change),
        change.xmin,
        change.reason,
    )


def change_of(row: tuple[object, ...]) -> Change:
    """The change of a row of the change set's table. Raises DataError for what no change set has."""
    n, table, key, kind, op, target, original, want, xmin, reason = row
    try:
        at_target = values_or_none(target)
        return Change(
            int(str(table)),
            texts_of(key) or (),
            _CLASSES[str(kind)],
            at_target,
            values_or_none(original),
            None if xmin is None else int(str(xmin)),
            OPS[str(op)],
            at_target if want == target else values_or_none(want),
            None if reason is None else str(reason),
            int(str(n)),
        )
    except _NOT_OURS as error:
        raise _unreadable(error) from error


@contextmanager
def decoding() -> Iterator[None]:
    """Report content that a change set cannot have as an error of the file.

    Raises DataError, as SQLite itself does.
    """
    try:
        yield
    except _NOT_OURS as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> sqlite3.DataError:
    return sqlite3.DataError(f"it holds what no change set has: {type(error).__name__}")


def as_json(values: Iterable[str | None] | None) -> str | None:
    """A key, column names, or none of them, as a JSON array of texts."""
    return None if values is None else json_array(values)


def line_or_none(values: Texts | None) -> str | None:
    """A row as the change set holds it, or none."""
    return None if values is None else line_of(values)


def line_instead(change: Change) -> str | None:
    """What the row shall be where that is not what it was at T."""
    return None if change.want == change.target else line_or_none(change.want)


def values_or_none(line: object) -> Texts | None:
    """The values of a row as the change set holds it, or none."""
    return None if line is None else values_of(str(line))


def json_array(values: Iterable[str | None]) -> str:
    """Texts as a JSON array, written as the server's json_build_array writes it."""
    return JSON_TEXT(list(values))


def texts_of(text: object) -> Texts | None:
    """A key out of a JSON array of texts. Raises TypeError for any other JSON."""
    if text is None:
        return None
    values = from_json(str(text), cache_strings="none")  # half of the time of json.loads
    if not isinstance(values, list) or not _TEXT_OR_NULL.issuperset(map(type, values)):
        raise TypeError("no list of texts")
    return tuple(values)


def names_of(text: object) -> tuple[str, ...]:
    """Column names out of a JSON array of texts. Raises TypeError for any other JSON."""
    names = texts_of(text)
    if names is None or None in names:
        raise TypeError("no list of names")
    return tuple(map(str, names))
