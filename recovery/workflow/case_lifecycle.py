"""A recovery from its first step to its last; and how it is continued, given up, and cleaned up after."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError, disk_full
from recovery.model.account import Partial
from recovery.model.recovery_report import Outcome
from recovery.store.case_directory import Case
from recovery.store.change_set_files import sweep_changes
from recovery.workflow.case_account import account_of, in_part
from recovery.workflow.recovery_run import UNTOUCHED, RecoveryRun
from recovery.workflow.settle_undo import settle_before_closing
from recovery.workflow.steps.copy_steps import AwaitCopy, CheckFacts, RemoveCopy, SecureCopy, StartCopy, remove_copy
from recovery.workflow.steps.diff_step import Diff
from recovery.workflow.steps.load_records import batches_of
from recovery.workflow.steps.load_step import Load
from recovery.workflow.steps.row_steps import REFUSED_WHOLE, Extract, ReadTarget, end_orphans
from recovery.workflow.steps.settle_load import left_by_load, settle_load
from recovery.workflow.steps.step import Step
from recovery.workflow.steps.verify_step import Verify

STEPS: tuple[Step, ...] = (
    CheckFacts(),
    StartCopy(),
    AwaitCopy(),
    SecureCopy(),
    ReadTarget(),
    Diff(),
    Extract(),
    Load(),
    Verify(),
    RemoveCopy(),
)


STUCK_S = 10
# By definitions as of T what was made anew is verified and undone later; the others are not needed any more.
NEEDED_NO_MORE = ("dump-*", "definitions-now", "definitions-after", "definitions-*.list")


def run(recovery_run: RecoveryRun, *, until: str | None = None) -> None:
    """Do every step that is not done, in order, and close the case. Resuming is the same call.

    With `until` it ends behind that step and leaves the case open. On an error or Ctrl-C the case stays open, paused,
    and the error says how to go on. Raises recovered-in-part, with the copy still there, when rows that were lost stay
    lost and the run does not accept that.
    """
    with terminate_like_interrupt():
        for step in STEPS:
            if isinstance(step, RemoveCopy):
                _refuse_partial(recovery_run)
            if recovery_run.case.outcome_of(step.name) is None:
                _perform_or_look_closer(recovery_run, step)
            if step.name == until:
                _refuse_partial(recovery_run)
                return
        _settle_at_the_end(recovery_run)
        _close(recovery_run, outcome_of_load(recovery_run.case))


def _settle_at_the_end(recovery_run: RecoveryRun) -> None:
    """Put in order what an attempt to load left, before the case is closed: later nothing would remember it."""
    try:
        settle_load(recovery_run)
    except RowbackError as error:
        state = f"{written_state(recovery_run.case)}; the copy is removed, the case stays open"
        raise RowbackError(error.id, error.fact, *error.facts, state=state, help=error.helps) from error


def _perform_or_look_closer(recovery_run: RecoveryRun, step: Step) -> None:
    """A table that the server refuses whole is compared row by row, and the rest of its rows come back.

    The load is tried again for each such table.
    """
    while True:
        refused = len(recovery_run.case.noted(REFUSED_WHOLE))
        try:
            _perform(recovery_run, step)
            return
        except RowbackError as error:
            if error.id is not ErrorId.LOAD_REFUSED or len(recovery_run.case.noted(REFUSED_WHOLE)) == refused:
                raise
        for again in (Diff(), Extract()):
            _perform(recovery_run, again)


def outcome_of_load(case: Case) -> Outcome:
    """What a case amounts to whose rows were put back and proven."""
    if case.request.reload_mode.beside:
        return "loaded beside"
    return "recovered" if account_of(case).complete else "recovered in part"


def _refuse_partial(recovery_run: RecoveryRun) -> None:
    if recovery_run.case.outcome_of(Verify.name) is None or recovery_run.partial is Partial.ACCEPT:
        return
    if not (account := account_of(recovery_run.case)).complete:
        raise in_part(recovery_run.case, account)


def diff_again(recovery_run: RecoveryRun) -> None:
    """Compare T with now once more, on the copy that is there.

    Raises case-busy once rows were written.
    """
    case = recovery_run.case
    if case.wrote_to_original or case.load_unsettled or case.closed_at:
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"case {case.id} has written its rows already, or may have",
            state="nothing was done",
            help=f"rowback resume {case.id}, rowback verify {case.id} or rowback undo {case.id}",
        )
    run(recovery_run, until=SecureCopy.name)
    settle_load(recovery_run)
    with terminate_like_interrupt():
        extracted = case.outcome_of(Extract.name) is not None
        for step in (ReadTarget(), Diff(), *([Extract()] if extracted else [])):
            _perform(recovery_run, step)


def give_up(recovery_run: RecoveryRun) -> Outcome:
    """Remove the copy and close the case without writing anything; returns the case's outcome.

    Raises delete-refused and what AWS answers.
    """
    recovery_run.record("case.closing")
    settle_before_closing(recovery_run)
    unsettled = _settle_before_closing(recovery_run)
    outcome = _outcome_when_given_up(recovery_run)
    end_orphans(recovery_run.case)
    listener = recovery_run.listener
    listener.step_started(RemoveCopy.name, RemoveCopy.title)
    began = time.monotonic()
    recovery_run.record("step.start", step=RemoveCopy.name)
    try:
        removed = remove_copy(recovery_run)
    except RowbackError as error:
        listener.step_failed(RemoveCopy.name, error.fact)
        lines = (f"copy '{recovery_run.case.copy.identifier}' may still be running and costs money",)
        help = (*error.helps[:-1], f"{error.helps[-1]}; then: rowback close {recovery_run.case.id}")
        progress = "" if error.state == NOTHING_CREATED else f"{error.state}; "
        state = f"{progress}the case stays open"
        raise RowbackError(error.id, error.fact, *error.facts, *lines, state=state, help=help) from error
    recovery_run.record("step.done", step=RemoveCopy.name, data={"removed": removed})
    listener.step_done(RemoveCopy.name, "removed" if removed else "there was none", time.monotonic() - began)
    if unsettled is not None:
        raise unsettled
    _close(recovery_run, outcome)
    return outcome


def _settle_before_closing(recovery_run: RecoveryRun) -> RowbackError | None:
    """The error of an original in which a load's remains cannot be settled now: the copy goes, the case stays open."""
    close = f"rowback close {recovery_run.case.id}"
    try:
        settle_load(recovery_run, then=close)
    except RowbackError as error:
        return RowbackError(
            error.id,
            error.fact,
            *error.facts,
            *(f"{what} still to be {deed}" for what, deed in left_by_load(recovery_run.case)),
            state="the copy is removed, the case stays open",
            help=error.helps
            if any(close in line for line in error.helps)
            else f"once the original can be written to: {close}; it does that and closes the case",
        )
    return None


