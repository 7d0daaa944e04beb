"""`rowback runbook resume`: continue a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.options import profile_option
from recovery.config import load_profile
from recovery.errors import ErrorId, RowbackError
from runbooks.commands.runbook_arguments import run_argument

if TYPE_CHECKING:
    from runbooks.book.document import Book
    from runbooks.execution.run_store import BookRun

from runbooks.commands.runbook_run_options import (
    MODES,
    answers_in,
    confirmed_option,
    driver_of,
    perform_run,
    refuse_finished,
    values_option,
)


@click.command(epilog="Example: rowback runbook resume 7f3a --skip notify --reason 'told them by phone'")
@run_argument
@values_option
@click.option("--from", "from_", metavar="STEP", help="Do this step and all behind it again.")
@click.option("--skip", metavar="STEP", help="Leave this step out …")
@click.option("--reason", help="… and say why.")
@click.option("--rebase", "rebase_", is_flag=True, help="Go on by the book as it is now.")
@click.option("--mode", type=click.Choice(MODES[1:]), help="Another mode than it was begun with.")
@confirmed_option
@profile_option
def resume(  # noqa: PLR0913, PLR0917 (one argument an option)
    run_id: str,
    pairs: tuple[str, ...],
    from_: str | None,
    skip: str | None,
    reason: str | None,
    rebase_: bool,
    mode: str | None,
    confirmed: tuple[str, ...],
    profile: str | None,
) -> None:
    """Continue a run where it stopped, or from any step; finds out first whether a step that was cut off happened."""
    from runbooks.execution.run_moves import begin_again, leave_out
    from runbooks.execution.run_store import rebase, rebased, refuse_changed, resume_run
    from runbooks.execution.value_overrides import overrule

    answers, opened, journal = answers_in(pairs), *resume_run(run_id)
    with journal:
        refuse_finished(opened)
        if not rebase_:
            refuse_changed(opened)
        book = rebased(opened) if rebase_ else opened.book
        _refuse_move(opened, book, from_=from_, skip=skip, reason=reason)
        _refuse_bound(opened, book, answers)
        driver = driver_of(
            mode or opened.how.mode, {**opened.how.answers, **answers}, (*opened.how.confirmed, *confirmed)
        )
        driver.refuse_gaps(book, done=_staying(opened, book, from_=from_, skip=skip))
        loaded = load_profile(profile or opened.how.profile)
        # everything that can be refused has been: only now is anything written down
        if rebase_:
            rebase(opened, journal, book)
        if from_:
            begin_again(opened, journal, from_)
        if skip:
            leave_out(opened, journal, skip, str(reason))
        overrule(opened, journal, book, answers)
        perform_run(opened, journal, driver, loaded)


def _staying(opened: BookRun, book: Book, *, from_: str | None, skip: str | None) -> list[str]:
    """Steps that will not be performed."""
    ids = [step.id for step in book.steps]
    again = set(ids[ids.index(from_) :]) if from_ else set()
    return [id for id, state in opened.steps.items() if state.over and id not in again] + ([skip] if skip else [])


def _refuse_move(opened: BookRun, book: Book, *, from_: str | None, skip: str | None, reason: str | None) -> None:
    from runbooks.processes import runs
    from runbooks.steps.person_steps import Approve

    ids = [step.id for step in book.steps]
    if unknown := [named for named in (from_, skip) if named and named not in ids]:
        raise RowbackError(
            ErrorId.USAGE,
            f"run {opened.id} has no step '{unknown[0]}'",
            f"its steps: {', '.join(ids)}",
            state="nothing was done",
            help=f"rowback runbook resume {opened.id} --from {opened.waiting_at}",
        )
    children = [opened.state(id).child for id in ids if from_ or id == skip]
    if running := [child for child in children if child is not None and runs(child)]:
        raise RowbackError(
            ErrorId.RUN_PAUSED,
            f"process {running[0]}, which an earlier attempt began, is still running",
            state="nothing was done",
            help=f"wait for it, or end it: kill {running[0]}",
        )
    if skip and isinstance(book.step(skip), Approve):
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"'{skip}' is an approval, which cannot be left out",
            state="nothing was done",
            help=f"another person: rowback runbook approve {opened.id} {skip} --by NAME",
        )
    if skip and not reason:
        raise RowbackError(
            ErrorId.USAGE,
            f"step '{skip}' is to be left out, and nobody says why",
            state="nothing was done",
            help=f"rowback runbook resume {opened.id} --skip {skip} --reason WHY",
        )


def _refuse_bound(opened: BookRun, book: Book, answers: dict[str, str]) -> None:
    """Answers given at the beginning stay, and an answer must belong to a question of the book."""
    if unknown := sorted(answers.keys() - book.questions.keys() - book.overrules.keys()):
        raise RowbackError(
            ErrorId.USAGE,
            f"-p {unknown[0]} answers no question of run {opened.id}; its parameters are bound",
            state="nothing was done",
            help="begin a new run for other values: rowback runbook run",
        )
