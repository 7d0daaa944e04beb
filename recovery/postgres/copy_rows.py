"""Rows out of the copy into the original by COPY, streamed through this process in 64 KiB blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from psycopg import sql

from recovery.model.catalog import Table
from recovery.model.values import TableName
from recovery.postgres.connect import Session

BLOCK_BYTES = 64 * 1024  # a write per row costs a quarter more (sources: ROWS-copy)


class RowTransport(Protocol):
    """How rows travel. Both implementations pass tests/server/load with identical rows."""

    def load(self, original: Session, tables: Sequence[Pair]) -> Mapping[TableName, int]:
        """Write the rows of every table, in the order given, inside `original`'s open transaction; rows per table."""
        ...


class Pair:
    """One table as it was at T and as it is on the original; same columns, checked before."""

    def __init__(self, at_target: Table, original: Table) -> None:
        self.at_target, self.original = at_target, original
        self.name = original.name

    @property
    def columns(self) -> list[str]:
        """Writable columns in the order the copy stores them, which is the order pg_dump writes them in."""
        return [column.name for column in self.at_target.columns if not column.generated]

    @property
    def binary(self) -> bool:
        """Whether COPY's binary format is safe: the very same types on both sides, by name and by oid."""
        original = {column.name: (column.type_oid, column.type_name) for column in self.original.columns}
        return all(original[c.name] == (c.type_oid, c.type_name) for c in self.at_target.columns if not c.generated)


class CopyTransport:
    """COPY … TO STDOUT on the copy, piped into COPY … FROM STDIN on the original. Nothing on disk.

    `sent`: called with the bytes of each block that was written; it may wait.
    """

    def __init__(self, source: Session, sent: Callable[[int], None] = lambda size_bytes: None) -> None:
        self._source, self._sent = source, sent
        self._in_binary: dict[int, bool] = {}

    def load(self, original: Session, tables: Sequence[Pair]) -> Mapping[TableName, int]:
        """See RowTransport."""
        return {pair.name: self._pump(original, pair) for pair in tables}

    def _pump(self, original: Session, pair: Pair) -> int:
        form = sql.SQL("(format binary)" if pair.binary and self._has_binary(pair) else "(format text)")
        read = sql.SQL("copy (select {} from only {}) to stdout {}").format(
            column_list(pair.columns), sql.Identifier(*pair.at_target.name.key), form
        )
        with self._source.cursor() as reader, reader.copy(read) as out:
            return write_rows(original, pair, self._counted(blocks(bytes(chunk) for chunk in out)), form)

    def _has_binary(self, pair: Pair) -> bool:
        """Whether all of its types have a binary form: aclitem has none, nor has an array of it."""
        oids = {column.type_oid for column in pair.at_target.columns}
        if unseen := [oid for oid in oids if oid not in self._in_binary]:
            query = (
                "select t.oid::bigint, t.typreceive <> 0 and coalesce(e.typreceive <> 0, true) from pg_type t"
                " left join pg_type e on e.oid = t.typelem and t.typlen = -1 where t.oid = any(%s::bigint[]::oid[])"
            )
            self._in_binary.update(dict(self._source.execute(query, (unseen,)).fetchall()))
        return all(self._in_binary.get(oid, False) for oid in oids)

    def _counted(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for block in content:
            yield block
            self._sent(len(block))


def write_rows(original: Session, pair: Pair, content: Iterable[bytes], form: sql.SQL) -> int:
    """COPY `content` into the table; how many rows the server took. Identity columns keep the values given."""
    # A table may have no column to write, and then there is no list to write either.
    columns = sql.SQL(" ({})").format(column_list(pair.columns)) if pair.columns else sql.SQL("")
    into = sql.SQL("copy {}{} from stdin {}").format(sql.Identifier(*pair.name.key), columns, form)
    with original.cursor() as writer:
        with writer.copy(into) as copy:
            for block in content:
                copy.write(block)
        return writer.rowcount


def column_list(columns: Sequence[str]) -> sql.Composed:
    """Quoted column names, comma-separated."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of at least 64 KiB (the last one may be shorter)."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        if len(gathered) >= BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
