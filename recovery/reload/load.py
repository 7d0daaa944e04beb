"""Put the rows back: one short transaction that locks, writes, proves and only then commits.

Tables that are empty are loaded whole; all others get exactly the rows of a change set. The transaction's id is
recorded before COMMIT. After a crash `pg_xact_status` says whether it committed, so the load happens exactly once and
leaves no table behind but the before-images (docs/decisions/001).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from recovery.compare.changes import ChangeSet
from recovery.compare.scope import load_order
from recovery.compare.staging import mark_unwritable, stage_changes
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Trigger
from recovery.model.catalog import Sequence as Counter
from recovery.model.plan import ForeignKeyMode
from recovery.model.report import Fingerprint, SequenceMove
from recovery.model.values import TableName, Value
from recovery.postgres import writing
from recovery.postgres.connect import Session
from recovery.postgres.definitions import definitions_digest
from recovery.postgres.repair.obstacles import waits_for
from recovery.postgres.repair.rules import DistinctRule, Rules, read_rules
from recovery.postgres.repair.stage import Hash, Stage
from recovery.postgres.rows import Pair, RowTransport
from recovery.postgres.watchers import lock_holders
from recovery.reload import refusals
from recovery.reload.objects import bring_objects

MAXIMUM_PAUSE_S = 2.0
CHECKSUMMED_BYTES = 64 * 2**20  # of a table: below it the untouched rows are summed before and after, under the lock


class WrittenRows(Value):
    """What was done to one table that was repaired row by row."""

    inserted: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted


class Loaded(Value):
    """What one committed load did. Journalled before the commit; its ids tell afterwards whether it happened.

    `xids`: of one transaction, or of the portions of a paced load. `partial`: one portion of it, the next one follows.
    `rows`: tables loaded whole, by the first of them. `written`, `skipped`: tables repaired row by row, from the change
    set `number`.
    """

    xids: tuple[int, ...]
    partial: bool = False
    rows: dict[str, int]
    touched: dict[str, int]
    definitions: str
    sequence_moves: tuple[SequenceMove, ...]
    foreign_keys_checked: int
    seconds_locked: float
    number: int | None = None
    written: dict[str, WrittenRows] = {}
    skipped: int = 0
    rest_checksummed: tuple[str, ...] = ()
    large_objects: int = 0


class AtTarget(Value):
    """What the temporary instance holds: the truth to reproduce. `fingerprints`: of the tables loaded whole."""

    fingerprints: dict[str, Fingerprint]
    sequences: tuple[Counter, ...]
    oldest_version_num: int


@dataclass(frozen=True)
class Repair:
    """Rows to write one by one: the change set with its number, and where their before-images go."""

    changes: ChangeSet
    number: int
    schema: str


@dataclass(frozen=True)
class Job:
    """Everything the load needs to know beforehand; `catalog` is the original's, read just now.

    `copy`: the temporary instance, when rows may point to large objects.
    """

    database: str
    catalog: Catalog
    fills: Sequence[Pair]
    truth: AtTarget
    held_triggers: tuple[Trigger, ...]
    lock_timeout_ms: int
    lock_attempts: int
    repair: Repair | None = None
    copy: Session | None = None

    @property
    def filled(self) -> list[TableName]:
        """Tables loaded whole."""
        return [pair.name for pair in self.fills]


def load(live: Session, job: Job, transport: RowTransport | None, *, before_commit: Callable[[Loaded], None]) -> Loaded:
    """Write the planned rows and commit. Raises RowbackError, with everything rolled back, unless all is proven first:
    whole tables were empty under lock and equal T, repaired tables hold exactly the planned rows beside what they held,
    every foreign key holds, nothing else was touched."""
    names: list[TableName] = []
    for attempt in range(job.lock_attempts):
        with writing.unless_blocked(), writing.transaction(live):
            stages = _stage(live, job)
            names = _to_lock(job, [*job.filled, *_busy(stages)])
            if writing.lock_tables(live, names, timeout_ms=job.lock_timeout_ms):
                locked_at = time.monotonic()
                done = _write(live, job, stages, transport)
                done = done.model_copy(update={"seconds_locked": round(time.monotonic() - locked_at, 3)})
                before_commit(done)
                return done
        time.sleep(min(0.1 * 2**attempt, MAXIMUM_PAUSE_S))  # let the writers through before asking again
    raise RowbackError(
        ErrorId.LOCK_NOT_GRANTED,
        f"the tables of '{job.database}' were not free within {job.lock_attempts} tries of {job.lock_timeout_ms} ms",
        *(holder.who for holder in lock_holders(live, names) if holder.writes),
        state=refusals.ROLLED_BACK,
        help="end those sessions or wait for them",
    )


def _to_lock(job: Job, scope: list[TableName]) -> list[TableName]:
    """The tables written to. When foreign keys are held back, the tables at their other ends as well: the server then
    takes no lock on a parent row, and somebody could delete it between our check and the commit."""
    if load_order(scope, job.catalog)[1] is not ForeignKeyMode.REPLICA:
        return scope
    ends = {table for key in keys_to_check(scope, job.catalog) for table in (key.child, *key.parent_tables)}
    return [*scope, *sorted(ends - set(scope), key=lambda name: name.key)]


def _stage(live: Session, job: Job) -> dict[TableName, Stage]:
    if job.repair is None:
        return {}
    writing.use_search_path_of_role(live)
    stages = stage_changes(live, job.catalog, job.repair.changes)
    writing.pin_search_path(live)
    return stages


def _busy(stages: Mapping[TableName, Stage]) -> dict[TableName, Stage]:
    return {name: stage for name, stage in stages.items() if stage.writes}


def _bring_objects(live: Session, job: Job, skipped: Mapping[int, str]) -> int:
    if job.copy is None:
        return 0
    changes = job.repair.changes if job.repair else None
    return bring_objects(live, job.copy, job.catalog, job.fills, changes, but=skipped)


def _write(live: Session, job: Job, stages: Mapping[TableName, Stage], transport: RowTransport | None) -> Loaded:
    busy = _busy(stages)
    scope = [*job.filled, *busy]
    order, mode = load_order(scope, job.catalog)
    refusals.refuse_rows(live, job.filled)
    refusals.refuse_other_triggers(live, scope, job.held_triggers)
    definitions = definitions_digest(live)
    xid = writing.transaction_id(live)
    skipped = _prepare(live, job, stages, xid)
    portion = job.repair is not None and job.repair.changes.portions.only_chosen
    small = {} if portion else {n: stage for n, stage in busy.items() if stage.table.bytes <= CHECKSUMMED_BYTES}
    rest = {name: stage.rest_hash_before() for name, stage in small.items()}
    brought = _bring_objects(live, job, skipped)
    before = writing.touched_tables(live)
    held = [trigger for trigger in job.held_triggers if trigger.table in set(scope)]
    writing.hold_triggers(live, held)
    writing.relax_foreign_keys(live, mode)
    writing.use_search_path_of_role(live)
    rows, written = _write_rows(live, job, busy, transport, order)
    writing.enforce_foreign_keys(live, mode)
    writing.pin_search_path(live)
    writing.release_triggers(live, held)
    after = writing.touched_tables(live)
    for name, done in written.items():
        refusals.refuse_other_counts(stages[name], (done.inserted, done.updated, done.deleted))
    keys = _prove(live, job, busy, rest, xid)
    refusals.refuse_changed_definitions(definitions, definitions_digest(live))
    refusals.refuse_side_effects(_expected(rows, written), before, after)
    if not portion:
        refusals.refuse_nothing(sum(rows.values()) + sum(done.total for done in written.values()), skipped.values())
    inserting = {*job.filled, *(name for name, done in written.items() if done.inserted)}
    counters = [counter for counter in job.catalog.sequences if counter.table in inserting]
    return Loaded(
        xids=(xid,),
        partial=portion,
        rows={str(table): count for table, count in rows.items()},
        touched={str(table): count for table, change in after.items() if (count := _more(change, before.get(table)))},
        definitions=definitions,
        sequence_moves=tuple(writing.advance_sequences(live, counters, job.truth.sequences)),
        foreign_keys_checked=len(keys),
        seconds_locked=0.0,
        number=job.repair.number if job.repair else None,
        written={str(table): done for table, done in written.items()},
        skipped=len(skipped),
        rest_checksummed=tuple(sorted(map(str, rest))),
        large_objects=brought,
    )


def _more(after: writing.Touched, before: writing.Touched | None) -> int:
    """Row changes since `before`: the server's accounts may still hold those of the session's last transaction."""
    so_far = before or writing.Touched(after.table, 0, 0, 0)
    return (after.inserted + after.updated + after.deleted) - (so_far.inserted + so_far.updated + so_far.deleted)


def _prepare(live: Session, job: Job, stages: Mapping[TableName, Stage], xid: int) -> dict[int, str]:
    """Skip what cannot be written any more, note that durably, and keep a before-image of everything else."""
    if job.repair is None:
        return {}
    rules = read_rules(live, [stage.table for stage in stages.values()])
    writing.use_search_path_of_role(live)
    mark_unwritable(stages, rules, job.catalog.foreign_keys, job.filled)
    writing.pin_search_path(live)
    skipped = {n: why for stage in stages.values() for n, why in stage.skipped()}
    job.repair.changes.skip(xid, skipped.items())
    if job.repair.changes.portions.only_chosen:
        job.repair.changes.portions.take(xid)
    for stage in _busy(stages).values():
        stage.keep_before_images(job.repair.schema, f"before_{job.repair.number}_{stage.no}")
    return skipped


def _write_rows(
    live: Session, job: Job, stages: Mapping[TableName, Stage], transport: RowTransport | None,
    order: Sequence[TableName],
) -> tuple[dict[TableName, int], dict[TableName, WrittenRows]]:  # fmt: skip
    """Parents come first, and children leave before them only at the end: a parent that left earlier would drag along
    children that are about to be moved away. Where a row waits for a key, the row that holds it goes first, and before
    that the children that let go of it."""
    fills = {pair.name: pair for pair in job.fills}
    rules = read_rules(live, [stage.table for stage in stages.values()])
    early = _deleted_early(job.catalog, stages, rules)
    moved = {name: stage.update(early=True) for name, stage in stages.items()} if early else {}
    deleted = {name: stages[name].delete() for name in reversed(order) if name in early}
    rows: dict[TableName, int] = {}
    put: dict[TableName, tuple[int, int]] = {}
    for name in order:
        if name in fills:
            assert transport
            rows |= transport.load(live, [fills[name]])
        else:
            put[name] = _put(stages[name], rules[name].distinct)
    deleted |= {name: stages[name].delete() for name in reversed(order) if name in stages and name not in early}
    return rows, {
        name: WrittenRows(inserted=inserted, updated=updated + moved.get(name, 0), deleted=deleted[name])
        for name, (inserted, updated) in put.items()
    }


def _put(stage: Stage, rules: Sequence[DistinctRule]) -> tuple[int, int]:
    """Insert and update; the other way round where an insert waits for a key that an update sets free."""
    if waits_for(stage, "u", rules):
        updated = stage.update()
        return stage.insert(), updated
    return stage.insert(), stage.update()


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


def _prove(
    live: Session, job: Job, stages: Mapping[TableName, Stage], rest: Mapping[TableName, Hash], xid: int
) -> list[ForeignKey]:
    """Rows and references, before anybody else can see them; returns the keys that were checked."""
    refusals.refuse_differences(live, job.fills, job.truth.fingerprints, job.truth.oldest_version_num)
    refusals.refuse_other_rows(stages.values(), rest, xid)
    whole = keys_to_check(job.filled, job.catalog)
    refusals.refuse_dangling((key, writing.dangling_references(live, key)) for key in whole)
    touched = keys_to_check(list(stages), job.catalog)
    for key in touched:
        if key.child in stages:
            refusals.refuse_dangling([(key, stages[key.child].dangling(key))])
        for parent in key.parent_tables:
            if parent in stages:
                refusals.refuse_dangling([(key, stages[parent].left_behind(key))])
    return list({(key.child, key.name): key for key in [*whole, *touched]}.values())


def keys_to_check(scope: Sequence[TableName], catalog: Catalog) -> list[ForeignKey]:
    """Foreign keys with a table of the scope at either end."""
    inside = set(scope)
    return [key for key in catalog.foreign_keys if key.child in inside or inside & set(key.parent_tables)]


def _expected(
    rows: Mapping[TableName, int], written: Mapping[TableName, WrittenRows]
) -> dict[TableName, writing.Touched]:
    filled = {name: writing.Touched(name, count, 0, 0) for name, count in rows.items()}
    repaired = {
        name: writing.Touched(name, done.inserted, done.updated, done.deleted) for name, done in written.items()
    }
    return filled | repaired
