"""Perform a runbook: step by step, journalled, paused where something is not as it should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.approval import Distinct, approvers
from recovery.redaction import Redactor
from recovery.store.journal import Journal
from recovery.workflow.recovery_run import Listener
from runbooks.execution.parameter_values import bound, overruled
from runbooks.execution.run_store import BookRun
from runbooks.execution.step_output import shown
from runbooks.processes import runs
from runbooks.steps.book_step import BookStep, Executed
from runbooks.steps.person_steps import Approve, Ask, Confirm
from runbooks.steps.rowback_command import Command, case_of
from runbooks.steps.step_effects import words_of
from runbooks.steps.surroundings import CutOff, StepError, Surroundings


class Driver(Protocol):
    """Answers the questions of a run: a person at a terminal, or values given beforehand (`answers`)."""

    @property
    def answers(self) -> Mapping[str, str]:
        """Values that were given with -p."""

    def answer(self, step: Ask) -> str:
        """The value of a question."""

    def confirms(self, step: Confirm) -> bool:
        """Whether a manual step was done."""

    def lets(self, step: Executed, lines: list[list[str]]) -> bool:
        """Whether a step that writes may run; `lines`: the commands that it would run."""

    def approves(self, step: Approve) -> bool:
        """Whether an approval is given."""


@dataclass
class Performance:
    """One run in the hands of one process. `show`: prints a line of a step's output, or a value that it saved."""

    run: BookRun
    journal: Journal
    driver: Driver
    listener: Listener
    profile: Profile
    show: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        self.redact = Redactor.of_this_process()

    def record(self, event: str, *, step: str | None = None, data: Mapping[str, object] | None = None) -> None:
        """Write one record and fold it in."""
        self.run.take(self.journal.append(event, step=step, data=data))


def perform(what: Performance, *, until: str | None = None) -> None:
    """Do every step that is not over, in order, and close the run. Resuming is the same call.

    Raises run-paused where a step fails or a person has to answer first; the run stays open.
    """
    for number, step in enumerate(what.run.book.steps, 1):
        if not what.run.state(step.id).over:
            _one(what, step, number)
        if step.id == until:
            return
    what.record("run.closed", data={"outcome": "finished"})


def give_up(what: Performance) -> tuple[list[str], list[str]]:
    """Undo the steps that were done, the last one first, and close the run.

    Returns the steps without an undo, and those that may have taken effect though that cannot be determined. An undo
    that fails pauses the run: no step is skipped.
    """
    not_undone: list[str] = []
    doubtful: list[str] = []
    for step in reversed(what.run.book.steps):
        state = what.run.state(step.id)
        if not isinstance(step, Executed) or step.effects.reads or not state.attempts:
            continue
        doubtful += _of_earlier_attempts(what.run, step)
        if not _is_done(what, step):
            if (state.open_since or state.skipped) and not isinstance(step, Command):
                doubtful.append(f"{step.id}: it began, and whether it did anything cannot be told")
        elif step.effects.undo:
            _undo(what, step)
        else:
            not_undone.append(f"{step.id}: {step.effects.no_undo}")
    what.record("run.closed", data={"outcome": "given up"})
    return not_undone, doubtful


def _of_earlier_attempts(run: BookRun, step: Executed) -> list[str]:
    """Cases of a step that was begun anew: what they wrote is still there."""
    cases = [case_of(run.mark(step.id, generation)) for generation in range(run.state(step.id).generation)]
    return [
        f"{step.id}: case {case.id} of an earlier attempt {'wrote rows' if case.wrote_to_original else 'is open'}:"
        f" rowback {'undo' if case.wrote_to_original else 'close'} {case.id}"
        for case in cases
        if case and ((case.wrote_to_original and not case.taken_back) or case.closed_at is None)
    ]