def _perform(recovery_run: RecoveryRun, step: Step) -> None:
    before = recovery_run.case.steps.get(step.name)
    recovery_run.listener.step_started(step.name, step.title)
    began = time.monotonic()
    try:
        outcome = None
        if before and before.attempts:
            outcome = step.reconcile(recovery_run)
            recovery_run.record("step.reconciled", data={"of": step.name, "happened": outcome is not None})
        if outcome is None:
            step.check(recovery_run)
            recovery_run.record("step.start", step=step.name, data=step.intent(recovery_run))
            outcome = step.do(recovery_run)
        recovery_run.record("step.done", step=step.name, data=outcome)
    except RowbackError as error:
        raise _failed(recovery_run, step, error) from error
    except (OSError, sqlite3.Error) as error:
        if (full := disk_full(error)) is None:
            raise
        raise _failed(recovery_run, step, full) from error
    except KeyboardInterrupt:
        recovery_run.listener.step_failed(step.name, "interrupted")
        recovery_run.record("case.stopped", data={"why": f"interrupted in {step.name}"})
        raise
    recovery_run.listener.step_done(step.name, step.tell(outcome), time.monotonic() - began)


def _failed(recovery_run: RecoveryRun, step: Step, error: RowbackError) -> RowbackError:
    recovery_run.listener.step_failed(step.name, error.fact)
    recovery_run.record("step.failed", step=step.name, data={"error": error.fact, "id": error.id.value})
    return _paused(recovery_run, step, error)


