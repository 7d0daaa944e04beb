"""The scale of danger and what is found in a text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property


class Danger(IntEnum):
    """From harmless to unknown. Where it cannot be decided what a text does, it counts as the worst."""

    READ = 0
    WRITE = 1  # adds or changes what it names one by one
    DESTRUCTIVE = 2  # whole tables, definitions, guards, or sessions of others
    CATASTROPHIC = 3  # databases, schemas, all that an owner has, the catalog itself
    UNKNOWN = 4

    def __str__(self) -> str:
        return self.name.lower()


class Reach(Enum):
    """What a statement reaches beyond the database of its session."""

    DATABASE = "database"  # named databases
    NEW_DATABASE = "new database"
    ROLE = "role"
    NEW_ROLE = "new role"
    SESSIONS = "sessions"  # of the named databases; of any where none is named
    SLOT = "replication slot"
    SERVER = "server"
    ELSEWHERE = "elsewhere"  # another server, by a connection string


@dataclass(frozen=True)
class Finding:
    """One thing that a text does. `objects`: what it names, as written. `why`: only where the verb does not say it.

    `cascade`: what hangs on the objects goes with them. `reach`: None within the database; `way`: the connection string
    by which it leaves the server, empty where that is not known.
    """

    danger: Danger
    verb: str
    objects: tuple[str, ...] = ()
    cascade: bool = False
    why: str = ""
    reach: Reach | None = None
    conninfo: str = ""

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

    @cached_property
    def reaching(self) -> tuple[Finding, ...]:
        """The findings that leave the database of the session."""
        return tuple(finding for finding in self.findings if finding.reach is not None)

    @property
    def worst(self) -> tuple[Finding, ...]:
        """The findings that are as bad as the whole."""
        return tuple(finding for finding in self.findings if finding.danger is self.danger)
