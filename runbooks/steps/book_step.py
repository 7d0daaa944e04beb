"""The port of a runbook's steps, and the values that they share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from runbooks.steps.problems import Reader
from runbooks.steps.surroundings import Surroundings

RUN_DIR = "RUN_DIR"  # a directory that each run has for files of its own
VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)\}?")


class Type(StrEnum):
    """What a parameter or an answer may be."""

    TEXT = "text"
    INSTANCE = "instance"
    DATABASE = "database"
    TABLE = "table"
    TIME = "time"
    DURATION = "duration"
    NUMBER = "number"
    CHOICE = "choice"


@dataclass(frozen=True)
class Parameter:
    """Something that has to be known before the first step. In steps it is `$NAME`, in capitals."""

    name: str
    type: Type
    help: str = ""
    default: str | None = None
    example: str = ""
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The name that steps use."""
        return self.name.upper()


@dataclass(frozen=True)
class Effects:
    """What a step that runs something promises.

    `reads`: it changes nothing, which was checked of commands and statements and is only the author's word for a
    script. `undo`: the command that takes it back; `no_undo`: why there is none.
    """

    reads: bool
    timeout_s: float
    undo: str = ""
    no_undo: str = ""
    exits: tuple[int, ...] = (0,)
    expects: str = ""
    saves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Fence:
    """A fenced block as it stands in a book: its text, and the rest of its first line, taken apart."""

    body: str
    attributes: Mapping[str, str]
    flags: frozenset[str]
    saves: tuple[str, ...]
    line: int
    reader: Reader

    @property
    def id(self) -> str:
        """The step's id, empty where there is none."""
        return self.attributes.get("id", "")

    def wrong(self, rule: str, text: str) -> None:
        """Report a problem of this block."""
        self.reader.wrong(self.line, rule, text)


@dataclass(frozen=True)
class BookStep(ABC):
    """One step of a book."""

    kind: ClassVar[str]
    id: str
    line: int

    @property
    def needs(self) -> set[str]:
        """The variables that it uses."""
        return set()

    @property
    def gives(self) -> tuple[str, ...]:
        """The variables that have a value once it is done."""
        return ()

    @property
    def writes_to_original(self) -> bool:
        """Whether it is known to write to the original."""
        return False

    def sees(self, defined: set[str], connections: Collection[str]) -> set[str]:
        """The variables that it can use, of those that are `defined` and those that hold `connections`."""
        return defined


class FencedStep(BookStep):
    """A kind of step that is written as a fenced block, whose first word is its `kind`."""

    attributes: ClassVar[frozenset[str]]

    @classmethod
    @abstractmethod
    def of_fence(cls, fence: Fence) -> BookStep:
        """The step that a block says; what is wrong with it is reported to the block's reader."""


@dataclass(frozen=True)
class Executed(FencedStep):
    """A step that runs something.

    `noun`: what it runs, for people. `reads_are_checked`: whether more than the author's word says that it only reads.
    """

    noun: ClassVar[str]
    reads_are_checked: ClassVar[bool] = True
    effects: Effects

    @property
    @abstractmethod
    def texts(self) -> Sequence[str]:
        """What it runs, as it is written."""

    @property
    def gives(self) -> tuple[str, ...]:
        """What it saves."""
        return tuple(name.upper() for name, _ in self.effects.saves)

    @property
    def undo_needs(self) -> set[str]:
        """The variables that its undo uses."""
        return set(VARIABLE.findall(self.effects.undo))

    def headline(self, values: Mapping[str, str]) -> str:
        """What is shown when it begins. Raises StepError for a variable without a value."""
        return self.kind

    @abstractmethod
    def command_lines(self, values: Mapping[str, str]) -> list[list[str]]:
        """What would be run, as argument lists. Raises StepError for a variable without a value."""

    def printed(self, words: Sequence[str]) -> str:
        """One of its `command_lines` as people read it."""
        return " ".join(words)

    def withheld(self, lines: Sequence[Sequence[str]], run_directory: Path) -> str | None:
        """Why a preview does not run it though it reads, in words behind `would run`; None where it does."""
        return None

    @abstractmethod
    def execute(self, around: Surroundings, number: int) -> dict[str, str]:
        """Do it, and return the values that it saves. Raises StepError, KeyboardInterrupt after its child has ended."""

    def already_happened(self, lines: list[list[str]], since: datetime, mark: str) -> Executed | dict[str, str] | None:
        """Whether a step that began at `since` and did not end well took effect: then the values that it would save.

        Returns the step that continues it instead, or None where it may be done again. `mark`: what identifies its
        commands. Raises LookupError where it cannot be determined: a statement or a script that writes.
        """
        if self.effects.reads:
            return None
        raise LookupError("it began, it writes, and whether it did cannot be told")


@dataclass(frozen=True)
class PersonStep(BookStep):
    """A step that a person does."""

    question: str
