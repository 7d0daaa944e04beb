"""Everything of a swap that takes time, in tables that no other session sees: rows, indexes, keys, the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from recovery.errors import RowbackError
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair, RowTransport
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.isolate_bad_rows import BAD_ROWS, DEFINITION_ERRORS, server_words
from recovery.postgres.swap.brief_locks import LockNotFree
from recovery.postgres.swap.hidden_tables import analyze, execute_unit, hidden_name, make_hidden_tables
from recovery.postgres.swap.phase import SwapPhase
from recovery.postgres.swap.statements import SwapStatement, statements_of
from recovery.postgres.swap.table_definition import definition_lines
from recovery.reload.build_queue import BuildQueue
from recovery.reload.load_job import Job
from recovery.reload.row_writes import RowsRefused


class NotSwapped(Exception):
    """Why tables cannot be exchanged after all. Nothing of theirs was changed."""


@dataclass(frozen=True)
class SwapSchemas:
    """Where the new tables are until the exchange, and where the old ones are in its transaction."""

    hidden: str
    old: str


@dataclass(frozen=True)
class HiddenTables:
    """Tables that are ready to be exchanged. `xids`: the transaction that wrote each one's rows.

    `lines`: what defined the originals when these were made after them.
    """

    xids: Mapping[TableName, int]
    rows: Mapping[TableName, int]
    statements: Sequence[SwapStatement]
    lines: frozenset[str]

    @property
    def indexes(self) -> int:
        """How many indexes were built."""
        return len({(each.table, each.unit) for each in self.statements if each.phase is SwapPhase.INDEX})

    @property
    def keys(self) -> int:
        """How many foreign keys were checked."""
        return sum(each.phase is SwapPhase.VALIDATE for each in self.statements)


def build_hidden(
    original: Session,
    job: Job,
    transport: RowTransport,
    schemas: SwapSchemas,
    connect: Callable[[], AbstractContextManager[Session]],
) -> HiddenTables:
    """The tables of `job.fills` under hidden names, with T's rows and proven to hold them, in load order.

    `connect`: opens another session on the original. Raises RowsRefused for a table whose rows do not fit, NotSwapped
    for anything else that the server refuses.
    """
    made = _make(original, job, schemas)
    statements = made.statements
    xids: dict[TableName, int] = {}
    rows: dict[TableName, int] = {}
    with ExitStack() as opened:
        queue = opened.enter_context(BuildQueue(_builders(connect, opened, job.builders)))
        for pair in job.fills:
            refusing(pair.name, partial(_load_rows, original, pair, transport, schemas.hidden, xids, rows))
            _add(queue, [each for each in statements if each.table == pair.name], SwapPhase.INDEX)
        for pair in job.fills:
            queue.add(partial(_prove, pair=pair, job=job, hidden=schemas.hidden))
        queue.wait()
        _execute(original, statements, SwapPhase.CONSTRAINT)
        _execute(original, statements, SwapPhase.KEY)
        for pair in job.fills:
            keys = [each for each in statements if each.table == pair.name and each.phase is SwapPhase.VALIDATE]
            queue.add(partial(_check_keys, pair=pair, keys=keys, hidden=schemas.hidden))
        queue.wait()
    return replace(made, xids=xids, rows=rows)


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
    made = _make(original, job, schemas)
    _execute(original, made.statements, SwapPhase.INDEX)
    _execute(original, made.statements, SwapPhase.CONSTRAINT)
    return made


def add_keys(original: Session, made: HiddenTables) -> None:
    """Their foreign keys, which need a lock on the tables that they reference."""
    _execute(original, made.statements, SwapPhase.KEY)
    _execute(original, made.statements, SwapPhase.VALIDATE)


def _make(original: Session, job: Job, schemas: SwapSchemas) -> HiddenTables:
    tables = job.filled
    made = HiddenTables(
        {},
        {},
        statements_of(original, tables, hidden=schemas.hidden, old=schemas.old),
        definition_lines(original, tables),
    )
    refusing(tables[0], partial(make_hidden_tables, original, schemas.hidden, tables))
    _execute(original, made.statements, SwapPhase.TABLE)
    return made


def _load_rows(
    original: Session,
    pair: Pair,
    transport: RowTransport,
    hidden: str,
    xids: dict[TableName, int],
    rows: dict[TableName, int],
) -> None:
    """In a transaction of their own, by whose id they are known afterwards."""
    with original.transaction():
        load_statements.use_search_path_of_role(original)
        xids[pair.name] = load_statements.transaction_id(original)
        (rows[pair.name],) = transport.load(original, [_hidden_pair(pair, hidden)]).values()


def _hidden_pair(pair: Pair, hidden: str) -> Pair:
    return Pair(pair.at_target, pair.original.model_copy(update={"name": hidden_name(hidden, pair.name)}))


def _add(queue: BuildQueue, statements: Iterable[SwapStatement], phase: SwapPhase) -> None:
    """Indexes each by itself, those first that take longest."""
    for unit in sorted(_units(statements, phase), key=lambda unit: " USING gin " not in unit[0].text):
        queue.add(partial(_build, unit=unit))


def _units(statements: Iterable[SwapStatement], phase: SwapPhase) -> list[list[SwapStatement]]:
    """The statements of a phase, those together that are about the same."""
    units: dict[tuple[TableName, str], list[SwapStatement]] = {}
    for each in statements:
        if each.phase is phase:
            units.setdefault((each.table, each.unit), []).append(each)
    return list(units.values())


def _build(session: Session, *, unit: Sequence[SwapStatement]) -> None:
    refusing(unit[0].table, partial(execute_unit, session, unit))


def _execute(original: Session, statements: Iterable[SwapStatement], phase: SwapPhase) -> None:
    for unit in _units(statements, phase):
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


def refusing(table: TableName, act: Callable[[], object]) -> None:
    """Do it, with the server's refusals in our words. Raises RowsRefused, NotSwapped."""
    try:
        act()
    except BAD_ROWS as error:
        raise RowsRefused({table: server_words(error)}) from error
    except DEFINITION_ERRORS as error:
        raise NotSwapped(f"{table}: {server_words(error)}") from error
    except LockNotFree as error:
        raise NotSwapped(f"{table}: {error}") from error
