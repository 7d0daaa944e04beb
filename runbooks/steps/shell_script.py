"""`sh`: a bash script. Nothing checks what it does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from guards.statements import Danger
from runbooks.steps.book_step import VARIABLE, Executed, Fence
from runbooks.steps.child_program import run_programs
from runbooks.steps.step_effects import effects_of
from runbooks.steps.surroundings import Surroundings

# Programs are led by hundreds of variables (LD_PRELOAD, OPENSSL_CONF, https_proxy, …): a book sets none but its own.
SHELL_PREFIX = "RUNBOOK_"
OF_BASH = {"HOME", "PATH", "USER", "SECONDS", "RANDOM", "PWD", "HOSTNAME", "LINENO", "EPOCHSECONDS", "BASHPID"}
_ASSIGNED = re.compile(r"(?:\b(?:for|read)\s+|\b)([A-Z][A-Z0-9_]*)(?:=|\s)")


@dataclass(frozen=True)
class Shell(Executed):
    """A bash script; parameters and saved values are variables with SHELL_PREFIX in its environment."""

    kind: ClassVar[str] = "sh"
    noun: ClassVar[str] = "script"
    reads_are_checked: ClassVar[bool] = False
    attributes: ClassVar[frozenset[str]] = frozenset({"id", "timeout", "undo", "exit", "expect", "save"})
    text: str

    @classmethod
    def of_fence(cls, fence: Fence) -> Shell:
        """Whether it reads is the author's word alone."""
        return cls(fence.id, fence.line, effects_of(fence, Danger.UNKNOWN), fence.body)

    @property
    def texts(self) -> Sequence[str]:
        """The script."""
        return (self.text,)

    @property
    def needs(self) -> set[str]:
        """Every $NAME that it does not assign itself."""
        return set(VARIABLE.findall(self.text)) - set(_ASSIGNED.findall(self.text))

    def sees(self, defined: set[str], connections: Collection[str]) -> set[str]:
        """The book's variables under the prefix, bash's own, and those that hold connections."""
        return {f"{SHELL_PREFIX}{name}" for name in defined} | OF_BASH | set(connections)

    def command_lines(self, values: Mapping[str, str]) -> list[list[str]]:
        """Bash that stops at the first failure."""
        return [["bash", "-euo", "pipefail", "-c", self.text]]

    def execute(self, around: Surroundings, number: int) -> dict[str, str]:
        """Run it with the book's values in its environment. Raises StepError, KeyboardInterrupt after its end."""
        values = {f"{SHELL_PREFIX}{name}": value for name, value in around.values.items()}
        programs = self.command_lines(around.values)
        return run_programs(programs, values, self.effects, around, around.output(self.id, number))
