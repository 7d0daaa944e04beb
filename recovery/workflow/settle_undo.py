"""What became of an undo that a process could not see the end of: the server is asked, and what it says is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recovery.errors import ErrorId, RowbackError
from recovery.reload.load_job import Loaded
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.steps.load_step import settled_status


def settle_undo(recovery_run: RecoveryRun) -> Loaded | None:
    """Record and return the undo that was begun last if it committed although no commit was recorded.

    A server process that still runs one, though its client is gone, is terminated first. Raises stopped-midway.
    """
    if not (open_intents := _open_intents(recovery_run.case)):
        return None
    with recovery_run.original() as original:
        for intent in reversed(open_intents):
            if settled_status(original, intent["xids"][-1], recovery_run) == "committed":
                recovery_run.record("undo.done", data=intent)
                return Loaded.model_validate(intent)
    return None


def settle_before_closing(recovery_run: RecoveryRun) -> None:
    """The same where the case is closed all the same: an original that cannot be asked is noted."""
    try:
        settle_undo(recovery_run)
    except RowbackError as error:
        recovery_run.record("undo.unknown", data={"error": error.fact})


@contextmanager
def undoing(case: Case) -> Iterator[None]:
    """Raise an error of inside with a state that does not say that nothing was written.

    Once the undo's transaction was about to commit, only the server knows.
    """
    intended, finished = len(case.noted("undo.intent")), len(case.noted("undo.done"))
    try:
        yield
    except RowbackError as error:
        if error.id is ErrorId.VERIFY_DIFFERS or len(case.noted("undo.intent")) == intended:
            raise
        if len(case.noted("undo.done")) > finished:
            raise RowbackError(
                error.id,
                error.fact,
                *error.facts,
                state="the undo is committed; it is not proven yet",
                help=f"prove it: rowback verify {case.id}",
            ) from error
        raise RowbackError(
            error.id,
            error.fact,
            *error.facts,
            state="whether the undo was committed is not known here",
            help=f"once the server answers, the same again: rowback undo {case.id}; it finishes what was committed, and"
            " turns nothing round",
        ) from error


def _open_intents(case: Case) -> list[dict[str, Any]]:
    recorded = [note["xids"] for note in case.noted("undo.done")]
    return [note for note in case.noted("undo.intent") if note["xids"] not in recorded]
