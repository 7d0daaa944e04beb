"""Where one session stands while its log is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from recovery.incident.log_record import LogRecord
from recovery.incident.pgaudit_records import Audited
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.incident.statement_text import TransactionControl
from recovery.incident.temporary_tables import Scratch


class Origin(Enum):
    """Who tells of a message: the simple protocol, the extended one, or pgaudit, which tells of either."""

    SIMPLE = "statement"
    EXTENDED = "execute"
    AUDIT = "AUDIT"


@dataclass(frozen=True)
class LogMessage:
    """One message of a log record. `duration_ms`: set when it has ended already."""

    text: str
    origin: Origin
    duration_ms: float | None = None


@dataclass
class Group:
    """The statements of one message to the server, until the log shows how it ended.

    `text`: as an error would quote it. `ends`: the transaction that it ends. `earlier`: transactions that the same
    message began and ended before. `done`: the record that logged its end and duration together; its DETAIL may follow.
    """

    text: str
    sightings: list[Sighting]
    ends: TransactionControl | None = None
    earlier: tuple[Group, ...] = ()
    done: tuple[LogRecord, float] | None = None
    number: int = 0  # pgaudit's
    origin: Origin = Origin.SIMPLE

    def followed(self) -> Group:
        """The same message goes on behind the end of this transaction."""
        return replace(self, sightings=[], ends=None, earlier=(*self.earlier, self), done=None)

    def is_audited(self, audit: Audited) -> bool:
        """Whether a record of pgaudit belongs to this very message."""
        if self.number:
            return self.number == audit.number
        return not audit.text or audit.text in (self.text, *(sighting.text for sighting in self.sightings))


@dataclass
class LoggedSession:
    """`block`: in a transaction block; None: not known, its beginning is not in the log."""

    block: bool | None
    whose: tuple[str, str] | None = None  # database and role
    pending: list[Sighting] = field(default_factory=list)
    savepoints: list[tuple[str, int]] = field(default_factory=list)
    failed: bool = False
    running: Group | None = None
    last: LogRecord | None = None
    erring: LogRecord | None = None  # an error whose statement stands on the next line
    batch: list[Sighting] = field(default_factory=list)  # executed outside a block, and perhaps not synced yet
    scratch: Scratch = field(default_factory=Scratch)

    def executed(self, group: Group) -> None:
        """Remember what counts as committed only while no error follows before the next Sync."""
        if group.origin is Origin.EXTENDED:
            self.batch += [sighting for sighting in group.sightings if sighting.outcome is Outcome.COMMITTED]

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT: the latest of that name goes, and all behind it."""
        at = next((i for i in reversed(range(len(self.savepoints))) if self.savepoints[i][0] == name), None)
        if at is not None:
            del self.savepoints[at:]

    def is_open(self) -> bool:
        """Whether what follows may tell how something ended."""
        running = self.running
        busy = running and (running.sightings or running.earlier or running.done or running.ends)
        return bool(self.pending or self.erring or busy)

    def open(self) -> list[Sighting]:
        """All of which the end is not known."""
        groups = (*self.running.earlier, self.running) if self.running else ()
        return [*self.pending, *(sighting for group in groups for sighting in group.sightings)]
