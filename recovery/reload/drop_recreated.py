"""Drop what was made anew, in one transaction: only while its rows are those of T and nothing of others hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Table
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.table_parts import LostParts, names_of
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import lock_holders
from recovery.postgres.connect import Session
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.lost_columns import drops_of
from recovery.postgres.made_anew import run_drops, wait_for_locks_at_most
from recovery.postgres.owners import member_of
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.read_table_parts import hanging_on
from recovery.postgres.schemas import drops_of_schemas
from recovery.postgres.undisturbed import unforced
from recovery.postgres.value_stage import values_now
from recovery.reload import load_refusals
from recovery.reload.load_job import AtTarget, Loaded, ValuesBack

ROLLED_BACK = "the transaction was rolled back: nothing was taken back"


@dataclass(frozen=True)
class Removal:
    """What is dropped: pg_dump's own statements, in the reverse order of making, and what its tables held.

    `parts`: what tables that were there got back, dropped between `drops` and `last_drops`; `values`: of their rows;
    `hanging`: what hung on their columns when these came back.
    """

    drops: tuple[str, ...]
    parts: tuple[LostParts, ...]
    values: Mapping[str, ValuesBack]
    hanging: Mapping[str, tuple[str, ...]]
    last_drops: tuple[str, ...]
    schemas: tuple[DroppedSchema, ...]
    owners: frozenset[str]
    truth: AtTarget
    lock_timeout_ms: int
    database: str
    case: str


def drop_recreated(original: Session, what: Removal, *, before_commit: Callable[[Loaded], None]) -> Loaded:
    """Drop it and commit.

    Raises nothing-to-undo where rows were written to it since or others' objects need it, lock-not-granted.
    """
    with load_statements.transaction(original):
        xid = load_statements.transaction_id(original)
        tables = [table for table in read_catalog(original).tables if str(table.name) in what.truth.fingerprints]
        names = [table.name for table in tables] + names_of(what.parts)
        if not load_statements.lock_tables(original, names, alone=names, timeout_ms=what.lock_timeout_ms):
            tried = f"{what.lock_timeout_ms} ms"
            raise load_refusals.not_free(what.database, tried, lock_holders(original, names))
        since = load_statements.server_time(original)
        wait_for_locks_at_most(original, what.lock_timeout_ms)
        with member_of(original, what.owners, state=ROLLED_BACK):
            if changed := [*_changed_rows(original, what, tables), *_changed_columns(original, what)]:
                raise _others(what, changed)
            parts, schemas = drops_of(what.parts), drops_of_schemas(what.schemas)
            between, last = ([drop.as_string(original) for drop in drops] for drops in (parts, schemas))
            drops = (*what.drops, *between, *what.last_drops, *last)
            if words := run_drops(original, drops):
                raise _others(what, [words])
        seconds = (load_statements.server_time(original) - since).total_seconds()
        loaded = Loaded(
            xids=(xid,),
            rows={},
            touched={},
            definitions=definitions_digest(original),
            sequence_moves=(),
            foreign_keys_checked=0,
            seconds_locked=round(seconds, 3),
        )
        before_commit(loaded)
    return loaded


def _changed_rows(original: Session, what: Removal, tables: Sequence[Table]) -> Iterator[str]:
    """Of tables that were made."""
    for table in tables:
        if table.row_security:
            yield f"{table.name}: its policies hide rows from this role"
            continue
        content = fingerprint(original, table, oldest_version_num=what.truth.oldest_version_num)
        if content != what.truth.fingerprints[str(table.name)]:
            yield f"{table.name}: rows were written since"


def _changed_columns(original: Session, what: Removal) -> Iterator[str]:
    """Of tables that got columns back: their values, and what hangs on them."""
    for lost in what.parts:
        back, hung = what.values.get(str(lost.table)), what.hanging.get(str(lost.table), ())
        with unforced(original, [lost]):
            if back and values_now(original, lost) != back.content:
                yield f"{lost.table}: rows were written since"
        for text in hanging_on(original, lost.table, [column.name for column in lost.columns]):
            if text not in hung:
                yield f"{lost.table}: {text} came since, and would go along"


def _others(what: Removal, facts: list[str]) -> RowbackError:
    return RowbackError(
        ErrorId.NOTHING_TO_UNDO,
        f"what case {what.case} made anew is in use since, so nothing of it is dropped",
        *facts,
        state=ROLLED_BACK,
        help="take back by hand what hangs on it, then the same again",
    )
