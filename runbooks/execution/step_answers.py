"""Who answers while a book is performed: a person at a terminal, or what was said beforehand."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import click

from recovery.errors import ErrorId, RowbackError
from recovery.redaction import Redactor
from runbooks.book.document import Book
from runbooks.execution.parameter_values import bound
from runbooks.steps.book_step import Executed
from runbooks.steps.person_steps import Approve, Ask, Confirm


@dataclass(frozen=True)
class PresetAnswers:
    """Mode auto: refuses to guess.

    `answers` by the name of a question, `confirmed`: ids of manual steps that were looked at, `approved`: ids of
    approvals that are given by the nature of the run (a drill).
    """

    answers: Mapping[str, str]
    confirmed: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()

    def answer(self, step: Ask) -> str:
        """The answer given beforehand, else the default. Raises usage when there is neither."""
        preset = self.answers.get(step.parameter.name, step.parameter.default)
        if preset is None:
            raise _unsaid(step.id, f"-p {step.parameter.name}=…")
        return preset

    def confirms(self, step: Confirm) -> bool:
        """True for what was named beforehand. Raises usage otherwise."""
        if step.id not in self.confirmed:
            raise _unsaid(step.id, f"--confirmed {step.id}, once it was looked at: {step.question}")
        return True

    def lets(self, step: Executed, lines: list[list[str]]) -> bool:
        """Everything that the book says."""
        return True

    def approves(self, step: Approve) -> bool:
        """Only what was approved beforehand: a drill does not wait for approvals."""
        return step.id in self.approved

    def refuse_gaps(self, book: Book, *, done: Collection[str] = ()) -> None:
        """Raise usage, before the first step, for what would stop the run half-way."""
        for step in book.steps:
            if step.id in done:
                continue
            if isinstance(step, Ask):
                bound(step.parameter, self.answer(step))
            if isinstance(step, Confirm) and step.id not in self.confirmed:
                raise _unsaid(step.id, f"--confirmed {step.id}, once it was looked at: {step.question}")


@dataclass
class AtTerminal:
    """Mode ask: before everything that writes it shows the command and asks."""

    answers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not sys.stdin.isatty():
            raise RowbackError(
                ErrorId.USAGE,
                "mode ask needs a terminal, and there is none",
                state="nothing was done",
                help="use --mode auto with every answer given, or --mode preview",
            )

    def refuse_gaps(self, book: Book, *, done: Collection[str] = ()) -> None:
        """There is a person to ask."""

    def answer(self, step: Ask) -> str:
        """What was said beforehand, or is said now."""
        preset = self.answers.get(step.parameter.name)
        if preset is not None:
            return preset
        while True:
            text = click.prompt(step.question or step.parameter.name, default=step.parameter.default, err=True)
            try:
                return bound(step.parameter, text)
            except RowbackError as error:
                click.echo(f"  {error.fact}", err=True)

    def confirms(self, step: Confirm) -> bool:
        """Yes or no."""
        return click.confirm(f"[ ] {step.question}", err=True)

    def lets(self, step: Executed, lines: list[list[str]]) -> bool:
        """What was checked to read passes; what writes, and every script, is shown first."""
        if step.effects.reads and step.reads_are_checked:
            return True
        redact = Redactor.of_this_process()
        for words in lines:
            click.echo("  " + redact(step.printed(words)), err=True)
        return click.confirm(f"Run step '{step.id}'?", err=True)

    def approves(self, step: Approve) -> bool:
        """Never oneself: another person says `rowback runbook approve`."""
        return False


class StepLines:
    """A line when a step begins and one when it ends, around what it says itself."""

    def step_started(self, name: str, title: str) -> None:
        """What is done now."""
        click.echo(f"▸ {title}", err=True)

    def progress(self, text: str, seconds: float) -> None:
        """Steps tell their own."""

    def notice(self, text: str) -> None:
        """The same."""

    def step_done(self, name: str, text: str, seconds: float) -> None:
        """How long it took."""
        click.echo(f"  ✓ {seconds:.1f} s" + (f": {text}" if text else ""), err=True)

    def step_failed(self, name: str, text: str) -> None:
        """Why it stopped."""
        click.echo(f"  ✗ {text}", err=True)


def show_line(line: str) -> None:
    """Print a line of a step's output below its title."""
    click.echo(f"  │ {line}", err=True)


def _unsaid(id: str, help: str) -> RowbackError:
    return RowbackError(
        ErrorId.USAGE,
        f"step '{id}' needs an answer, and mode auto does not guess",
        state="nothing more was done",
        help=help,
    )
