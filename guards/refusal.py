"""What a guard says when it refuses or cannot do its work: one form, one exit code for each id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from guards.plain_text import plain

Id = Literal[
    "usage",
    "policy-invalid",
    "not-disposable",
    "mark-refused",
    "allow-forbidden",
    "server-unreachable",
    "migration-failed",
    "no-postgresql",
    "driver-unknown",
]
EXIT_CODES: Mapping[Id, int] = {
    "usage": 2,
    "policy-invalid": 2,
    "not-disposable": 21,
    "mark-refused": 27,
    "allow-forbidden": 28,
    "server-unreachable": 30,
    "migration-failed": 33,
    "no-postgresql": 3,
    "driver-unknown": 3,
}


class GuardError(Exception):
    """A refusal of the command line. `fact`: one line; `facts`: further ones; `state`: what was not done; `help`."""

    def __init__(self, id: Id, fact: str, *facts: str, state: str, help: str) -> None:
        fact, facts = plain(fact), tuple(map(plain, facts))
        super().__init__(fact)
        self.id, self.fact, self.facts, self.state, self.help = id, fact, facts, plain(state), plain(help)

    @property
    def helps(self) -> tuple[str, ...]:
        """The help, as errors with several ways on give theirs."""
        return (self.help,)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return EXIT_CODES[self.id]

    def __str__(self) -> str:
        word = "refused" if self.id == "not-disposable" else "error"
        lines = [f"{word}[{self.id}]: {self.fact}", *(f"  {line}" for line in self.facts)]
        return "\n".join([*lines, f"  {self.state}", f"  help: {self.help}"])
