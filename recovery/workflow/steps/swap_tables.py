"""Tables that a load builds under hidden names: recorded before they are made, removed whatever becomes of the load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import RowTransport
from recovery.postgres.staging.write_before_images import before_image_schema
from recovery.postgres.swap.hidden_tables import remove_hidden_tables
from recovery.reload.build_hidden import NotSwapped, SwapSchemas, build_hidden
from recovery.reload.load_by_swap import load_by_swap, rehearse
from recovery.reload.load_job import Job, Loaded
from recovery.reload.load_refusals import rows_refused
from recovery.reload.row_writes import RowsRefused
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.steps.load_records import batches_of

BUILDING, ENDED = "hidden.building", "hidden.ended"


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
    before_commit: Callable[[Loaded], None],
) -> Loaded | None:
    """The load by swap, where the plan chose it; None where it cannot be done after all, and why was said.

    Raises load-refused, noted so that it is compared row by row, for a table whose rows the server refuses.
    """
    repair = recovery_run.case.repair_plan
    if repair is None or not repair.swapped or rows is None or batches_of(recovery_run.case):
        return None
    try:
        if what.large_objects:
            raise NotSwapped("rows may point to large objects")
        if {name for name in what.filled if what.rows_to_fill(name)} != set(repair.swapped):
            raise NotSwapped("other tables are loaded than were planned")
        swapped = replace(what, fills=[pair for pair in what.fills if pair.name in repair.swapped])
        rehearse(original, swapped, _schemas(recovery_run.case))
        with _building(recovery_run) as schemas:
            ready = build_hidden(original, swapped, rows, schemas, recovery_run.original)
            loaded = load_by_swap(original, swapped, ready, schemas, before_commit=before_commit)
        recovery_run.record(ENDED)
    except NotSwapped as error:
        recovery_run.listener.notice(f"the tables are not swapped, they are loaded in place: {error}")
        return None
    except RowsRefused as refused:
        for table in refused.words:
            what.refused(table)
        raise rows_refused(*next(iter(refused.words.items()))) from refused
    return loaded


@contextmanager
def _building(recovery_run: RecoveryRun) -> Iterator[SwapSchemas]:
    """Inside, hidden tables may be built; they are removed where it ends by an exception."""
    schemas = _schemas(recovery_run.case)
    recovery_run.record(BUILDING, data={"schema": schemas.hidden})
    with ExitStack() as otherwise:
        otherwise.callback(_remove_if_possible, recovery_run)
        yield schemas
        otherwise.pop_all()


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
    recovery_run.record(ENDED)


def _schemas(case: Case) -> SwapSchemas:
    schema = before_image_schema(case.id)
    return SwapSchemas(f"{schema}_swap", f"{schema}_old")
