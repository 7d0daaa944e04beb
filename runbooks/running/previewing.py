"""Preview of a runbook: steps that only read are executed, all others described."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from recovery.errors import RowbackError
from recovery.workflow.errand import Listener
from runbooks.book.document import Approve, Ask, Book, Command, Confirm, Executed
from runbooks.running.executing import StepError, Surroundings, command_lines, execute


def preview(book: Book, values: Mapping[str, str], around: Surroundings, listener: Listener) -> list[str]:
    """Execute the steps that only read and describe all others. Returns one line a step."""
    known, lines = dict(values), []
    for number, step in enumerate(book.steps, 1):
        match step:
            case Ask(question=text) | Confirm(question=text) | Approve(question=text):
                lines.append(f"{step.id}: {step.kind}: {text}")
            case _:
                lines += _previewed(step, known, around, listener, number)
    return lines


def _previewed(
    step: Executed, known: dict[str, str], around: Surroundings, listener: Listener, number: int
) -> list[str]:  # fmt: skip
    try:
        told = [around.redact(" ".join(words)) for words in command_lines(step, known)]
    except StepError:
        later = "\n".join(step.lines) if isinstance(step, Command) else step.text
        return [f"{step.id}: would run, once what it needs is known: {later}"]
    if not step.effects.reads:
        return [f"{step.id}: would run: {line}" for line in told]
    listener.step_started(step.id, f"{step.id}: {told[0]}")
    began = time.monotonic()
    try:
        known |= execute(step, replace(around, values=known), number)
    except (StepError, RowbackError) as error:
        listener.step_failed(step.id, str(error).splitlines()[0])
        return [f"{step.id}: was run, and failed: {str(error).splitlines()[0]}"]
    listener.step_done(step.id, "", time.monotonic() - began)
    return [f"{step.id}: was run: {line}" for line in told]
