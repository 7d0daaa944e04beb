"""The one dangerous act, and its proof."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial

from recovery.changeset.change_set import ChangeSet
from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.plain_index import counted_indexes
from recovery.model.recovery_plan import Why
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.beside_tables import create_beside
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair, RowTransport
from recovery.postgres.lock_watchdog import watched
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.reload.load_in_place import IndexesNotBuilt
from recovery.reload.load_job import Job, Loaded, Repair
from recovery.reload.load_transaction import load
from recovery.reload.paced_load import LoadListener, load_paced
from recovery.reload.restore_large_objects import point_to_objects
from recovery.reload.wal_pace import WalPace
from recovery.workflow.approvals import refuse_without_second_person
from recovery.workflow.recovery_run import UNTOUCHED, Outcome, RecoveryRun
from recovery.workflow.steps.load_records import batches_of, recording
from recovery.workflow.steps.nothing_to_load import refuse_nothing, refuse_part
from recovery.workflow.steps.recreate_objects import make_anew
from recovery.workflow.steps.row_steps import REFUSED_WHOLE, beside_pairs, filled_tables, transport, truth
from recovery.workflow.steps.settle_load import settle_load
from recovery.workflow.steps.step import Step
from recovery.workflow.steps.swap_tables import swap_tables
from recovery.workflow.steps.unbuilt_indexes import indexes_dropped, settle_indexes

DEAD_SESSION_DEADLINE_S = 60.0


class Load(Step):
    """A single transaction on the original."""

    name, title = "load", "put the rows back"
    undo = "rowback undo CASE takes the rows back that nobody has changed since"

    def check(self, recovery_run: RecoveryRun) -> None:
        """Nothing is written but what was approved, and never nothing: the plan's digest, and its change set's.

        A recovery plan that was approved covers the tables it named as empty; rows need the repair plan's approval.
        Raises nothing-to-repair, load-refused, approval-missing, confirmation-missing, or plan-facts-changed.
        """
        repair = recovery_run.case.repair_plan
        assert repair
        refuse_nothing(recovery_run, repair)
        refuse_part(recovery_run, repair)
        covered = recovery_run.case.plan_approved and not repair.writes and not repair.made_anew
        refuse_without_second_person(recovery_run.case, repair, covered=covered)
        if not covered and repair.digest not in recovery_run.case.approved:
            recovery_run.approve(repair)
            recovery_run.record("repair.approved", data={"digest": repair.digest})
        if repair.number is None:
            return
        with ChangeSet(recovery_run.case.changes_path(repair.number)) as changes:
            if changes.digest() != repair.changes_digest:
                raise RowbackError(
                    ErrorId.PLAN_FACTS_CHANGED,
                    f"the change set {changes.path} was altered after it was made",
                    state=UNTOUCHED,
                    help=f"compare again: rowback diff {recovery_run.case.id} --again",
                )

    def reconcile(self, recovery_run: RecoveryRun) -> Outcome | None:
        """The transaction's id was recorded before its commit: the server knows whether it committed.

        Of a paced load that is noted batch by batch; it is over when `do` says so.
        """
        committed = _last_committed(recovery_run)
        if committed is not None:
            settle_load(recovery_run)
        if committed is None or not committed.partial:
            return committed.model_dump(mode="json") if committed else None
        if committed.xids not in [batch.xids for batch in batches_of(recovery_run.case)]:
            recovery_run.record("load.portion", data=committed.model_dump(mode="json"))
        return None

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Load, and record the proof before the commit."""
        if recovery_run.case.plan.request.reload_mode.anew:
            return self._make_anew(recovery_run)
        settle_indexes(recovery_run)
        then = None
        if filled_tables(recovery_run):
            with recovery_run.original() as original, recovery_run.copy() as copy:
                then = read_catalog(copy)
                if not recovery_run.case.plan.request.reload_mode.in_place:
                    create_beside(
                        original, recovery_run.case.id, [p.at_target for p in beside_pairs(recovery_run.case, then)]
                    )
        with (
            recovery_run.original() as original,
            wal_pace(recovery_run, original) as pace,
            transport(recovery_run, pace) as rows,
            job(recovery_run, original, then) as what,
            ExitStack() as opened,
        ):
            changes = what.repair.changes if what.repair else None
            open_copy = cache(lambda: opened.enter_context(recovery_run.copy()))  # once, and only where rows need it
            objects = point_to_objects(what.catalog, what.fills, changes)
            if objects:
                open_copy()  # before any lock is held
            loaded = _load(recovery_run, original, replace(what, copy=open_copy, large_objects=objects), rows, pace)
        return loaded.model_dump(mode="json")

    @staticmethod
    def _make_anew(recovery_run: RecoveryRun) -> Outcome:
        with (
            recovery_run.original() as original,
            recovery_run.copy() as copy,
            watched(original, state=ROLLED_BACK, say=recovery_run.listener.notice),
        ):
            return make_anew(recovery_run, original, copy).model_dump(mode="json")

    def tell(self, outcome: Outcome) -> str:
        """How many rows and for how long writers waited."""
        loaded = Loaded.model_validate(outcome)
        rows = sum(loaded.rows.values()) + sum(table_rows.total for table_rows in loaded.written.values())
        skipped = f", {loaded.skipped:,} skipped" if loaded.skipped else ""
        batches = f" in {len(loaded.xids):,} batches" if len(loaded.xids) > 1 else ""
        each = " at a time" if batches else ""
        indexes = f", {counted_indexes(loaded.indexes_built)} built" if loaded.indexes_built else ""
        swapped = f", {counted(len(loaded.written_by), 'table')} swapped" if loaded.written_by else ""
        objects = f", {counted(loaded.large_objects, 'large object')}" if loaded.large_objects else ""
        written = f"{counted(rows, 'row')}{objects}{batches}{indexes}{swapped}{skipped}"
        return f"{written}, tables locked for {loaded.seconds_locked:.2f} s{each}"