def _is_done(what: Performance, step: Executed) -> bool:
    """Whether a step has done something. A case that it left open is closed first."""
    state = what.run.state(step.id)
    case = case_of(what.run.mark(step.id))
    if isinstance(step, Command) and case is not None:
        what.run.values |= {name.upper(): case.id for name, path in step.effects.saves if path in ("", "case")}
        verb = words_of(step.lines[0])[1]
        if case.closed_at is None and (verb == "restore" or (verb == "open" and state.saved is None)):
            _execute(what, _extra(step, f"{step.id}-close", f"rowback close {case.id}"), len(what.run.book.steps) + 1)
        return state.saved is not None or case.wrote_to_original
    if state.saved is not None or state.done_before:
        return True
    lines = step.command_lines(what.run.values)
    try:
        happened = step.already_happened(lines, state.open_since or what.run.opened_at, what.run.mark(step.id))
    except LookupError:
        return False
    return isinstance(happened, dict)


def _undo(what: Performance, step: Executed) -> None:
    undo = _extra(step, f"{step.id}-undo", step.effects.undo)
    if not what.run.state(undo.id).over:
        _execute(what, undo, len(what.run.book.steps) + 1)


def _extra(step: Executed, id: str, line: str) -> Command:
    return Command(id, step.line, replace(step.effects, saves=(), expects="", exits=(0,)), (line,))


def _one(what: Performance, step: BookStep, number: int) -> None:
    match step:
        case Ask():
            value = bound(step.parameter, what.driver.answer(step))
            what.record("step.done", step=step.id, data={"saved": {step.parameter.variable: value}})
        case Confirm():
            if not what.driver.confirms(step):
                raise _paused(what.run, step.id, f"nobody confirmed: {step.question}")
            what.record("step.done", step=step.id, data={"saved": {}})
        case Approve():
            _await_approval(what, step)
        case Executed():
            _execute(what, step, number)


def _await_approval(what: Performance, step: Approve) -> None:
    run = what.run
    by = Distinct(run.book.approvals_by)
    valid = approvers(run.approvals.get(step.id, ()), [step.id], run.how.opener, by)
    if not valid and not what.driver.approves(step):
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"run {run.id} waits for another person at '{step.id}': {step.question}",
            f"it was begun by {run.how.opener}; others are told apart by {by}",
            state="what was done so far stays done",
            help=f"another person: rowback runbook approve {run.id} {step.id} --by NAME; then: rowback runbook resume"
            f" {run.id}",
        )
    what.record("step.done", step=step.id, data={"saved": {}, "by": [each.by for each in valid]})


