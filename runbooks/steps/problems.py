"""What is wrong with a book, collected while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """Something in a book that cannot stand. `rule`: its stable name."""

    line: int
    rule: str
    text: str


@dataclass
class Reader:
    """Collects problems instead of stopping at the first."""

    problems: list[Problem] = field(default_factory=list)

    def wrong(self, line: int, rule: str, text: str) -> None:
        """Add a problem of line `line`, found by `rule`."""
        self.problems.append(Problem(line, rule, text))
