"""`rowback …`: commands of rowback, a line each, run in order."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from string import Template
from typing import ClassVar

from guards.statements import Danger
from recovery.errors import RowbackError
from recovery.store.case_directory import Case, all_cases, find_case
from recovery.store.journal import read_records
from runbooks.steps.book_step import VARIABLE, Executed, Fence
from runbooks.steps.child_program import run_programs
from runbooks.steps.step_effects import effects_of, words_of
from runbooks.steps.surroundings import StepError, Surroundings

# Verbs that change nothing anywhere; all others are withheld from a preview.
READING = {
    "find",
    "doctor",
    "coverage",
    "plan",
    "diff",
    "peek",
    "verify",
    "cases",
    "status",
    "report",
    "wait",
    "guard show",
    "guard check",
    "runbook list",
    "runbook show",
    "runbook lint",
    "drills",
}
# With these even those act: on a case's plan, as a server, or by logging in where the book says.
ACTING = {"--again", "--incident-xid", "--on-conflict", "--mode", "--serve", "--dsn"}
DRY = {"restore", "reap"}  # what --dry-run turns into reading
WRITES_TO_ORIGINAL = {"restore", "apply", "undo"}
# What in a case's journal tells that a verb has done its work.
TELLS = {"undo": ("undo.done", None), "close": ("case.closed", None)}


@dataclass(frozen=True)
class Command(Executed):
    """`rowback …`, a line each; run in order."""

    kind: ClassVar[str] = "rowback"
    noun: ClassVar[str] = "command"
    attributes: ClassVar[frozenset[str]] = frozenset({"id", "timeout", "undo", "exit", "expect", "save"})
    lines: tuple[str, ...]

    @classmethod
    def of_fence(cls, fence: Fence) -> Command:
        """Lines may go on behind a backslash. Whether it reads is known by its verbs."""
        lines = tuple(each.strip() for each in fence.body.replace("\\\n", " ").splitlines() if each.strip())
        if not lines:
            fence.wrong("command", "there is no command in it")
        for each in lines:
            if not words_of(each):
                shown = each if len(each) <= 200 else f"{each[:200]}… ({len(each):,} characters)"
                fence.wrong("command", f"'{shown}' cannot be split into words: a quote is not closed")
            elif not each.startswith("rowback "):
                fence.wrong("command", f"'{each}' is no rowback command; other programs belong into sh")
        danger = Danger.READ if all(_only_reads(each) for each in lines) else Danger.WRITE
        return cls(fence.id, fence.line, effects_of(fence, danger), lines)

    @property
    def texts(self) -> Sequence[str]:
        """Its lines."""
        return self.lines

    @property
    def verbs(self) -> set[str]:
        """The verbs of its lines."""
        return {words[1] for line in self.lines if len(words := words_of(line)) > 1}

    @property
    def needs(self) -> set[str]:
        """Every $NAME."""
        return set(VARIABLE.findall("\n".join(self.lines)))

    @property
    def writes_to_original(self) -> bool:
        """Known by its verbs."""
        return bool(self.verbs & WRITES_TO_ORIGINAL)

    def headline(self, values: Mapping[str, str]) -> str:
        """The first command. Raises StepError for a variable without a value."""
        return self.printed(self.command_lines(values)[0])

    def printed(self, words: Sequence[str]) -> str:
        """As it can be pasted into a shell."""
        return shlex.join(words)

    def command_lines(self, values: Mapping[str, str]) -> list[list[str]]:
        """Values are put into words that were split before: none becomes more than a word. Raises StepError."""
        return [_words(line, values) for line in self.lines]

    def withheld(self, lines: Sequence[Sequence[str]], run_directory: Path) -> str | None:
        """With some options a reading verb acts, or writes a file outside the run's directory."""
        for words in lines:
            if acting := [word for word in words if word.partition("=")[0] in ACTING]:
                return f" (with {acting[0].partition('=')[0]} it does more than read)"
            for out in _files_written(words):
                if not Path(out).resolve().is_relative_to(run_directory.resolve()):
                    return f" (it writes {out}, which is not in this run's directory)"
        return None

    def execute(self, around: Surroundings, number: int) -> dict[str, str]:
        """Run them with this very Python. Raises StepError, KeyboardInterrupt after the child has ended."""
        programs = [
            [sys.executable, "-P", "-m", "recovery.cli", *arguments[1:]]
            for arguments in self.command_lines(around.values)
        ]
        return run_programs(programs, {}, self.effects, around, around.output(self.id, number))

    def already_happened(self, lines: list[list[str]], since: datetime, mark: str) -> Command | dict[str, str] | None:
        """The cases' own journals know. See Executed."""
        if self.effects.reads:
            return None
        verb, arguments = lines[0][1], lines[0][2:]
        if verb in ("restore", "open"):
            return _of_a_new_case(self, verb, arguments, mark)
        if verb == "apply" and arguments:
            return _of_an_apply(self, arguments, since)
        if verb in TELLS and arguments and _recorded(verb, arguments[0], since):
            return {}
        return None


