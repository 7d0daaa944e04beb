"""What the verbs of a repair share: the case, locked for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

from recovery.errors import ErrorId, RowbackError

if TYPE_CHECKING:
    from recovery.store.case_directory import Case
    from recovery.workflow.recovery_run import RecoveryRun


spreadsheet_option = click.option(
    "--spreadsheet",
    is_flag=True,
    help="CSV for a spreadsheet: what it would take for a formula begins with an apostrophe.",
)


def refuse_closed(case: Case) -> None:
    """Raise case-busy when the case is closed."""
    if case.closed_at:
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"case {case.id} is closed: {case.outcome}",
            state="nothing was done",
            help="open another one: rowback open",
        )


def refuse_without_copy(case: Case) -> None:
    """Raise case-busy when the case is closed, or its copy was removed already."""
    refuse_closed(case)
    if case.outcome_of("secure-copy") is None:
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"the copy of case {case.id} is not ready yet",
            state="nothing was done",
            help=f"rowback resume {case.id}",
        )


@contextmanager
def locked_case(case_id: str, *, work: Literal["repair", "undo"] | None = None) -> Iterator[RecoveryRun]:
    """The case, locked for this process. The profile's notifications are sent for `work`, which writes."""
    from recovery.aws.instances import Instances
    from recovery.commands.drive_case import interruptible, shown, watched
    from recovery.report.progress_listener import listener
    from recovery.store.case_directory import resume_case
    from recovery.workflow.recovery_run import RecoveryRun

    case, journal = resume_case(case_id)
    recovery_run = RecoveryRun(case, journal, Instances.connect(case.plan.source.region), listener())
    # The page is written last of all, when the journal is no longer ours: it says that nobody drives the case.
    with watched(recovery_run, work) if work else shown(case), journal, interruptible(case, undoing=work == "undo"):
        yield recovery_run
