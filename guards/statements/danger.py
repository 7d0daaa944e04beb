"""The scale of danger and what is found in a text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property


class Danger(IntEnum):
    """From harmless to unknown: whoever cannot say what a text does must take it for the worst."""

    READ = 0
    WRITE = 1  # adds or changes what it names one by one
    DESTRUCTIVE = 2  # whole tables, definitions, guards, or sessions of others
    CATASTROPHIC = 3  # more than was named: databases, schemas, everything that hangs on it
    UNKNOWN = 4

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One thing that a text does. `objects`: what it names, as written. `why`: only where the verb does not say it.

    `cascade`: what hangs on the objects goes with them.
    """

    danger: Danger
    verb: str
    objects: tuple[str, ...] = ()
    cascade: bool = False
    why: str = ""

    def __str__(self) -> str:
        named = f" {', '.join(self.objects)}" if self.objects else ""
        return f"{self.verb}{named}{' CASCADE' * self.cascade}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Classified:
    """The findings of a whole text, which may hold several statements."""

    findings: tuple[Finding, ...]

    @cached_property
    def danger(self) -> Danger:
        """The worst of them."""
        return max((finding.danger for finding in self.findings), default=Danger.READ)

    @property
    def worst(self) -> tuple[Finding, ...]:
        """The findings that are as bad as the whole."""
        return tuple(finding for finding in self.findings if finding.danger is self.danger)
