"""Write the staged rows of every table in an order in which each finds what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from recovery.compare.staging import mark_lost_parents
from recovery.model.catalog import Catalog
from recovery.model.values import TableName, Value
from recovery.postgres import writing
from recovery.postgres.connect import Session
from recovery.postgres.isolation import ROW_ERRORS, server_words
from recovery.postgres.repair.obstacles import waits_for
from recovery.postgres.repair.rules import Rules
from recovery.postgres.repair.stage import Stage
from recovery.postgres.repair.writes import (
    Write,
    delete,
    insert,
    planned,
    try_first,
    update,
    update_early,
)
from recovery.postgres.rows import RowTransport

if TYPE_CHECKING:
    from recovery.reload.load import Job

Done = TypeVar("Done")
PASSES_AT_MOST = 25  # of rows that only fit when others of their table are there


class WrittenRows(Value):
    """What was done to one table that was repaired row by row."""

    inserted: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted


class RowsRefused(Exception):
    """The server refused rows of one table; the transaction is lost."""

    def __init__(self, table: TableName, words: str) -> None:
        super().__init__(words)
        self.table, self.words = table, words


@dataclass
class RowWriter:
    """Writes the staged rows of every table inside the open transaction.

    `order`: parents first. Of the tables `tried_first` each write is tried beforehand, and rows that the server refuses
    are left out, with the children that need them. `tried`: what the server counted of those tries, though they were
    rolled back.
    """

    live: Session
    job: Job
    stages: Mapping[TableName, Stage]
    order: Sequence[TableName]
    rules: Mapping[TableName, Rules]
    tried_first: Collection[TableName]
    tried: dict[TableName, writing.Touched] = field(default_factory=dict)
    _left: list[TableName] = field(default_factory=list)

    def write(
        self, transport: RowTransport | None
    ) -> tuple[dict[TableName, int], dict[TableName, WrittenRows]]:  # fmt: skip
        """Parents come first, and children leave before them only at the end: a parent that left earlier would drag
        along children that are about to be moved away. Where a row waits for a key, the row that holds it goes first,
        and before that the children that let go of it. Raises RowsRefused where the server refuses rows of a table that
        was not tried first."""
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
                rows |= _unrefused(name, partial(transport.load, self.live, [fills[name]]))
            else:
                put[name] = self._put(name)
            self._left.remove(name)
        last = [name for name in reversed(self.order) if name in self.stages and name not in early]
        deleted |= {name: self._do(name, delete) for name in last}
        return rows, {
            name: WrittenRows(inserted=inserted, updated=updated + moved.get(name, 0), deleted=deleted[name])
            for name, (inserted, updated) in put.items()
        }

    def _do(self, name: TableName, write: Write) -> int:
        if name not in self.tried_first:
            return _unrefused(name, partial(write, self.stages[name]))
        done, refused = self._write_tried(name, write)
        if refused:
            waiting = [each for each in self._left if each in self.stages]
            mark_lost_parents(self.stages, self.job.catalog.visible_keys, self.job.filled, waiting)
        return done

    def _write_tried(self, name: TableName, write: Write) -> tuple[int, list[int]]:
        """Rows written, and the numbers of those refused. What is refused is tried again as long as others of the table
        could be written: what refuses it may read its own table."""
        stage = self.stages[name]
        done, refused = 0, planned(stage, write)
        asking = any(check.functions for check in self.rules[name].checks)
        for passed in range(PASSES_AT_MOST if asking else 1):
            if passed:
                stage.reopen(refused)
            numbers, refused = refused, self._try(stage, write, refused)
            written = _unrefused(name, partial(write, stage, stage.among(numbers)))
            done += written
            if not (refused and written):
                break
        return done, refused

    def _try(self, stage: Stage, write: Write, numbers: Sequence[int]) -> list[int]:
        before = writing.touched_tables(self.live)
        refused = try_first(stage, write, numbers)
        for table, now in writing.touched_tables(self.live).items():
            self.tried[table] = writing.plus(self.tried.get(table), writing.minus(now, before.get(table)))
        return refused

    def _put(self, name: TableName) -> tuple[int, int]:
        """Insert and update; the other way round where an insert waits for a key that an update sets free."""
        if waits_for(self.stages[name], "u", self.rules[name].distinct):
            updated = self._do(name, update)
            return self._do(name, insert), updated
        return self._do(name, insert), self._do(name, update)


def _unrefused(name: TableName, act: Callable[[], Done]) -> Done:
    try:
        return act()
    except ROW_ERRORS as error:
        raise RowsRefused(name, server_words(error)) from error


def _deleted_early(
    catalog: Catalog, stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules]
) -> set[TableName]:
    """Tables whose deletes set keys free that rows to come wait for, with the tables that reference them."""
    early = {name for name, stage in stages.items() if waits_for(stage, "d", rules[name].distinct)}
    grown = bool(early)
    while grown:
        children = {key.child for key in catalog.foreign_keys if early & set(key.parent_tables)} & stages.keys()
        grown = not children <= early
        early |= children
    return early