@contextmanager
def job(recovery_run: RecoveryRun, original: Session, at_target: Catalog | None = None) -> Iterator[Job]:
    """What is to be written, or was: whole tables in load order and the change set of the repair plan.

    `at_target`: the copy's catalog; rows travel in its order of columns and as its types. Only the proof goes without.
    """
    case, catalog = recovery_run.case, read_catalog(original)
    plan, repair_plan = case.plan, case.repair_plan
    fills = _fills(recovery_run, catalog, at_target)

    def refused(table: TableName) -> None:
        recovery_run.record(REFUSED_WHOLE, data={"table": str(table)})

    if repair_plan is None or repair_plan.number is None:
        yield Job(
            plan.database,
            catalog,
            fills,
            truth(recovery_run),
            plan.held_triggers,
            plan.lock_timeout_ms,
            plan.lock_attempts,
            refused=refused,
            say=recovery_run.listener.notice,
            builders=recovery_run.profile.index_builders,
        )
        return
    whole = any(table.why is Why.WHOLE_DATABASE for table in plan.tables)
    with ChangeSet(case.changes_path(repair_plan.number)) as changes:
        repair = Repair(
            changes,
            repair_plan.number,
            before_image_schema(case.id),
            repair_plan.lifted,
            repair_plan.changes_digest,
            repair_plan.columns,
        )
        yield Job(
            plan.database,
            catalog,
            fills,
            truth(recovery_run),
            repair_plan.held_triggers,
            plan.lock_timeout_ms,
            plan.lock_attempts,
            repair,
            all_or_nothing=plan.all_or_nothing,
            whole_database=whole,
            refused=refused,
            say=recovery_run.listener.notice,
            builders=recovery_run.profile.index_builders,
        )


