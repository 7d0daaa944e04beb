"""Read a table of one side for comparison: checksums of key ranges, keys, rows. One pass each, streamed.

Both sides list the same columns under the original's names; values are compared and carried as text, which the pinned
settings make exact (connect.SETTINGS). `hash_record_extended` over them, as in postgres/fingerprint.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import psycopg
from psycopg import Copy, sql
from psycopg.errors import ProgramLimitExceeded, ProtocolViolation, StatementTooComplex

from recovery.model.catalog import Column
from recovery.model.values import TableName
from recovery.postgres.comparison.oversized_values import carried_text
from recovery.postgres.connect import Session, one
from recovery.postgres.copy_line import WITHOUT_VALUES
from recovery.postgres.fingerprint import row_hash
from recovery.postgres.row_versions import written_by
from recovery.postgres.trusted_sql import trusted_sql, user_sql

# What the server answers to a text that is none, beside what it calls a syntax error.
NO_CONDITION: tuple[type[psycopg.Error], ...] = (
    psycopg.ProgrammingError,
    psycopg.DataError,
    psycopg.NotSupportedError,
    psycopg.InternalError,
    ProtocolViolation,
    StatementTooComplex,
    ProgramLimitExceeded,
)

Values = tuple[str | None, ...]
Ask = Callable[[Session, sql.Composed], Iterator[Values]]
Extent = tuple[int, int | None, int | None]
Row = TypeVar("Row")

HELD_ROWS = 5_000  # of a server's cursor, fetched at once


@dataclass(frozen=True)
class Field:
    """One compared column: what it is called on this side, and the type it has on the original.

    `labels`: an enum's labels on this side that are called otherwise on the original, with their names there.
    """

    name: str
    column: Column
    cast: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def equality(self) -> tuple[str, str]:
        """The operator by which two values of the type are the same: its default btree or hash one."""
        return ("pg_catalog", "=") if self.labels else self.column.equality

    @property
    def value(self) -> sql.Composable:
        """The column as a value of the original's type; with renamed labels as its text."""
        own = sql.Identifier(self.name)
        if self.labels:
            return self._relabelled(own)
        return own if self.cast is None else sql.SQL("({}::{})").format(own, trusted_sql(self.cast))

    @property
    def text(self) -> sql.Composable:
        """The value as text."""
        return sql.SQL("{}::text").format(self.value)

    @property
    def carried(self) -> sql.Composable:
        """The value as text that fits a message: of one that would not, its checksum and size (oversized_values.py)."""
        return carried_text(self.value, self.column.base_type)

    @property
    def key_type(self) -> str:
        """The type that a text of the value is read as to be compared with the column."""
        return "text" if self.labels else self.column.value_type

    def _relabelled(self, own: sql.Composable) -> sql.Composable:
        whens = sql.SQL(" ").join(
            sql.SQL("when {} then {}").format(sql.Literal(old), sql.Literal(new)) for old, new in self.labels
        )
        one = sql.SQL("(case {0}::text {1} else {0}::text end)")
        if not self.column.base_type.endswith("[]"):
            return one.format(own, whens)
        # array_agg over no row is null, and an array of several dimensions keeps its shape only as it is
        return sql.SQL(
            "(case when coalesce(array_ndims({0}), 0) <> 1 then {0}::text else"
            " (select array_agg({1} order by u.place) from unnest({0}) with ordinality u(label, place))::text end)"
        ).format(own, one.format(sql.SQL("u.label"), whens))


@dataclass(frozen=True)
class Side:
    """One table on one server. `key` and `fields` stand in the same order on both sides; `where` limits the scope."""

    session: Session
    table: TableName
    key: tuple[Field, ...]
    fields: tuple[Field, ...]
    where: sql.Composable = field(default_factory=lambda: sql.SQL("true"))  # of the scope
    ask: Ask = field(default_factory=lambda: stream)

    @property
    def relation(self) -> sql.Composable:
        """The table's own rows, not its inheritance children's."""
        return sql.SQL("only {}").format(sql.Identifier(*self.table.key))


def refuses_predicate(session: Session, table: TableName, where: str) -> str | None:
    """The server's words when `where` is not one condition over the table's columns, else None. Reads nothing.

    It is prepared, and a prepared statement holds a single command: text that closes the parenthesis and goes on with
    another statement is a syntax error.
    """
    statement = sql.SQL("select from only {} where ({}) limit 0").format(sql.Identifier(*table.key), user_sql(where))
    try:
        with session.transaction(force_rollback=True):
            session.execute("set transaction read only")
            session.execute(statement, prepare=True)
    except NO_CONDITION as error:
        return (str(error).splitlines() or ["?"])[0]
    except UnicodeEncodeError:
        return "it holds bytes that are no text"
    return None


