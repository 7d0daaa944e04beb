"""Tables that a load builds under hidden names: recorded before they are made, removed whatever becomes of the load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType

from recovery.errors import ErrorId, RowbackError
from recovery.model.repair_plan import RepairPlan
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import RowTransport
from recovery.postgres.server_errors import connection_lost
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.postgres.swap.hidden_tables import remove_hidden_tables
from recovery.reload.build_hidden import BuildSite, HiddenRows, NotSwapped, SwapSchemas, build_hidden
from recovery.reload.load_by_swap import load_by_swap, rehearse
from recovery.reload.load_job import Job, Loaded
from recovery.reload.load_refusals import rows_refused
from recovery.reload.row_writes import RowsRefused
from recovery.reload.wal_pace import WalPace
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import UNTOUCHED, Outcome, RecoveryRun
from recovery.workflow.steps.load_records import batches_of, recording

BUILDING, COPIED, ENDED = "hidden.building", "hidden.copied", "hidden.ended"


def hidden_schema(case: Case) -> str | None:
    """The schema of tables that a load of the case builds, or was about to; None where it is known to be gone."""
    if len(case.noted(BUILDING)) == len(case.noted(ENDED)):
        return None
    return _schemas(case).hidden


def swap_tables(
    recovery_run: RecoveryRun,
    original: Session,
    what: Job,
    rows: RowTransport | None,
    pace: WalPace | None,
) -> Loaded | None:
    """The load by swap, where the plan chose it; None where it cannot be done after all, and why was said.

    What an attempt built that was cut off is counted on; where there is no swap, it is removed. Raises load-refused,
    noted so that it is compared row by row, for a table whose rows the server refuses; or because only a swap can be
    held below a rate.
    """
    repair = recovery_run.case.repair_plan
    try:
        if repair is not None and repair.swapped and rows is not None and not batches_of(recovery_run.case):
            return _swap(recovery_run, original, _swapped(what, repair), rows, pace)
    except NotSwapped as error:
        _remove_if_possible(recovery_run)
        if pace:  # no plan that swaps writes rows one by one
            raise _not_paced(recovery_run, error) from error
        recovery_run.listener.notice(f"the tables are not swapped, they are loaded in place: {error}")
        return None
    except RowsRefused as refused:
        for table in refused.words:
            what.refused(table)
        raise rows_refused(*next(iter(refused.words.items()))) from refused
    remove_hidden(recovery_run)
    return None


def _swapped(what: Job, repair: RepairPlan) -> Job:
    if what.large_objects:
        raise NotSwapped("rows may point to large objects")
    if {name for name in what.filled if what.rows_to_fill(name)} != set(repair.swapped):
        raise NotSwapped("other tables are loaded than were planned")
    return replace(what, fills=[pair for pair in what.fills if pair.name in repair.swapped])


def _swap(
    recovery_run: RecoveryRun, original: Session, swapped: Job, rows: RowTransport, pace: WalPace | None
) -> Loaded:
    case = recovery_run.case
    rehearse(original, swapped, _schemas(case, "try"))
    with _building(recovery_run) as schemas:
        site = BuildSite(
            schemas,
            recovery_run.original,
            earlier=_copied_before(case),
            copied=recording(recovery_run, COPIED),
            pace=pace,
        )
        ready = build_hidden(original, swapped, rows, site)
        loaded = load_by_swap(original, swapped, ready, schemas, before_commit=recording(recovery_run, "load.intent"))
    recovery_run.record(ENDED, data=_ended(case))
    return loaded


def _copied_before(case: Case) -> list[HiddenRows]:
    """What was copied into hidden tables that no attempt has removed since."""
    removed = case.noted(ENDED)[-1].get("copied", 0) if case.noted(ENDED) else 0
    return [HiddenRows.model_validate(each) for each in case.noted(COPIED)[removed:]]


def _ended(case: Case) -> Outcome:
    """How many tables had been copied by then: none of them is there any more."""
    return {"copied": len(case.noted(COPIED))}


def _not_paced(recovery_run: RecoveryRun, error: NotSwapped) -> RowbackError:
    case, plan = recovery_run.case, recovery_run.case.repair_plan
    assert plan
    return RowbackError(
        ErrorId.LOAD_REFUSED,
        f"the tables cannot be swapped: {error}",
        "loaded in place they come back in one transaction, which no --max-wal-rate holds back",
        state=UNTOUCHED,
        help=f"once that is out of the way: rowback resume {case.id}; or as fast as the server can:"
        f" rowback apply {case.id} {plan.digest[:8]}, without --max-wal-rate",
    )


@contextmanager
def _building(recovery_run: RecoveryRun) -> Iterator[SwapSchemas]:
    """Inside, hidden tables may be built. They are removed where it ends by an exception, but for a lost connection."""
    schemas = _schemas(recovery_run.case)
    if hidden_schema(recovery_run.case) is None:
        recovery_run.record(BUILDING, data={"schema": schemas.hidden})
    with ExitStack() as otherwise:
        otherwise.push(partial(_remove_or_keep, recovery_run))
        yield schemas
        otherwise.pop_all()


def _remove_or_keep(
    recovery_run: RecoveryRun,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    behind = isinstance(error, RowbackError) and error.id is ErrorId.REPLICA_BEHIND
    if behind or connection_lost(error):
        case = recovery_run.case
        recovery_run.listener.notice(
            f"what was built stays in schema {hidden_schema(case)}: rowback resume {case.id} goes on with it,"
            f" rowback close {case.id} removes it"
        )
    else:
        _remove_if_possible(recovery_run)


def _remove_if_possible(recovery_run: RecoveryRun) -> None:
    try:
        remove_hidden(recovery_run)
    except RowbackError as error:
        recovery_run.listener.notice(error.fact)


def remove_hidden(recovery_run: RecoveryRun, *, then: str = "") -> None:
    """Remove what a load built and did not exchange: its keys would keep parents from being deleted.

    `then`: the command that goes on from an error. Raises lock-not-granted, or what the server answers.
    """
    case = recovery_run.case
    if (schema := hidden_schema(case)) is None:
        return
    with recovery_run.original() as original:
        if not remove_hidden_tables(original, schema):
            raise RowbackError(
                ErrorId.LOCK_NOT_GRANTED,
                f"schema {schema} cannot be removed: tables that its foreign keys reference are in use",
                state="it holds tables of a load that did not get to its end; nothing else was changed",
                help=f"once the tables are free: {then or f'rowback resume {case.id}, or rowback close {case.id}'};"
                " that removes it first",
            )
    recovery_run.record(ENDED, data=_ended(case))


def _schemas(case: Case, hidden: str = "swap") -> SwapSchemas:
    schema = before_image_schema(case.id)
    return SwapSchemas(f"{schema}_{hidden}", f"{schema}_old")
