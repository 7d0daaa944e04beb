"""Put the rows back: one short transaction that locks, fills, proves and only then commits.

The transaction's id is recorded before COMMIT. After a crash `pg_xact_status` says whether it committed, so the load
happens exactly once and leaves no table behind (docs/decisions/001).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey
from recovery.model.catalog import Sequence as Counter
from recovery.model.plan import RecoveryPlan
from recovery.model.report import Fingerprint, SequenceMove
from recovery.model.values import TableName, Value
from recovery.postgres import writing
from recovery.postgres.catalog import count_rows, nonempty, read_triggers
from recovery.postgres.connect import Session
from recovery.postgres.definitions import definitions_digest
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.rows import Pair, RowTransport

MAXIMUM_PAUSE_S = 2.0
ROLLED_BACK = "the transaction was rolled back: nothing was written to the original"


class Loaded(Value):
    """What one committed load did. Journalled before the commit; `xid` tells afterwards whether it happened."""

    xid: int
    rows: dict[str, int]
    touched: dict[str, int]
    definitions: str
    sequence_moves: tuple[SequenceMove, ...]
    foreign_keys_checked: int
    seconds_locked: float


class AtTarget(Value):
    """What the temporary instance holds: the truth that the load must reproduce."""

    fingerprints: dict[str, Fingerprint]
    sequences: tuple[Counter, ...]
    oldest_version_num: int


@dataclass(frozen=True)
class Job:
    """Everything the load needs to know beforehand; `catalog` is the original's, read just now."""

    plan: RecoveryPlan
    catalog: Catalog
    pairs: Sequence[Pair]
    truth: AtTarget


def load(live: Session, job: Job, transport: RowTransport, *, before_commit: Callable[[Loaded], None]) -> Loaded:
    """Fill the planned tables and commit. Raises RowbackError, with everything rolled back, unless all is proven first:
    every table was empty under lock, equals T row for row, every foreign key holds, nothing else was touched."""
    plan = job.plan
    for attempt in range(plan.lock_attempts):
        with writing.transaction(live):
            if writing.lock_tables(live, plan.scope, timeout_ms=plan.lock_timeout_ms):
                locked_at = time.monotonic()
                done = _fill(live, job, transport)
                done = done.model_copy(update={"seconds_locked": round(time.monotonic() - locked_at, 3)})
                before_commit(done)
                return done
        time.sleep(min(0.1 * 2**attempt, MAXIMUM_PAUSE_S))  # let the writers through before asking again
    raise RowbackError(
        ErrorId.LOCK_NOT_GRANTED,
        f"the tables of '{plan.database}' were not free within {plan.lock_attempts} tries of {plan.lock_timeout_ms} ms",
        *writing.who_blocks(live, plan.scope),
        state=ROLLED_BACK,
        help="end those sessions or wait for them",
    )


def _fill(live: Session, job: Job, transport: RowTransport) -> Loaded:
    plan = job.plan
    _refuse_rows(live, plan)
    _refuse_other_triggers(live, plan)
    definitions = definitions_digest(live)
    before = writing.touched_tables(live)
    writing.hold_triggers(live, plan.held_triggers)
    writing.relax_foreign_keys(live, plan.foreign_key_mode)
    xid = writing.transaction_id(live)
    writing.use_search_path_of_role(live)
    rows = transport.load(live, job.pairs)
    writing.enforce_foreign_keys(live, plan.foreign_key_mode)
    writing.pin_search_path(live)
    writing.release_triggers(live, plan.held_triggers)
    _refuse_differences(live, job)
    keys = keys_to_check(plan.scope, job.catalog)
    _refuse_dangling(live, keys)
    _refuse_changed_definitions(definitions, definitions_digest(live))
    after = writing.touched_tables(live)
    _refuse_side_effects(rows, before, after)
    counters = [counter for counter in job.catalog.sequences if counter.table in plan.scope]
    return Loaded(
        xid=xid,
        rows={str(table): count for table, count in rows.items()},
        touched={str(table): change.inserted for table, change in after.items()},
        definitions=definitions,
        sequence_moves=tuple(writing.advance_sequences(live, counters, job.truth.sequences)),
        foreign_keys_checked=len(keys),
        seconds_locked=0.0,
    )