def repeats(session: Session, root: TableName, columns: Sequence[str], ask: Ask) -> bool:
    """Whether two rows of a partitioned table agree in `columns`, whichever partitions they are in."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("select count(*) from (select from {} group by {} having count(*) > 1 limit 1) r")
    ((count,),) = ask(session, statement.format(sql.Identifier(*root.key), names))
    return count != "0"


def holds_between(side: Side, field: Field, low: int, high: int) -> bool:
    """Whether a row holds an integer from `low` to `high` in a column."""
    statement = sql.SQL("select exists (select from {} where {} between {} and {})").format(
        side.relation, sql.Identifier(field.name), sql.Literal(low), sql.Literal(high)
    )
    return bool(one(side.session, statement))


def distinct_values(side: Side, fields: Sequence[Field]) -> Iterator[Values]:
    """The distinct values of some columns, leaving out those with a null.

    They are held by a cursor of the server, so that the session takes other statements before they are read to their
    end.
    """
    texts = sql.SQL(", ").join(field.text for field in fields)
    filled = sql.SQL(" and ").join(sql.SQL("{} is not null").format(sql.Identifier(field.name)) for field in fields)
    with side.session.cursor(name="rowback_distinct", withhold=True) as cursor:
        cursor.itersize = HELD_ROWS
        cursor.execute(sql.SQL("select distinct {} from {} where {}").format(texts, side.relation, filled))
        yield from cursor


def some_keys(side: Side, most: int) -> list[Values]:
    """The keys of any rows in scope, at most so many."""
    texts = sql.SQL(", ").join(field.text for field in side.key)
    query = sql.SQL("select {} from {} where {} limit {}").format(texts, side.relation, side.where, sql.Literal(most))
    return side.session.execute(query).fetchall()


def count_filled(session: Session, table: TableName, columns: Sequence[str]) -> dict[str, int]:
    """Rows of a table that hold a value in each of the columns."""
    if not columns:
        return {}
    counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in columns)
    row = session.execute(sql.SQL("select {} from only {}").format(counts, sql.Identifier(*table.key))).fetchone()
    assert row
    return dict(zip(columns, row, strict=True))


def lines_written(side: Side, xids: Sequence[int]) -> Iterator[str]:
    """The line of every row that one of the transactions wrote last."""
    columns = sql.SQL(", ").join(field.carried for field in side.fields)
    written = lines(
        side.session, sql.SQL("select {} from {} where {}").format(columns, side.relation, written_by(xids))
    )
    return written if side.fields else (WITHOUT_VALUES for _ in written)


def whole_rows(side: Side) -> Iterator[Values]:
    """(xmin, checksum, values…) of every row in scope, ordered by the checksum of its values.

    Of a wide table a statement cannot name every column twice, once to read and once to order by it.
    """
    texts = [field.carried for field in side.fields]
    checksum = sql.SQL("encode(sha256(convert_to(row({})::text, getdatabaseencoding())), 'hex')").format(
        sql.SQL(", ").join(texts)
    )
    return stream(
        side.session,
        sql.SQL("select {} from {} where {} order by 2").format(
            sql.SQL(", ").join([sql.SQL("xmin::text"), sql.SQL('{} collate "C"').format(checksum), *texts]),
            side.relation,
            side.where,
        ),
    )


def stream(session: Session, query: sql.Composed) -> Iterator[Values]:
    """Rows as text, streamed by COPY: nothing gathers in this process. The query runs from the call on.

    Until they are read to their end the session takes no other statement. Leaving them earlier cancels the query, and
    with it the transaction; so does Session.leave_rows, for rows of which not even the first was read.
    """
    return _copied(session, query, Copy.rows)


def lines(session: Session, query: sql.Composed) -> Iterator[str]:
    """The same, each row as the line that COPY writes (copy_line.py)."""
    encoding = session.info.encoding

    def read(copy: Copy) -> Iterator[str]:
        return (str(line[:-1], encoding) for line in copy)

    return _copied(session, query, read)


def _copied(session: Session, query: sql.Composed, read: Callable[[Copy], Iterator[Row]]) -> Iterator[Row]:
    cursor = session.cursor()
    copying = cursor.copy(sql.SQL("copy ({}) to stdout").format(query))
    copy = copying.__enter__()

    def end(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if session.end_of_rows is leave:
            session.end_of_rows = None
            copying.__exit__(kind, error, trace)  # with an error, the rest is cancelled and not left to be read
            cursor.close()

    def leave() -> None:
        end(GeneratorExit, GeneratorExit(), None)

    def rows() -> Iterator[Row]:
        try:
            yield from read(copy)
        finally:
            end(*sys.exc_info())

    session.end_of_rows = leave
    return rows()


def fields_hash(contents: Sequence[Field], session: Session) -> sql.Composable:
    """The hash of one row's `contents`."""
    values = ((field.value, field.column.base_type) for field in contents)
    return row_hash(values, version_num=session.info.server_version)
