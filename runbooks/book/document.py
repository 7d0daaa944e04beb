"""A runbook as values: front matter, sections, notes and steps, in the order in which they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from runbooks.steps.book_step import RUN_DIR, BookStep, Executed, Parameter, Type
from runbooks.steps.person_steps import Ask


@dataclass(frozen=True)
class Note:
    """Prose, as Markdown."""

    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    level: int
    parts: tuple[Note | BookStep, ...] = ()

    @property
    def steps(self) -> tuple[BookStep, ...]:
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
    def steps(self) -> tuple[BookStep, ...]:
        """All steps in their order."""
        return tuple(step for section in self.sections for step in section.steps)

    @property
    def questions(self) -> dict[str, Parameter]:
        """What is asked on the way, by the name of the answer."""
        return {step.parameter.name: step.parameter for step in self.steps if isinstance(step, Ask)}

    @property
    def overrules(self) -> dict[str, Parameter]:
        """Names of saved values that -p may replace; a target time also as `at`."""
        looked_up = [step for step in self.steps if isinstance(step, Executed) and step.effects.reads]
        saved = {
            name: Parameter(name, Type.TIME if path.endswith("target_time") else Type.TEXT)
            for step in looked_up
            for name, path in step.effects.saves
        }
        times = [each for each in saved.values() if each.type is Type.TIME]
        own_names = {parameter.name for parameter in self.parameters} | self.questions.keys()
        named = {**({"at": times[0]} if times else {}), **saved}
        return {name: each for name, each in named.items() if name not in own_names}

    def step(self, id: str) -> BookStep | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == id), None)

    def produced(self) -> Iterator[tuple[str, BookStep | None]]:
        """Each variable with the step that gives it a value; parameters, and RUN_DIR, come from outside."""
        yield RUN_DIR, None
        for parameter in self.parameters:
            yield parameter.variable, None
        for step in self.steps:
            yield from ((name, step) for name in step.gives)