def keys_to_check(scope: Sequence[TableName], catalog: Catalog) -> list[ForeignKey]:
    """Foreign keys with a table of the scope at either end."""
    inside = set(scope)
    return [key for key in catalog.foreign_keys if key.child in inside or inside & set(key.parent_tables)]


def side_effects(
    rows: Mapping[TableName, int],
    before: Mapping[TableName, writing.Touched],
    after: Mapping[TableName, writing.Touched],
) -> list[str]:
    """Row changes of the transaction beyond inserting exactly `rows`, by the server's own accounts."""
    found = []
    for table, now in after.items():
        then = before.get(table, writing.Touched(table, 0, 0, 0))
        inserted, updated, deleted = (
            now.inserted - then.inserted, now.updated - then.updated, now.deleted - then.deleted,
        )  # fmt: skip
        if inserted != rows.get(table, 0) or updated or deleted:
            expected = f", expected {rows[table]}" if table in rows else ", outside the scope"
            found.append(f"{table}: {inserted} inserted, {updated} updated, {deleted} deleted{expected}")
    return found


def _refuse_rows(live: Session, plan: RecoveryPlan) -> None:
    if holding := nonempty(live, plan.scope):
        counts = count_rows(live, sorted(holding, key=lambda name: name.key))
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"tables that the plan says are empty hold rows now: {_listed(counts)}",
            state=ROLLED_BACK,
            help="somebody is writing: stop them, or make a new plan without those tables",
        )


def _refuse_other_triggers(live: Session, plan: RecoveryPlan) -> None:
    """Under the lock nobody can change them any more: the plan's list must be what there is."""
    found = {trigger for trigger in read_triggers(live, plan.scope) if trigger.state != "D"}
    if changed := sorted(f"{t.name} on {t.table}" for t in found ^ set(plan.held_triggers)):
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED, f"triggers changed since the plan was made: {', '.join(changed)}",
            state=ROLLED_BACK, help="make a new plan",
        )  # fmt: skip


def _refuse_changed_definitions(before: str, after: str) -> None:
    if before != after:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED, "definitions in the database changed while the rows were loaded",
            "somebody created, altered or granted something at the same moment",
            state=ROLLED_BACK, help="try again when no migration is running",
        )  # fmt: skip


def _refuse_differences(live: Session, job: Job) -> None:
    differing = []
    for pair in job.pairs:
        expected = job.truth.fingerprints[str(pair.name)]
        found = fingerprint(live, pair.live, oldest_version_num=job.truth.oldest_version_num)
        if found != expected:
            differing.append(f"{pair.name}: {expected.rows} rows at T, {found.rows} loaded, checksum differs")
    if differing:
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS, "the loaded rows are not the rows at T", *differing,
            state=ROLLED_BACK, help="a rule, a trigger or a default changed them; report this as a bug with the plan",
        )  # fmt: skip


def _refuse_dangling(live: Session, keys: Sequence[ForeignKey]) -> None:
    dangling = [(key, count) for key in keys if (count := writing.dangling_references(live, key))]
    if dangling:
        raise RowbackError(
            ErrorId.LOAD_REFUSED, "rows at T reference rows that do not exist now",
            *(f"{key.child}: {count} rows ({key.name}) miss their {key.parent}" for key, count in dangling),
            state=ROLLED_BACK, help="put the parents back as well: name them with --table",
        )  # fmt: skip


def _refuse_side_effects(
    rows: Mapping[TableName, int],
    before: Mapping[TableName, writing.Touched],
    after: Mapping[TableName, writing.Touched],
) -> None:
    if found := side_effects(rows, before, after):
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS, "the load changed more than the rows it put back", *found,
            state=ROLLED_BACK, help="find the trigger or rule that did it: psql -c '\\d+ TABLE'",
        )  # fmt: skip


def _listed(counts: Mapping[TableName, int]) -> str:
    return ", ".join(f"{table} ({count:,})" for table, count in counts.items())