def _only_reads(line: str) -> bool:
    words = words_of(line)[1:]
    dry = bool(words) and words[0] in DRY and "--dry-run" in words
    return dry or bool(words) and (words[0] in READING or " ".join(words[:2]) in READING)


def _words(line: str, values: Mapping[str, str]) -> list[str]:
    """The words of a command. A variable of several lines behind an option (`--table $TABLES`) says it once a line."""
    words: list[str] = []
    for word in shlex.split(line):
        several = values.get(word[1:], "").splitlines() if word.startswith("$") else []
        if len(several) > 1 and words and words[-1].startswith("--"):
            option = words.pop()
            words += [each for value in several for each in (option, _filled(word, {word[1:]: value}))]
        else:
            words.append(_filled(word, values))
    return words


def _filled(word: str, values: Mapping[str, str]) -> str:
    try:
        filled = Template(word).substitute(values)
        if filled.startswith("-") and not word.startswith("-"):
            raise StepError(f"the value of {word} begins with '-' and would be taken for an option: {filled}")
        return filled
    except (KeyError, ValueError) as error:
        raise StepError(f"'{word}' needs a value that is not known: {error}") from error


def _files_written(words: Sequence[str]) -> list[str]:
    """Every file that an `--out` names, of `plan`: of several the last one counts, and none is trusted to be it."""
    named = [following for word, following in zip(words, [*words[1:], ""], strict=True) if word == "--out"]
    return named + [word.removeprefix("--out=") for word in words if word.startswith("--out=")]


def case_of(mark: str) -> Case | None:
    """The case that a step opened."""
    return next((case for case in reversed(all_cases()) if case.run == mark), None)


def _of_a_new_case(step: Command, verb: str, arguments: list[str], mark: str) -> Command | dict[str, str] | None:
    case = case_of(mark)
    if case is None or case.outcome == "closed without change":
        return None
    json = " --json" if "--json" in arguments else ""
    if verb == "open":  # a later step completes it; what it prints is the case
        return {name.upper(): case.id for name, path in step.effects.saves if path in ("", "case")}
    if case.closed_at:  # the same document again: what was expected of it and is saved from it is looked at
        return replace(step, lines=(f"rowback report {case.id}{json}",))
    return replace(step, lines=(f"rowback resume {case.id}{json}",))


def _of_an_apply(step: Command, arguments: list[str], since: datetime) -> Command | dict[str, str] | None:
    """An apply took effect only when its proof was made."""
    if not _in_journal("step.done", "load", arguments[0], since):
        return None
    if _in_journal("step.done", "verify", arguments[0], since):
        return {}
    return replace(step, lines=(f"rowback resume {arguments[0]}",))


def _recorded(verb: str, case: str, since: datetime) -> bool:
    event, step = TELLS[verb]
    return _in_journal(event, step, case, since)


def _in_journal(event: str, step: str | None, case: str, since: datetime) -> bool:
    try:
        records = read_records(find_case(case))
    except RowbackError:
        return False
    return any(r.event == event and r.at >= since and step in (None, r.step) for r in records)
