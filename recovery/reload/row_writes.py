"""Write the staged rows of every table in an order in which each finds what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from recovery.changeset.stage_changes import mark_lost_parents
from recovery.model.catalog import Catalog
from recovery.model.load_order import with_referencing
from recovery.model.plain_index import PlainIndex
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import RowTransport
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.staging.key_collisions import blocks_key
from recovery.postgres.staging.row_constraints import Rules
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import StagedOp
from recovery.postgres.staging.stage_writes import (
    Write,
    delete,
    insert,
    planned,
    try_first,
    update,
    update_early,
)
from recovery.reload.load_in_place import build_after_rows
from recovery.reload.load_job import Job, WrittenRows

Done = TypeVar("Done")
PASSES_AT_MOST = 25  # of rows that only fit when others of their table are there


class RowsHeld(Exception):
    """Another session holds rows that are to go; the transaction is given up, so that it can end."""


class RowsRefused(Exception):
    """The server refused rows of these tables, in its words; the transaction is lost."""

    def __init__(self, words: Mapping[TableName, str]) -> None:
        super().__init__("; ".join(words.values()))
        self.words = words


@dataclass(frozen=True)
class Tries:
    """What is tried behind a savepoint before it is written.

    `row_by_row`, the tables whose rows the server refused in an earlier transaction; those that it refuses are left
    out, with the children that need them. `whole`: tables whose writes are tried in one piece, to learn in this
    transaction of all that the next one must try row by row. `waited`: how often the load gave way to a session that
    holds a row that is to go.
    """

    row_by_row: frozenset[TableName] = frozenset()
    whole: frozenset[TableName] = frozenset()
    waited: int = 0

    def after(self, refused: Iterable[TableName], scope: Collection[TableName]) -> Tries:
        """For the next transaction: that after the first refusal asks about all other tables."""
        row_by_row = self.row_by_row | set(refused)
        return Tries(row_by_row, frozenset() if self.row_by_row else frozenset(scope) - row_by_row, self.waited)


@dataclass
class RowWriter:
    """Writes the staged rows of every table inside the open transaction.

    `order`: parents first. `tried`: what the server counted of the tries, though they were rolled back. `built`: the
    indexes that were built after the rows of their tables.
    """

    original: Session
    job: Job
    stages: Mapping[TableName, Stage]
    order: Sequence[TableName]
    rules: Mapping[TableName, Rules]
    tries: Tries
    tried: dict[TableName, load_statements.Touched] = field(default_factory=dict)
    built: list[PlainIndex] = field(default_factory=list)
    _left: list[TableName] = field(default_factory=list)
    _refused: dict[TableName, str] = field(default_factory=dict)

    def write(self, transport: RowTransport | None) -> tuple[dict[TableName, int], dict[TableName, WrittenRows]]:
        """Parents come first, and children leave before them only at the end.

        A parent that left earlier would drag along children that are about to be moved away. Where a row waits for a
        key, the row that holds it goes first, and before that the children that let go of it. Raises RowsRefused where
        the server refuses rows of a table that was not tried row by row.
        """
        fills = {pair.name: pair for pair in self.job.fills}
        self._left = list(self.order)
        early = _deleted_early(self.job.catalog, self.stages, self.rules)
        moved = {name: self._do(name, update_early) for name in self.stages} if early else {}
        deleted = {name: self._do(name, delete) for name in reversed(self.order) if name in early}
        rows: dict[TableName, int] = {}
        put: dict[TableName, tuple[int, int]] = {}
        for name in self.order:
            if name in fills:
                assert transport
                try:
                    rows |= _unrefused(name, partial(transport.load, self.original, [fills[name]]))
                    self._build_indexes(name)
                except RowsRefused:
                    if self._refused:  # what it needs was left out in this transaction, to learn of all refusals
                        raise RowsRefused(self._refused) from None
                    raise
            else:
                put[name] = self._put(name)
            self._left.remove(name)
        last = [name for name in reversed(self.order) if name in self.stages and name not in early]
        deleted |= {name: self._do(name, delete) for name in last}
        if self._refused:
            raise RowsRefused(self._refused)
        return rows, {
            name: WrittenRows(inserted=inserted, updated=updated + moved.get(name, 0), deleted=deleted[name])
            for name, (inserted, updated) in put.items()
        }

    def _build_indexes(self, name: TableName) -> None:
        """Those that were away while its rows came: rows that leave later may be looked for by them."""
        if dropped := self.job.dropped_indexes:
            indexes = [index for index in dropped.indexes if index.table == name]
            if indexes:
                build_after_rows(self.original, dropped.schema, indexes)
                self.built += indexes

    def _do(self, name: TableName, write: Write) -> int:
        if name in self.tries.whole and self._refuses(name, write):
            return 0
        if name not in self.tries.row_by_row:
            return _unrefused(name, partial(write, self.stages[name]))
        written, refused = self._write_tried(name, write)
        if refused:
            waiting = [each for each in self._left if each in self.stages]
            mark_lost_parents(self.stages, self.job.catalog.visible_keys, self.job.filled, waiting)
        return written

    def _write_tried(self, name: TableName, write: Write) -> tuple[int, list[int]]:
        """Rows written, and the numbers of those refused.

        What is refused is tried again as long as others of the table could be written: what refuses it may read its own
        table.
        """
        stage = self.stages[name]
        written_rows, refused = 0, planned(stage, write)
        asking = any(check.functions for check in self.rules[name].checks)
        for passed in range(PASSES_AT_MOST if asking else 1):
            if passed:
                stage.reopen(refused)
            numbers, refused = refused, self._try(stage, write, refused)
            written = _unrefused(name, partial(write, stage, stage.among(numbers)))
            written_rows += written
            if not (refused and written):
                break
        return written_rows, refused

    def _refuses(self, name: TableName, write: Write) -> bool:
        """Whether the server refuses a write in one piece; if so it is remembered for the next transaction."""
        try:
            with self._counting(), self.original.transaction(force_rollback=True):
                write(self.stages[name])
        except ROW_ERRORS as error:
            self._refused[name] = server_words(error)
        return name in self._refused

    def _try(self, stage: Stage, write: Write, numbers: Sequence[int]) -> list[int]:
        with self._counting():
            return try_first(stage, write, numbers)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        before = load_statements.touched_tables(self.original)
        try:
            yield
        finally:
            for table, now in load_statements.touched_tables(self.original).items():
                self.tried[table] = load_statements.plus(
                    self.tried.get(table), load_statements.minus(now, before.get(table))
                )

    def _put(self, name: TableName) -> tuple[int, int]:
        """Insert and update; the other way round where an insert waits for a key that an update sets free."""
        if blocks_key(self.stages[name], StagedOp.UPDATE, self.rules[name].distinct):
            updated = self._do(name, update)
            return self._do(name, insert), updated
        return self._do(name, insert), self._do(name, update)


def _unrefused(name: TableName, act: Callable[[], Done]) -> Done:
    try:
        return act()
    except ROW_ERRORS as error:
        raise RowsRefused({name: server_words(error)}) from error


def _deleted_early(
    catalog: Catalog, stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules]
) -> set[TableName]:
    """Tables whose deletes set keys free that rows to come wait for, with the tables that reference them."""
    blocking = {name for name, stage in stages.items() if blocks_key(stage, StagedOp.DELETE, rules[name].distinct)}
    return with_referencing(blocking, [key for key in catalog.foreign_keys if key.child in stages])