@contextmanager
def wal_pace(recovery_run: RecoveryRun, original: Session) -> Iterator[WalPace | None]:
    """What holds a load below the rate that was asked for; None where none was.

    Where rows are streamed `original` is busy, and another session looks.
    """
    case = recovery_run.case
    with ExitStack() as opened:
        streamed = case.repair_plan is not None and case.repair_plan.swapped
        monitor = opened.enter_context(recovery_run.original()) if case.pace and streamed else original
        yield WalPace(monitor, case.pace, recovery_run.listener.progress) if case.pace else None


def _load(
    recovery_run: RecoveryRun, original: Session, what: Job, rows: RowTransport | None, pace: WalPace | None
) -> Loaded:
    """By swap or without the indexes that the plan names; where neither can be, with all indexes in their places."""
    with watched(original, state=ROLLED_BACK, say=recovery_run.listener.notice):
        loaded = swap_tables(recovery_run, original, what, rows, pace)
        if loaded is not None:
            return loaded
        try:
            with indexes_dropped(recovery_run, original, what) as ready:
                return _load_rows(recovery_run, original, ready, rows, pace)
        except IndexesNotBuilt as error:
            recovery_run.listener.notice(f"loaded again with all indexes in their places: {error}")
        settle_indexes(recovery_run)  # nothing is loaded, and no case closed, while one of them is missing
        return _load_rows(recovery_run, original, what, rows, pace)


def _load_rows(
    recovery_run: RecoveryRun, original: Session, what: Job, rows: RowTransport | None, pace: WalPace | None
) -> Loaded:
    record = partial(recording, recovery_run)
    if what.repair is not None:  # what an attempt took whose commit failed
        what.repair.changes.batches.retain_committed(
            xid for committed in batches_of(recovery_run.case) for xid in committed.xids
        )
    if pace is None or what.repair is None:
        return load(original, what, rows, before_commit=record("load.intent"))
    watch = LoadListener(record("load.intent"), record("load.portion"))
    return load_paced(original, what, rows, pace, earlier=batches_of(recovery_run.case), watch=watch)


def _last_committed(recovery_run: RecoveryRun) -> Loaded | None:
    with recovery_run.original() as original:
        for intent in reversed(recovery_run.case.noted("load.intent")):
            loaded = Loaded.model_validate(intent)
            if settled_status(original, loaded.xids[-1], recovery_run) == "committed":
                return loaded
    return None


def _fills(recovery_run: RecoveryRun, original: Catalog, at_target: Catalog | None) -> list[Pair]:
    names, tables = filled_tables(recovery_run), {table.name: table for table in original.tables}
    if missing := [str(name) for name in names if name not in tables]:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"tables that were to be loaded do not exist any more: {', '.join(missing)}",
            state=UNTOUCHED,
            help=f"find out who dropped them; rowback close {recovery_run.case.id}, then a new plan",
        )
    if at_target is None:
        return [Pair(tables[name], tables[name]) for name in names]
    if not recovery_run.case.plan.request.reload_mode.in_place:
        then = {pair.name: pair.at_target for pair in beside_pairs(recovery_run.case, at_target)}
    else:
        then = {table.name: table for table in at_target.tables}
    return [Pair(then[name], tables[name]) for name in names]


def settled_status(original: Session, xid: int, recovery_run: RecoveryRun) -> str:
    """The transaction's end; a session whose client died is ended first. Raises stopped-midway."""
    deadline = time.monotonic() + DEAD_SESSION_DEADLINE_S
    while (status := load_statements.transaction_status(original, xid)) == "in progress":
        load_statements.end_transaction_of_the_dead(original, xid)
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if status not in ("committed", "aborted"):
        raise RowbackError(
            ErrorId.STOPPED_MIDWAY,
            f"the server cannot say whether transaction {xid} committed: it is {status}",
            state="whether the rows were put back is not known",
            help=f"count the rows yourself, then: rowback close {recovery_run.case.id}",
        )
    return status
