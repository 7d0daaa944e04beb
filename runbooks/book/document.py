"""A runbook as values: front matter, sections, notes and steps, in the order in which they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

RUN_DIR = "RUN_DIR"  # a directory that each run has for files of its own
# Programs are led by hundreds of variables (LD_PRELOAD, OPENSSL_CONF, https_proxy, …): a book sets none but its own.
SHELL_PREFIX = "RUNBOOK_"


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
class Note:
    """Prose, as Markdown."""

    text: str
    line: int


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
class Command:
    """`rowback …`, a line each; run in order."""

    kind: ClassVar[str] = "rowback"
    id: str
    line: int
    lines: tuple[str, ...]
    effects: Effects


@dataclass(frozen=True)
class Sql:
    """One statement on a named connection: `live`, or a name whose DSN an environment variable holds."""

    kind: ClassVar[str] = "sql"
    id: str
    line: int
    text: str
    on: str
    effects: Effects
    rows: str = ""


@dataclass(frozen=True)
class Shell:
    """A bash script; parameters and saved values are variables with SHELL_PREFIX in its environment."""

    kind: ClassVar[str] = "sh"
    id: str
    line: int
    text: str
    effects: Effects


@dataclass(frozen=True)
class Ask:
    """A value that a person gives."""

    kind: ClassVar[str] = "ask"
    id: str
    line: int
    question: str
    parameter: Parameter


@dataclass(frozen=True)
class Approve:
    """Another person agrees before it goes on."""

    kind: ClassVar[str] = "approve"
    id: str
    line: int
    question: str


@dataclass(frozen=True)
class Confirm:
    """A person looks, and says that it is so: an item of a task list."""

    kind: ClassVar[str] = "confirm"
    id: str
    line: int
    question: str


Executed = Command | Sql | Shell
Step = Executed | Ask | Approve | Confirm


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    level: int
    parts: tuple[Note | Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is done in it."""
        return tuple(part for part in self.parts if not isinstance(part, Note))


@dataclass(frozen=True)
class Book:
    """A runbook. `text`: the file as it is read by people; `digest`: sha256 of it."""

    name: str
    title: str
    purpose: str
    when: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    sections: tuple[Section, ...] = ()
    connections: dict[str, str] = field(default_factory=dict)
    recovery_time_s: float | None = None
    data_loss_s: float | None = None
    approvals_by: str = "principal"

    @property
    def digest(self) -> str:
        """What a run remembers of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in their order."""
        return tuple(step for section in self.sections for step in section.steps)

    @property
    def questions(self) -> dict[str, Parameter]:
        """What is asked on the way, by the name of the answer."""
        return {step.parameter.name: step.parameter for step in self.steps if isinstance(step, Ask)}

    @property
    def overrules(self) -> dict[str, Parameter]:
        """Names of saved values that -p may replace; a target time also as `at`."""
        looked_up = [step for step in self.steps if isinstance(step, Command | Sql | Shell) and step.effects.reads]
        saved = {
            name: Parameter(name, Type.TIME if path.endswith("target_time") else Type.TEXT)
            for step in looked_up
            for name, path in step.effects.saves
        }
        times = [each for each in saved.values() if each.type is Type.TIME]
        own_names = {parameter.name for parameter in self.parameters} | self.questions.keys()
        named = {**({"at": times[0]} if times else {}), **saved}
        return {name: each for name, each in named.items() if name not in own_names}

    def step(self, id: str) -> Step | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == id), None)

    def produced(self) -> Iterator[tuple[str, Step | None]]:
        """Each variable with the step that gives it a value; parameters, and RUN_DIR, come from outside."""
        yield RUN_DIR, None
        for parameter in self.parameters:
            yield parameter.variable, None
        for step in self.steps:
            match step:
                case Ask(parameter=parameter):
                    yield parameter.variable, step
                case Command(effects=effects) | Sql(effects=effects) | Shell(effects=effects):
                    yield from ((name.upper(), step) for name, _ in effects.saves)
                case _:
                    pass
