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
from runbooks.book.document import RUN_DIR, Approve, Ask, Book, Command, Confirm, Executed, Shell
from runbooks.book.fences import ACTING
from runbooks.execution.execute_step import StepError, Surroundings, command_lines, execute


@dataclass
class Preview:
    """One preview. `scripts`: ids of the shell steps that the person wants to have run. `values`: those so far."""

    around: Surroundings
    listener: Listener
    scripts: Collection[str]
    values: dict[str, str]
    ran: Counter[str] = field(default_factory=Counter)
    withheld: int = 0

    @property
    def summary(self) -> str:
        """What was run and what was not, in one line."""
        kinds = {"rowback": "command", "sql": "statement", "sh": "script"}
        ran = [counted(self.ran[kind], word) for kind, word in kinds.items() if self.ran[kind]]
        scripts = ", which nothing checks" if self.ran["sh"] else ""
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
            case Ask(question=text) | Confirm(question=text) | Approve(question=text):
                lines.append(f"{step.id}: {step.kind}: {text}")
            case _:
                lines += _previewed(step, what, number)
    return lines


def _previewed(step: Executed, what: Preview, number: int) -> list[str]:
    around = what.around
    try:
        words = command_lines(step, what.values)
    except StepError:
        what.withheld += not step.effects.reads
        later = step.lines if isinstance(step, Command) else (step.text,)
        return _shown(f"{step.id}: would run, once what it needs is known", later)
    lines = [around.redact(" ".join(line)) for line in words]
    if (why := _withheld(step, words, what)) is not None:
        what.withheld += 1
        return _shown(f"{step.id}: would run{why}", lines)
    what.ran[step.kind] += len(words) if isinstance(step, Command) else 1
    what.listener.step_started(step.id, f"{step.id}: {lines[0]}")
    began = time.monotonic()
    try:
        what.values |= execute(step, replace(around, values=what.values), number)
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
    if isinstance(step, Shell):
        return None if step.id in what.scripts else f" (a script is only run with --run-shell {step.id})"
    for words in lines if isinstance(step, Command) else ():
        if acting := [word for word in words if word.partition("=")[0] in ACTING]:
            return f" (with {acting[0].partition('=')[0]} it does more than read)"
        for out in _files_written(words):
            if not _inside(Path(out), Path(what.values[RUN_DIR])):
                return f" (it writes {out}, which is not in this run's directory)"
    return None


def _files_written(words: Sequence[str]) -> list[str]:
    """Every file that an `--out` names, of `plan`: of several the last one counts, and none is trusted to be it."""
    named = [following for word, following in zip(words, [*words[1:], ""], strict=True) if word == "--out"]
    return named + [word.removeprefix("--out=") for word in words if word.startswith("--out=")]


def _inside(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())
