"""Drive a case and print its report: shared by the verbs that continue one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from guards.plain_text import joined
from recovery.config import Notify, load_profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.target import format_utc
from recovery.report.fanout_listener import FanoutListener
from recovery.report.notifier import Notifier
from recovery.report.report_text import report_text
from recovery.report.status_page import write_status
from recovery.store.case_directory import Case, all_cases
from recovery.workflow.case_lifecycle import paused_lines, run, written_state
from recovery.workflow.case_report import report_of
from recovery.workflow.case_status import current_status
from recovery.workflow.recovery_run import RecoveryRun


def drive(recovery_run: RecoveryRun, *, as_json: bool) -> None:
    """Run what is left of the case and print its report."""
    with (
        reported(recovery_run.case, as_json=as_json),
        watched(recovery_run),
        recovery_run.journal,
        interruptible(recovery_run.case),
    ):
        run(recovery_run)


@contextmanager
def reported(case: Case, *, as_json: bool) -> Iterator[None]:
    """The report on stdout once the work is done, whole or in part."""
    try:
        yield
    except RowbackError as error:
        if error.id is ErrorId.RECOVERED_IN_PART:
            show_report(case, as_json=as_json)
        raise
    show_report(case, as_json=as_json)


@contextmanager
def watched(recovery_run: RecoveryRun, work: str = "recovery") -> Iterator[None]:
    """Send the profile's notifications about a case, and keep status.html in its directory up to date.

    `work`: what the notifications call the work.
    """
    case, plan = recovery_run.case, recovery_run.case.plan
    about = {"instance": plan.source.identifier, "database": plan.database, "target_time": format_utc(plan.target_time)}
    notifier = Notifier(_sinks(recovery_run), case.id, about, case.directory)

    past = all_cases()

    def refresh() -> None:
        write_status(current_status(case, past), case.directory)

    recovery_run.listener = FanoutListener(recovery_run.listener, notifier, refresh)
    notifier.tell("opened", f"{work} of '{plan.database}' on '{plan.source.identifier}' begins or goes on")
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        notifier.tell("failed", f"{work} of '{plan.database}' was interrupted")
        raise
    except RowbackError as error:
        if error.id is ErrorId.RECOVERED_IN_PART:
            notifier.tell("finished", error.fact)
        else:
            waits = error.id in (ErrorId.APPROVAL_MISSING, ErrorId.CONFIRMATION_MISSING)
            notifier.tell("needs-approval" if waits else "failed", error.fact)
        raise
    else:
        outcome = f": {case.outcome}" if work == "recovery" else ""
        notifier.tell("finished", f"{work} of '{plan.database}' is over{outcome}")
    finally:
        refresh()
        notifier.wait()


def _sinks(recovery_run: RecoveryRun) -> tuple[Notify, ...]:
    """The notifications of this user's configuration, by the name of the case's profile: a case names no programs."""
    if recovery_run.profile.name is None:
        return ()
    try:
        return load_profile(recovery_run.profile.name).notify
    except RowbackError as error:
        recovery_run.listener.notice(f"nobody is notified: {error.fact}")
        return ()


@contextmanager
def shown(case: Case) -> Iterator[None]:
    """Write status.html with the state of the case when the block ends, also after an error."""
    try:
        yield
    finally:
        write_status(current_status(case, []), case.directory)


@contextmanager
def interruptible(case: Case, *, undoing: bool = False) -> Iterator[None]:
    """An interruption says where the case stands and how to go on. Raises SystemExit with 130."""
    undone = len(case.noted("undo.done"))
    try:
        yield
    except KeyboardInterrupt:
        if undoing:
            click.echo(_undo_interrupted(case, committed=len(case.noted("undo.done")) > undone), err=True)
            raise SystemExit(130) from None
        state = [written] if (written := written_state(case)) else []
        lines = joined(f"  {line}" for line in (*paused_lines(case), *state))
        click.echo(
            f"interrupted\n{lines}\n  help: rowback resume {case.id} (continue), or rowback close {case.id}"
            " (give up, remove the copy)",
            err=True,
        )
        raise SystemExit(130) from None


def _undo_interrupted(case: Case, *, committed: bool) -> str:
    """The next command depends on whether it committed: another undo would reverse a finished one."""
    if committed:
        return f"interrupted\n  the undo was committed\n  help: rowback verify {case.id}"
    return (
        "interrupted\n  whether the undo was committed is asked of the server\n"
        f"  help: rowback undo {case.id} again: what was committed is finished, not turned round"
    )


def show_report(case: Case, *, as_json: bool) -> None:
    """The report on stdout."""
    report = report_of(case)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n" + report_text(report))
