"""Preview of a runbook: what was checked to read only is executed, all else described.

A book may come from a stranger. Commands are run that change nothing anywhere, statements that the classifier knows to
read, in a read-only transaction, and no script but those that the person names.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from recovery.errors import RowbackError
from recovery.model.values import counted
from recovery.workflow.recovery_run import Listener
from runbooks.book.document import Book
from runbooks.steps.book_step import RUN_DIR, Executed, PersonStep
from runbooks.steps.surroundings import StepError, Surroundings


@dataclass
class Preview:
    """One preview. `scripts`: ids of the shell steps that the person wants to have run. `values`: those so far."""

    around: Surroundings
    listener: Listener
    scripts: Collection[str]
    values: dict[str, str]
    ran: Counter[str] = field(default_factory=Counter)
    unchecked: int = 0
    withheld: int = 0

    @property
    def summary(self) -> str:
        """What was run and what was not, in one line."""
        ran = [counted(count, noun) for noun, count in self.ran.items()]
        scripts = ", which nothing checks" if self.unchecked else ""
        return (
            f"preview: {' and '.join(ran) or 'nothing'} of this book {'were' if sum(self.ran.values()) > 1 else 'was'}"
            f" run{scripts}; {counted(self.withheld, 'step')} that may write {'were' if self.withheld != 1 else 'was'}"
            " not"
        )


def preview(book: Book, what: Preview) -> list[str]:
    """Execute the steps that only read and describe all others. Returns one line a step."""
    lines = []
    for number, step in enumerate(book.steps, 1):
        match step:
            case PersonStep(question=text):
                lines.append(f"{step.id}: {step.kind}: {text}")
            case Executed():
                lines += _previewed(step, what, number)
    return lines


def _previewed(step: Executed, what: Preview, number: int) -> list[str]:
    around = what.around
    try:
        words = step.command_lines(what.values)
    except StepError:
        what.withheld += not step.effects.reads
        return _shown(f"{step.id}: would run, once what it needs is known", step.texts)
    lines = [around.redact(step.printed(line)) for line in words]
    if (why := _withheld(step, words, what)) is not None:
        what.withheld += 1
        return _shown(f"{step.id}: would run{why}", lines)
    what.ran[step.noun] += len(words)
    what.unchecked += not step.reads_are_checked
    what.listener.step_started(step.id, f"{step.id}: {lines[0]}")
    began = time.monotonic()
    try:
        what.values |= step.execute(replace(around, values=what.values), number)
    except (StepError, RowbackError) as error:
        what.listener.step_failed(step.id, str(error).splitlines()[0])
        return [f"{step.id}: was run, and failed: {str(error).splitlines()[0]}"]
    what.listener.step_done(step.id, "", time.monotonic() - began)
    return _shown(f"{step.id}: was run", lines)


def _shown(what: str, texts: Sequence[str]) -> list[str]:
    """A line for each text; the further lines of a script or statement stand below its first."""
    return [
        f"{what}: {line}" if number == 0 else f"    {line}"
        for text in texts
        for number, line in enumerate(text.splitlines() or [""])
    ]


def _withheld(step: Executed, lines: Sequence[Sequence[str]], what: Preview) -> str | None:
    """Why a step is not run, in words behind `would run`; None where it is."""
    if not step.effects.reads:
        return ""
    if not step.reads_are_checked and step.id not in what.scripts:
        return f" (a script is only run with --run-shell {step.id})"
    return step.withheld(lines, Path(what.values[RUN_DIR]))