def paused_lines(case: Case) -> tuple[str, ...]:
    """Where an interrupted case stands, and whether its copy still runs."""
    lines = [f"case {case.id} is paused at step '{case.current_step or 'none'}'"]
    lines += [
        f"{what} may still have to be {deed}: resume and close do that first" for what, deed in left_by_load(case)
    ]
    if case.steps.get(StartCopy.name) and case.outcome_of(RemoveCopy.name) is None:
        lines.append(f"copy '{case.copy.identifier}' may still be running and costs money")
    return tuple(lines)


def written_state(case: Case) -> str:
    """What a case has written to the original so far; empty when it has written nothing."""
    if case.load_done:
        return "the rows were put back and committed"
    batches = batches_of(case)
    if not batches:
        return (
            "whether the load was committed is not known here; resuming asks the server" if case.load_unsettled else ""
        )
    rows = sum(sum(batch.touched.values()) for batch in batches)
    so_far = f"{rows:,} rows in {len(batches):,} batch{'es' * (len(batches) > 1)} are put back and committed"
    if case.load_unsettled:
        return f"{so_far}; whether the next one was is not known here; resuming asks the server"
    return f"{so_far}, the rest is not"


def _paused(recovery_run: RecoveryRun, step: Step, error: RowbackError) -> RowbackError:
    case = recovery_run.case
    state = error.state.replace(NOTHING_CREATED, UNTOUCHED) if case.steps.get(StartCopy.name) else error.state
    state = written_state(case) or state
    go_on = f"rowback resume {case.id} (continue), or rowback close {case.id} (give up, remove the copy)"
    digest = f" {case.repair_plan.digest[:8]}" if case.repair_plan else ""
    advice = [
        line.replace(" CASE DIGEST", f" {case.id}{digest}").replace(" CASE", f" {case.id}") for line in error.helps
    ]
    if not any(f" {case.id}" in line for line in advice):
        advice[-1] += f"; then: {go_on}"
    return RowbackError(error.id, error.fact, *error.facts, *paused_lines(case), state=state, help=advice)


def _close(recovery_run: RecoveryRun, outcome: Outcome) -> None:
    directory = recovery_run.case.directory
    for path in (each for pattern in NEEDED_NO_MORE for each in directory.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("reserve", "copy-checksums.sqlite"):
        (directory / name).unlink(missing_ok=True)
    sweep_changes(recovery_run.case)
    recovery_run.record("case.closed", data={"outcome": outcome})


def _outcome_when_given_up(recovery_run: RecoveryRun) -> Outcome:
    if recovery_run.case.load_done:
        return outcome_of_load(recovery_run.case)
    if not recovery_run.case.noted("load.intent"):
        return "closed without change"
    try:
        if Load().reconcile(recovery_run) is not None:
            return outcome_of_load(recovery_run.case)
        return "recovered in part" if recovery_run.case.wrote_to_original else "closed without change"
    except RowbackError as error:
        # The copy costs money and must go even when the original cannot be asked any more.
        recovery_run.record("load.unknown", data={"error": error.fact})
        return "closed, not known whether rows were written"


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end a run the way Ctrl-C does: journalled, resumable."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # psycopg cancels the query and may then wait for an answer that has come already: interrupt that as well.
        signal.alarm(STUCK_S)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    previous = {number: signal.signal(number, interrupt) for number in stops}
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def steps_done(case: Case) -> Mapping[str, bool]:
    """Every step of the recovery and whether it is done."""
    return {step.name: case.outcome_of(step.name) is not None for step in STEPS}
