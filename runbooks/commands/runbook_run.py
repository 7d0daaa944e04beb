"""`rowback runbook run`: perform a runbook, or preview it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guards.plain_text import joined
from recovery.commands.options import profile_option
from recovery.config import Profile, load_profile
from recovery.errors import ErrorId, RowbackError
from runbooks.commands.runbook_arguments import book_argument

if TYPE_CHECKING:
    from runbooks.book.document import Book

from runbooks.commands.runbook_run_options import (
    MODES,
    answers_in,
    confirmed_option,
    driver_of,
    perform_run,
    values_option,
)


@click.command(epilog="Example: rowback runbook run truncated-tables -p instance=docs-staging -p database=docs")
@book_argument
@values_option
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="ask",
    show_default=True,
    help="preview: do what reads, print what writes. ask: before a write. auto: never guess.",
)
@click.option(
    "--run-shell",
    "scripts",
    metavar="STEP",
    multiple=True,
    help="Mode preview: run this script too; you have read it. Repeatable.",
)
@confirmed_option
@profile_option
def run(  # noqa: PLR0913, PLR0917 (one argument an option)
    book: str,
    pairs: tuple[str, ...],
    mode: str,
    scripts: tuple[str, ...],
    confirmed: tuple[str, ...],
    profile: str | None,
) -> None:
    """Perform a runbook: step by step, journalled; it pauses where something is not as it should be."""
    from recovery.workflow.approvals import current_principal
    from runbooks.book.parse_book import find_book, read_book
    from runbooks.execution.parameter_values import bind, overruled
    from runbooks.execution.run_store import Begun, open_run

    source = find_book(book)
    parsed, answers, loaded = read_book(source), answers_in(pairs), load_profile(profile)
    values = bind(parsed, answers)
    if mode == "preview":
        _preview(parsed, {**values, **overruled(parsed, answers)}, loaded, scripts)
        return
    driver = driver_of(mode, answers, confirmed)
    driver.refuse_gaps(parsed)
    how = Begun(mode, current_principal(loaded.region), profile, answers, confirmed)
    opened, journal = open_run(source, parsed, values, how)
    click.echo(f"run {opened.id}: {parsed.title}", err=True)
    perform_run(opened, journal, driver, loaded)


def _preview(book: Book, values: dict[str, str], profile: Profile, scripts: tuple[str, ...]) -> None:
    from recovery.redaction import Redactor
    from runbooks.execution.preview_book import Preview, preview
    from runbooks.execution.step_answers import StepLines
    from runbooks.steps.book_step import RUN_DIR
    from runbooks.steps.shell_script import Shell
    from runbooks.steps.surroundings import Surroundings

    if unknown := sorted(set(scripts) - {step.id for step in book.steps if isinstance(step, Shell)}):
        raise RowbackError(
            ErrorId.USAGE,
            f"'{unknown[0]}' is no script of runbook '{book.name}'",
            state="nothing was done",
            help=f"see its steps: rowback runbook show {book.name}",
        )
    with tempfile.TemporaryDirectory() as directory:
        values |= {RUN_DIR: directory}  # what a preview writes is nobody's: a run may wait for its own plan's approval
        around = Surroundings(
            values, Path(directory), Redactor.of_this_process(), profile, book.connections, profile_name=profile.name
        )
        previewed = Preview(around, StepLines(), scripts, values)
        lines = preview(book, previewed)
    click.echo(joined(lines))
    click.echo(f"\n{previewed.summary}", err=True)
