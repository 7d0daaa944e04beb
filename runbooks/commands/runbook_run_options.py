"""What `rowback runbook run`, `resume` and the others share: options, and the run that is driven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError

if TYPE_CHECKING:
    from recovery.store.journal import Journal
    from runbooks.execution.run_store import BookRun
    from runbooks.execution.step_answers import AtTerminal, PresetAnswers


MODES = ("preview", "ask", "auto")

values_option = click.option(
    "-p", "pairs", metavar="NAME=VALUE", multiple=True, help="A parameter or answer. Repeatable."
)

confirmed_option = click.option(
    "--confirmed",
    metavar="STEP",
    multiple=True,
    help="Mode auto: a manual step that was looked at. Repeatable.",
)


def perform_run(opened: BookRun, journal: Journal, driver: PresetAnswers | AtTerminal, profile: Profile) -> None:
    """Perform a run to its end and print its state.

    Raises SystemExit with 130 on an interruption, saying how to resume.
    """
    from recovery.workflow.case_lifecycle import terminate_like_interrupt
    from runbooks.execution.perform_book import Performance, perform
    from runbooks.execution.step_answers import StepLines, show_line

    try:
        with journal, terminate_like_interrupt():
            perform(Performance(opened, journal, driver, StepLines(), profile, show_line))
    except KeyboardInterrupt:
        help = f"rowback runbook resume {opened.id}, or rowback runbook abort {opened.id}"
        click.echo(f"interrupted\n  run {opened.id} stands at '{opened.waiting_at}'\n  help: {help}", err=True)
        raise SystemExit(130) from None
    click.echo(f"run {opened.id} is finished; its journal and the output of every step: {opened.directory}")


def refuse_finished(opened: BookRun) -> None:
    """Raise case-busy when the run is over."""
    if opened.closed_at:
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"run {opened.id} is over: {opened.outcome}",
            state="nothing was done",
            help="begin another one: rowback runbook run",
        )


def driver_of(mode: str, answers: dict[str, str], confirmed: tuple[str, ...]) -> PresetAnswers | AtTerminal:
    """Who answers during the run: what was given beforehand (mode auto), or the person at the terminal."""
    from runbooks.execution.step_answers import AtTerminal, PresetAnswers

    return PresetAnswers(answers, frozenset(confirmed)) if mode == "auto" else AtTerminal(answers)


def answers_in(pairs: tuple[str, ...]) -> dict[str, str]:
    """Names and values of `-p NAME=VALUE`. Raises usage for a pair without a name or an equals sign."""
    answers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RowbackError(
                ErrorId.USAGE, f"-p {pair} is no NAME=VALUE", state="nothing was done", help="-p instance=docs-staging"
            )
        answers[name] = value
    return answers