def _execute(what: Performance, step: Executed, number: int) -> None:
    run = what.run
    _refuse_while_it_runs(run, step)
    around = Surroundings(
        run.values,
        run.directory / "logs",
        what.redact,
        what.profile,
        run.book.connections,
        run.mark(step.id),
        run.how.profile,
        lambda pid: what.record("step.child", step=step.id, data={"pid": pid}),
        _overruled(what, step),
    )
    try:
        lines = step.command_lines(run.values)
        instead = _instead(run, step, lines)
        if instead is None and not what.driver.lets(step, lines):
            raise _paused(run, step.id, "it was not let through")
        saved = _do(what, step, around, number, instead)
    except (StepError, RowbackError) as error:
        if isinstance(error, RowbackError) and error.id is ErrorId.RUN_PAUSED:
            raise
        words = what.redact("\n".join([error.fact, *error.facts]) if isinstance(error, RowbackError) else str(error))
        what.listener.step_failed(step.id, words.splitlines()[0])
        what.record("step.failed", step=step.id, data={"error": words, "cut_off": isinstance(error, CutOff)})
        raise _paused(run, step.id, words.splitlines()[0]) from None
    except KeyboardInterrupt:
        what.listener.step_failed(step.id, "interrupted")
        what.record("run.stopped", data={"step": step.id, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"})
        raise
    what.record("step.done", step=step.id, data={"saved": saved})


def _instead(run: BookRun, step: Executed, lines: list[list[str]]) -> Executed | dict[str, str] | None:
    """What is left to do of a step that began before, if not all of it."""
    state = run.state(step.id)
    if state.open_since is None:
        return None
    try:
        return step.already_happened(lines, state.open_since, run.mark(step.id))
    except LookupError as error:
        if state.failed:  # it ended, badly; a person has mended that and lets it go on
            return None
        raise _paused(run, step.id, f"{error}; do it again with --from {step.id}") from None


def _refuse_while_it_runs(run: BookRun, step: Executed) -> None:
    """A process that a killed run left behind is still at it."""
    child = run.state(step.id).child
    if child is not None and run.state(step.id).saved is None and runs(child):
        raise _paused(run, step.id, f"process {child}, which an earlier attempt began, is still running")


def _do(
    what: Performance, step: Executed, around: Surroundings, number: int, instead: Executed | dict[str, str] | None
) -> dict[str, str]:
    """Run it, or what continues it, or nothing where it has happened."""
    what.listener.step_started(step.id, _step_line(step, instead, what))
    began = time.monotonic()
    if isinstance(instead, dict):
        what.record("step.reconciled", step=step.id, data={"happened": True})
        saved = instead
    else:
        what.record("step.start", step=step.id)
        saved = _executed(what, instead or step, around, number)
    saved = {**saved, **around.overruled}
    what.listener.step_done(step.id, "", time.monotonic() - began)
    for name, value in saved.items():
        what.show(f"{name.lower()} = {value}" + (" (as was said)" if name in around.overruled else ""))
    return saved


def _executed(what: Performance, step: Executed, around: Surroundings, number: int) -> dict[str, str]:
    """Execute a step and show its output. One that only reads values which -p has given may fail."""
    out = around.output(step.id, number)
    out.unlink(missing_ok=True)  # of an earlier attempt
    try:
        return step.execute(around, number)
    except StepError as error:
        if not (step.effects.reads and around.overruled and len(around.overruled) == len(step.effects.saves)):
            raise
        what.show(f"{error}; it is not needed")
        return {}
    finally:
        for line in shown(step, out.read_text(), str(out)) if out.exists() else ():
            what.show(line)


def _overruled(what: Performance, step: Executed) -> dict[str, str]:
    names = {name.upper() for name, _ in step.effects.saves}
    overrides = overruled(what.run.book, what.driver.answers)
    return {name: value for name, value in overrides.items() if name in names}


def _step_line(step: Executed, instead: Executed | dict[str, str] | None, what: Performance) -> str:
    if isinstance(instead, dict):
        return f"{step.id}: it happened already"
    if instead is not None:
        return f"{step.id}: continue what was begun: {instead.texts[0]}"
    return f"{step.id}: {what.redact(step.headline(what.run.values))}"


def _paused(run: BookRun, step: str, why: str) -> RowbackError:
    return RowbackError(
        ErrorId.RUN_PAUSED,
        f"run {run.id} is paused at step '{step}': {why}",
        state="what was done so far stays done; the output of each step is in " + str(run.directory / "logs"),
        help=f"mend it by hand, then: rowback runbook resume {run.id}; or leave the step out: rowback runbook resume"
        f" {run.id} --skip {step} --reason WHY; or give up: rowback runbook abort {run.id}" + _better(run, step),
    )


def _better(run: BookRun, step: str) -> str:
    """The option that gives another target time than the one the step found."""
    ids = [each.id for each in run.book.steps]
    names = [
        name
        for each in run.book.steps[: ids.index(step) + 1]
        if isinstance(each, Executed)
        for name, path in each.effects.saves
        if path.endswith("target_time")
    ]
    tables = " -p tables=TABLE" if "tables" in run.book.overrules else ""
    return f"; or say another target time: rowback runbook resume {run.id} -p at=TIME{tables}" if names else ""
