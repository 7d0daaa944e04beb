"""Where one session stands while its log is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from recovery.incident.audit import Audited
from recovery.incident.records import Record
from recovery.incident.sightings import Sighting
from recovery.incident.texts import Control


@dataclass
class Group:
    """What one message to the server does, until the log shows how it ended. `text`: as an error would quote it.
    `ends`: the transaction that it ends. `earlier`: transactions that the same message began and ended before.
    `done`: the record that told its end and duration at once; its DETAIL may follow.
    """

    text: str
    sightings: list[Sighting]
    ends: Control | None = None
    earlier: tuple[Group, ...] = ()
    done: tuple[Record, float] | None = None
    number: int = 0  # pgaudit's

    def is_audited(self, audit: Audited) -> bool:
        """Whether a record of pgaudit tells of this very message."""
        if self.number:
            return self.number == audit.number
        return not audit.text or audit.text in (self.text, *(sighting.text for sighting in self.sightings))


@dataclass
class Session:
    """`block`: in a transaction block; None: not known, its beginning is not in the log."""

    block: bool | None
    whose: tuple[str, str] | None = None  # database and role
    pending: list[Sighting] = field(default_factory=list)
    savepoints: list[tuple[str, int]] = field(default_factory=list)
    failed: bool = False
    running: Group | None = None
    erring: Record | None = None  # an error whose statement stands on the next line

    def is_open(self) -> bool:
        """Whether what follows may tell how something ended."""
        running = self.running
        busy = running and (running.sightings or running.earlier or running.done or running.ends)
        return bool(self.pending or self.erring or busy)

    def open(self) -> list[Sighting]:
        """All of which the end is not known."""
        groups = (*self.running.earlier, self.running) if self.running else ()
        return [*self.pending, *(sighting for group in groups for sighting in group.sightings)]
