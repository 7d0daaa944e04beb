"""Steps that a person does: `ask`, `approve`, and the items of task lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runbooks.steps.book_step import Fence, FencedStep, Parameter, PersonStep, Type


@dataclass(frozen=True)
class Ask(PersonStep, FencedStep):
    """A value that a person gives."""

    kind: ClassVar[str] = "ask"
    attributes: ClassVar[frozenset[str]] = frozenset({"id", "type", "name", "default", "choices"})
    parameter: Parameter

    @classmethod
    def of_fence(cls, fence: Fence) -> Ask:
        """The block's text is the question."""
        attributes, type = fence.attributes, fence.attributes.get("type", "text")
        if type not in list(Type):
            fence.wrong("ask", f"'{type}' is no type")
            type = "text"
        choices = tuple(attributes["choices"].split(",")) if attributes.get("choices") else ()
        if type == "choice" and not choices:
            fence.wrong("ask", "a choice needs choices=a,b")
        name = attributes.get("name", fence.id.replace("-", "_"))
        parameter = Parameter(name, Type(type), default=attributes.get("default"), choices=choices)
        return cls(fence.id, fence.line, " ".join(fence.body.split()), parameter)

    @property
    def gives(self) -> tuple[str, ...]:
        """The answer."""
        return (self.parameter.variable,)


@dataclass(frozen=True)
class Approve(PersonStep, FencedStep):
    """Another person agrees before it goes on."""

    kind: ClassVar[str] = "approve"
    attributes: ClassVar[frozenset[str]] = frozenset({"id"})

    @classmethod
    def of_fence(cls, fence: Fence) -> Approve:
        """The block's text is the question."""
        return cls(fence.id, fence.line, " ".join(fence.body.split()))


@dataclass(frozen=True)
class Confirm(PersonStep):
    """A person looks, and says that it is so: an item of a task list."""

    kind: ClassVar[str] = "confirm"
