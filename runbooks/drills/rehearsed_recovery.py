"""A whole recovery inside a rehearsal: the same steps as `rowback restore`, given up where one fails, never paused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from recovery.aws.instances import Instances
from recovery.errors import RowbackError
from recovery.model.recovery_report import Objectives, Report
from recovery.planning.check_request import Request
from recovery.planning.make_plan import make_plan
from recovery.store.case_directory import open_case
from recovery.workflow.case_lifecycle import give_up, run
from recovery.workflow.case_report import report_of
from recovery.workflow.recovery_run import RecoveryRun
from runbooks.drills.drill_measures import PhaseClock


def recover(request: Request, objectives: Objectives, instances: Instances, clock: PhaseClock) -> Report:
    """Plan it, open a case, run it to its end. Raises what `rowback restore` raises; nothing of it is left then."""
    with clock.phase("plan", "plan the recovery"):
        plan = make_plan(request, instances, say=lambda text: None)
    case, journal = open_case(plan, objectives, request.profile, approved=True)
    with journal:
        _run_or_give_up(RecoveryRun(case, journal, instances, clock.listener, approver=lambda repair: None))
    return report_of(case)


def _run_or_give_up(recovery_run: RecoveryRun) -> None:
    finished = False
    try:
        run(recovery_run)
        finished = True
    except RowbackError as paused:
        # What run() adds to it speaks of a case to be resumed; this one is given up.
        error = paused.__cause__ if isinstance(paused.__cause__, RowbackError) else paused
        raise RowbackError(
            error.id,
            error.fact,
            *error.facts,
            state="the drill failed; its copies are removed",
            help=f"what happened: rowback report {recovery_run.case.id} --format md",
        ) from paused
    finally:
        if not finished:
            give_up(recovery_run)


@contextlib.contextmanager
def libpq_password(password: str) -> Iterator[None]:
    """A password where libpq looks; never in a case or an argument."""
    before = {name: os.environ.pop(name, None) for name in ("PGPASSWORD", "PGSERVICE")}
    os.environ["PGPASSWORD"] = password
    try:
        yield
    finally:
        os.environ.pop("PGPASSWORD", None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
