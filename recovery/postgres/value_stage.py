"""Values at T of columns that were dropped, in a temporary table of the original, with how each row is known there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.recovery_report import Fingerprint
from recovery.model.table_parts import ColumnPart, Filling, LostParts
from recovery.postgres.connect import Session, one
from recovery.postgres.copy_rows import blocks
from recovery.postgres.fingerprint import row_hash
from recovery.postgres.row_versions import written_by
from recovery.postgres.trusted_sql import trusted_sql

KNOWN_BY_PLACE = ("ctid", "xmin")  # as long as nobody writes a row it keeps both


@dataclass(frozen=True)
class ValueStage:
    """The stage of one table, in the open transaction of `session`: k0, k1, … say which row, v0, v1, … are its values.

    `content`: number and checksum of its rows.
    """

    session: Session
    lost: LostParts
    number: int
    content: Fingerprint

    @property
    def relation(self) -> sql.Identifier:
        """Its name."""
        return sql.Identifier("pg_temp", _name(self.number))

    @property
    def target(self) -> sql.Composable:
        """The table as statements name it: a partitioned one with its partitions, any other without its children."""
        return _rows_of(self.lost, sql.Identifier(*self.lost.table.key))

    @property
    def same_row(self) -> sql.Composable:
        """The condition under which row `t` of the table is row `s` of the stage."""
        if self.lost.filling is Filling.AS_NEW:
            return sql.SQL("false")
        if not self.lost.key:
            return sql.SQL("t.ctid = s.k0 and t.xmin = s.k1")
        return sql.SQL(" and ").join(
            sql.SQL("t.{} operator({}.{}) s.{}{}").format(
                sql.Identifier(column.now),
                sql.Identifier(column.equality[0]),
                trusted_sql(column.equality[1]),
                sql.Identifier(f"k{i}"),
                trusted_sql(f"::{column.cast}" if column.cast else ""),
            )
            for i, column in enumerate(self.lost.key)
        )

    @property
    def values(self) -> list[tuple[str, sql.Identifier]]:
        """Each column of the table that gets its values back, and where they are in the stage."""
        return [(column.name, sql.Identifier(f"v{i}")) for i, column in enumerate(self.lost.stored)]


def stage_values(original: Session, copy: Session, lost: LostParts, number: int) -> ValueStage:
    """Bring them over, inside the original's open transaction. The caller compares `content` with that of the copy.

    Raises privilege-missing.
    """
    keys = [(f"k{i}", column.type_at_target, None) for i, column in enumerate(lost.key)]
    keys = keys or [("k0", "tid", None), ("k1", "xid", None)]
    values = [(f"v{i}", column.base_type, column.collation) for i, column in enumerate(lost.stored)]
    definitions = (_definition(*each) for each in (*keys, *values))
    creating = sql.SQL("create temporary table {} ({}) on commit drop").format(
        sql.Identifier(_name(number)), sql.SQL(", ").join(definitions)
    )
    _create(original, creating)
    relation = sql.Identifier("pg_temp", _name(number))
    if lost.filling is Filling.AS_NEW:
        return ValueStage(original, lost, number, Fingerprint(rows=0, checksum="0"))
    read = sql.SQL("copy (select {} from {}) to stdout").format(
        sql.SQL(", ").join(_fields(lost)), _rows_of(lost, sql.Identifier(*lost.at_target.key))
    )
    write = sql.SQL("copy {} from stdin").format(relation)
    with (
        copy.cursor() as reader,
        original.cursor() as writer,
        reader.copy(read) as out,
        writer.copy(write) as into,
    ):
        for block in blocks(bytes(chunk) for chunk in out):
            into.write(block)
    original.execute(sql.SQL("analyze {}").format(relation))
    names = [sql.Identifier(name) for name, *_ in (*keys, *values)]
    return ValueStage(original, lost, number, content(original, relation, names))


def _create(original: Session, creating: sql.Composed) -> None:
    try:
        original.execute(creating)
    except psycopg.errors.InsufficientPrivilege as error:
        database, user = original.info.dbname, original.info.user
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"'{user}' may not make temporary tables in '{database}', in which values of T are brought over",
            *str(error).splitlines(),
            state=ROLLED_BACK,
            help=f'as the owner of the database: grant temporary on database "{database}" to "{user}"',
        ) from error


def rows_with_values(copy: Session, lost: LostParts) -> int:
    """How many rows had values in the columns that were dropped."""
    query = sql.SQL("select count(*) from {}").format(_rows_of(lost, sql.Identifier(*lost.at_target.key)))
    return int(one(copy, query))


def values_at_target(copy: Session, lost: LostParts) -> Fingerprint:
    """Number and checksum of what the copy holds: each row's key, or its place, with the values."""
    return content(copy, _rows_of(lost, sql.Identifier(*lost.at_target.key)), _fields(lost))


def values_now(original: Session, lost: LostParts) -> Fingerprint:
    """Of the table as it is now, once it has the columns again: each row's key, if it has one, with the values."""
    names = [column.now for column in lost.key]
    fields = [sql.Identifier(name) for name in (*names, *(column.name for column in lost.stored))]
    return content(original, _rows_of(lost, sql.Identifier(*lost.table.key)), fields)


def rows_written_by(original: Session, lost: LostParts, xids: Sequence[int]) -> int:
    """How many rows of the table these transactions wrote last."""
    relation = _rows_of(lost, sql.Identifier(*lost.table.key))
    return int(one(original, sql.SQL("select count(*) from {} where {}").format(relation, written_by(xids))))


def content(session: Session, relation: sql.Composable, fields: Sequence[sql.Composable]) -> Fingerprint:
    """Number and order-independent checksum of rows, of the text of some of their fields."""
    texts = row_hash([(field, "text") for field in fields], version_num=session.info.server_version)
    query = sql.SQL("select count(*), coalesce(sum({}), 0)::text from {}").format(texts, relation)
    row = session.execute(query).fetchone()
    assert row is not None
    return Fingerprint(rows=row[0], checksum=row[1])


def _fields(lost: LostParts) -> list[sql.Composable]:
    """What tells a row of the copy apart, and its values."""
    names = [column.at_target for column in lost.key] or KNOWN_BY_PLACE
    return [sql.Identifier(name) for name in (*names, *(column.name for column in lost.stored))]


def _rows_of(lost: LostParts, table: sql.Identifier) -> sql.Composable:
    return table if lost.partitioned else sql.SQL("only ") + table


def _definition(name: str, type_name: str, collation: str | None) -> sql.Composable:
    definition = sql.Identifier(name) + trusted_sql(f" {type_name}")
    return definition + trusted_sql(f" collate {collation}") if collation else definition


def column_definition(column: ColumnPart) -> sql.Composable:
    """Its name, type and collation, as they were at T; of a domain the type below, for rows without a value."""
    return _definition(column.name, column.base_type, column.collation)


def _name(number: int) -> str:
    return f"rowback_values_{number}"
