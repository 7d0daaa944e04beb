"""Everything of a swap that takes time, in tables that no other session sees: rows, indexes, keys, the proof."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TypeVar

from recovery.errors import RowbackError
from recovery.model.values import TableName, Value
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair, RowTransport
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.isolate_bad_rows import BAD_ROWS, DEFINITION_ERRORS, server_words
from recovery.postgres.swap.brief_locks import LockNotFree
from recovery.postgres.swap.hidden_tables import (
    analyze,
    execute_unit,
    hidden_name,
    make_hidden_tables,
    remove_hidden_tables,
)
from recovery.postgres.swap.phase import SwapPhase
from recovery.postgres.swap.remains import done_steps, end_builders, hidden_oids, remove_other_rows
from recovery.postgres.swap.statements import SwapStatement, statements_of
from recovery.postgres.swap.table_definition import definition_lines
from recovery.postgres.work_queue import WorkQueue
from recovery.reload.load_job import Job
from recovery.reload.row_writes import RowsRefused
from recovery.reload.wal_pace import WalPace

Result = TypeVar("Result")


class NotSwapped(Exception):
    """Why tables cannot be exchanged after all. Nothing of theirs was changed."""


@dataclass(frozen=True)
class SwapSchemas:
    """Where the new tables are until the exchange, and where the old ones are in its transaction."""

    hidden: str
    old: str


class HiddenRows(Value):
    """Rows of one table that were copied under its hidden name by transaction `xid`.

    `oid`: of the hidden table. `shape`: digest of what defined all tables of the swap, and of the columns that were
    copied.
    """

    table: TableName
    xid: int
    oid: int
    rows: int
    shape: str


@dataclass(frozen=True)
class BuildSite:
    """Where and with what hidden tables are built.

    `connect`: opens another session on the original. `earlier`: what an attempt that was cut off recorded; it is
    counted on where its transaction committed and nothing was altered since. `copied`: called with each table's rows
    before their commit. `pace`: where there is one, indexes are built one after the other, each after a wait.
    """

    schemas: SwapSchemas
    connect: Callable[[], AbstractContextManager[Session]]
    earlier: Sequence[HiddenRows] = ()
    copied: Callable[[HiddenRows], None] = lambda rows: None
    pace: WalPace | None = None


@dataclass(frozen=True)
class HiddenTables:
    """Tables that are ready to be exchanged. `copied`: whose rows are there.

    `lines`: what defined the originals when these were made after them. `done`: steps of an earlier attempt.
    """

    copied: Mapping[TableName, HiddenRows]
    statements: Sequence[SwapStatement]
    lines: frozenset[str]
    done: frozenset[tuple[SwapPhase, TableName, str]] = frozenset()

    def units(self, phase: SwapPhase, tables: Collection[TableName]) -> list[list[SwapStatement]]:
        """The statements of a phase that are still to be executed, those together that are about the same."""
        units: dict[tuple[TableName, str], list[SwapStatement]] = {}
        for each in self.statements:
            if each.phase is phase and each.table in tables and (phase, each.table, each.unit) not in self.done:
                units.setdefault((each.table, each.unit), []).append(each)
        return list(units.values())

    @property
    def indexes(self) -> int:
        """How many indexes were built."""
        return len({(each.table, each.unit) for each in self.statements if each.phase is SwapPhase.INDEX})

    @property
    def keys(self) -> int:
        """How many foreign keys were checked."""
        return sum(each.phase is SwapPhase.VALIDATE for each in self.statements)


def build_hidden(original: Session, job: Job, transport: RowTransport, site: BuildSite) -> HiddenTables:
    """The tables of `job.fills` under hidden names, with T's rows and proven to hold them, in load order.

    Raises RowsRefused for a table whose rows do not fit, NotSwapped for anything else that the server refuses.
    """
    made = _continue_or_make(original, job, site)
    copied = dict(made.copied)
    with ExitStack() as opened:
        queue = opened.enter_context(WorkQueue(_builders(site.connect, opened, job.builders)))
        for pair in job.fills:
            if pair.name not in copied:
                copied[pair.name] = _copy_rows(original, pair, transport, site, _shape(made, job))
            for unit in sorted(made.units(SwapPhase.INDEX, [pair.name]), key=_takes_less_time):
                queue.add(partial(_build, unit=unit))
                if site.pace:
                    queue.wait()
                    site.pace.keep()
        for pair in job.fills:
            queue.add(partial(_prove, pair=pair, job=job, hidden=site.schemas.hidden))
        queue.wait()
        _execute(original, made, SwapPhase.CONSTRAINT)
        _execute(original, made, SwapPhase.KEY)
        for pair in job.fills:
            keys = [each for unit in made.units(SwapPhase.VALIDATE, [pair.name]) for each in unit]
            queue.add(partial(_check_keys, pair=pair, keys=keys, hidden=site.schemas.hidden))
        queue.wait()
    return replace(made, copied=copied)


def _takes_less_time(unit: Sequence[SwapStatement]) -> bool:
    """Whether it need not be built first."""
    return " USING gin " not in unit[0].text


def _builders(connect: Callable[[], AbstractContextManager[Session]], opened: ExitStack, most: int) -> list[Session]:
    """As many sessions as may be had, at most `most`. Raises NotSwapped where there is none."""
    sessions: list[Session] = []
    try:
        while len(sessions) < most:
            sessions.append(opened.enter_context(connect()))
    except RowbackError as error:
        if not sessions:
            raise NotSwapped(f"no other session can be had: {error.fact}") from error
    return sessions


def build_empty(original: Session, job: Job, schemas: SwapSchemas) -> HiddenTables:
    """The same without rows and without foreign keys, in the open transaction."""
    made = _planned(original, job, schemas)
    _make(original, made, job, schemas)
    _execute(original, made, SwapPhase.INDEX)
    _execute(original, made, SwapPhase.CONSTRAINT)
    return made


def add_keys(original: Session, made: HiddenTables) -> None:
    """Their foreign keys, which need a lock on the tables that they reference."""
    _execute(original, made, SwapPhase.KEY)
    _execute(original, made, SwapPhase.VALIDATE)


def _planned(original: Session, job: Job, schemas: SwapSchemas) -> HiddenTables:
    statements = statements_of(original, job.filled, hidden=schemas.hidden, old=schemas.old)
    return HiddenTables({}, statements, definition_lines(original, job.filled))


def _make(original: Session, made: HiddenTables, job: Job, schemas: SwapSchemas) -> None:
    refusing(job.filled[0], partial(make_hidden_tables, original, schemas.hidden, job.filled))
    _execute(original, made, SwapPhase.TABLE)


def _continue_or_make(original: Session, job: Job, site: BuildSite) -> HiddenTables:
    """What an earlier attempt copied and built is counted on; where nothing is, the tables are made anew."""
    made, hidden = _planned(original, job, site.schemas), site.schemas.hidden
    try:
        end_builders(original, hidden)
        oids = hidden_oids(original, hidden)
        copied = _copied_earlier(original, site.earlier, _shape(made, job), oids)
        if copied and oids.keys() == {table.name for table in job.filled}:
            for table in reversed(job.filled):  # children first
                if table in copied:
                    remove_other_rows(original, hidden_name(hidden, table), copied[table].xid)
            return replace(made, copied=copied, done=done_steps(original, hidden, job.filled[0].schema_name))
        if not remove_hidden_tables(original, hidden):
            raise LockNotFree(f"schema {hidden} of an earlier attempt cannot be removed")
    except LockNotFree as error:
        raise NotSwapped(str(error)) from error
    _make(original, made, job, site.schemas)
    return made


def _copied_earlier(
    original: Session, earlier: Sequence[HiddenRows], shape: str, oids: Mapping[str, int]
) -> dict[TableName, HiddenRows]:
    """Only rows that came to the very same tables, which are still there, by the last transaction that tried."""
    last = {each.table: each for each in earlier}
    return {
        each.table: each
        for each in last.values()
        if each.shape == shape
        and oids.get(each.table.name) == each.oid
        and load_statements.transaction_status(original, each.xid) == "committed"
    }


def _shape(made: HiddenTables, job: Job) -> str:
    """Digest of what the tables are, of how they are made, and of the columns whose values are copied."""
    shape = [sorted(made.lines), sorted(each.text for each in made.statements)]
    columns = [[str(pair.name), *pair.columns] for pair in job.fills]
    return sha256(json.dumps([shape, columns]).encode()).hexdigest()


def _copy_rows(original: Session, pair: Pair, transport: RowTransport, site: BuildSite, shape: str) -> HiddenRows:
    """In a transaction of their own, by whose id they are known afterwards."""

    def copy() -> HiddenRows:
        with original.transaction():
            load_statements.use_search_path_of_role(original)
            xid = load_statements.transaction_id(original)
            (rows,) = transport.load(original, [_hidden_pair(pair, site.schemas.hidden)]).values()
            oid = hidden_oids(original, site.schemas.hidden)[pair.name.name]
            copied = HiddenRows(table=pair.name, xid=xid, oid=oid, rows=rows, shape=shape)
            site.copied(copied)
        return copied

    return refusing(pair.name, copy)


def _hidden_pair(pair: Pair, hidden: str) -> Pair:
    return Pair(pair.at_target, pair.original.model_copy(update={"name": hidden_name(hidden, pair.name)}))


def _build(session: Session, *, unit: Sequence[SwapStatement]) -> None:
    refusing(unit[0].table, partial(execute_unit, session, unit))


def _execute(original: Session, made: HiddenTables, phase: SwapPhase) -> None:
    for unit in made.units(phase, {each.table for each in made.statements}):
        _build(original, unit=unit)


def _prove(session: Session, *, pair: Pair, job: Job, hidden: str) -> None:
    table = _hidden_pair(pair, hidden).original
    now = fingerprint(session, table, oldest_version_num=job.truth.oldest_version_num)
    if now != (then := job.truth.fingerprints[str(pair.name)]):
        raise NotSwapped(f"{pair.name}: {then.rows} rows at T, {now.rows} loaded, checksum differs")


def _check_keys(session: Session, *, pair: Pair, keys: Sequence[SwapStatement], hidden: str) -> None:
    if keys:
        _build(session, unit=keys)
    analyze(session, _hidden_pair(pair, hidden).original)


def refusing(table: TableName, act: Callable[[], Result]) -> Result:
    """Do it, with the server's refusals in our words. Raises RowsRefused, NotSwapped."""
    try:
        return act()
    except BAD_ROWS as error:
        raise RowsRefused({table: server_words(error)}) from error
    except DEFINITION_ERRORS as error:
        raise NotSwapped(f"{table}: {server_words(error)}") from error
    except LockNotFree as error:
        raise NotSwapped(f"{table}: {error}") from error
