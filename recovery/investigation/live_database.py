"""What the live database still knows of an incident, asked piece by piece: one that cannot be had costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from guards.statements import Danger
from recovery.errors import RowbackError
from recovery.incident.counter_jumps import ComparedReadings, compare
from recovery.incident.rank_suspects import Closure, habits_of, same_table
from recovery.incident.session_tracking import LAST_COMMIT
from recovery.incident.statement_redaction import shape_of
from recovery.incident.statement_retention import danger_of, says_which
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.model.incident_findings import Reached, StatementReach
from recovery.postgres.connect import IMPATIENT, Session, connect, translate_errors
from recovery.postgres.connection_target import Target
from recovery.postgres.incident_traces import closure, commit_time_of, emptied, log_settings, read_counters, status_of
from recovery.postgres.row_traces import oldest_writer, row_traces
from recovery.store.counter_readings import reading_before

Answer = TypeVar("Answer")
NEAR_S = 60.0
FIRST_XID = 3  # the first normal transaction id; 2 is that of frozen rows


@dataclass
class LiveDatabase:
    """One database of the original. `resource_id`: of its instance. `silent`: what could not be asked, and why."""

    session: Session
    target: Target
    resource_id: str
    silent: list[str]
    _reached: dict[tuple[tuple[str, ...], StatementReach], list[Reached]] = field(default_factory=dict)

    def settings(self) -> Mapping[str, str]:
        """How it logs."""
        return self._ask_or("its log settings", lambda: log_settings(self.session), {})

    def since(self, begin: datetime) -> ComparedReadings:
        """What became of the tables since doctor looked at it from this machine, if it ever did."""
        then = reading_before(begin, self.resource_id, self.target.database)
        if then is None or then.at > datetime.now(UTC):
            return ComparedReadings()
        return self._ask_or("its counters", lambda: compare(then, read_counters(self.session)), ComparedReadings())

    def traces(self, since: ComparedReadings, table: str | None) -> list[str]:
        """What tables and rows tell, in words."""
        none: dict[str, str] = {}
        looks_emptied = self._ask_or("its emptied tables", lambda: emptied(self.session), none)
        without_jump = [trace for name, trace in looks_emptied.items() if name not in since.jumps]
        rows: list[str] = []
        if table:
            rows = self._ask_or(f"the rows of {table}", lambda: row_traces(self.session, table), rows)
        return [*since.dropped, *map(str, since.jumps.values()), *without_jump, *rows]

    def reach(self, since: ComparedReadings) -> Closure:
        """Which tables a statement reaches; each set of names is asked for once."""

        def reach(tables: Sequence[str], how: StatementReach) -> list[Reached]:
            named, none = (tuple(tables), how), list[Reached]()
            if named not in self._reached:
                hits = self._ask_or("its catalog", lambda: closure(self.session, tables, how), none)
                self._reached[named] = [_with_past(table, since) for table in hits]
            return self._reached[named]

        return reach

    def judge(self, sighting: Sighting) -> None:
        """Where the log names the transaction, the server knows its outcome, and perhaps when it was committed."""
        if not sighting.xid:
            return
        xid = sighting.xid
        if sighting.outcome is Outcome.UNKNOWN or sighting.why == LAST_COMMIT:
            status = self._ask_or(f"transaction {xid}", lambda: status_of(self.session, xid), None)
            if status:
                outcomes = {"committed": Outcome.COMMITTED, "aborted": Outcome.ROLLED_BACK}
                sighting.outcome = outcomes.get(status, Outcome.UNKNOWN)
                sighting.why = f"the server says that transaction {xid} is {status}"
        if sighting.outcome is not Outcome.COMMITTED:
            return
        if at := self._ask_or(f"transaction {xid}", lambda: commit_time_of(self.session, xid), None):
            sighting.until_s, sighting.why = at.timestamp(), f"{sighting.why}; commit timestamp {at:%H:%M:%S.%f}Z"

    def identify(self, sightings: Sequence[Sighting]) -> None:
        """Where no log names the transaction of an UPDATE of all rows.

        Its table's rows do, as long as most are as it left them. Where anything else may have rewritten many of them
        since, the rows tell of that, so none is named.
        """
        habits = habits_of(sightings)
        large = [
            each
            for each in sightings
            if not says_which(each.text) and (each.record.database, shape_of(each.text)) not in habits
        ]
        for sighting in sightings:
            table = None if sighting.xid else _updated_whole(sighting)
            if table is None or any(_rewrites(other, table) for other in large if other is not sighting):
                continue
            oldest = self._ask_or(f"the rows of {table}", partial(oldest_writer, self.session, table), None)
            if oldest and oldest.xid >= FIRST_XID and 2 * oldest.rows >= oldest.of and self._fits(oldest.xid, sighting):
                sighting.xid = oldest.xid
                sighting.why += f"; {oldest.rows:,} of {oldest.of:,} rows of {table} were written by transaction"
                sighting.why += f" {oldest.xid}, and none before it"

    def _fits(self, xid: int, sighting: Sighting) -> bool:
        """Whether a transaction was committed when the statement was over, where that is kept."""
        at = self._ask_or(f"transaction {xid}", partial(commit_time_of, self.session, xid), None)
        return at is None or sighting.from_s - 1 <= at.timestamp() <= (sighting.until_s or sighting.from_s) + NEAR_S

    def _ask_or(self, what: str, act: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            with translate_errors(self.session, self.target):
                return act()
        except RowbackError as error:
            self.silent.append(f"{what} could not be asked: {error.fact}")
            return otherwise


def _updated_whole(sighting: Sighting) -> str | None:
    """The table of which a statement gave every row a new version, if it was not taken back."""
    findings = danger_of(sighting.text).findings
    if len(findings) != 1 or sighting.outcome is Outcome.ROLLED_BACK:
        return None
    finding = findings[0]
    return finding.objects[0] if finding.verb == "UPDATE" and finding.danger is Danger.DESTRUCTIVE else None


def _rewrites(sighting: Sighting, table: str) -> bool:
    """Whether a statement may have given many rows of a table new versions.

    Every one that names the table and was not rolled back, and any statement of which that is unknown.
    """
    if sighting.outcome is Outcome.ROLLED_BACK:
        return False
    classified = danger_of(sighting.text)
    return classified.danger is Danger.UNKNOWN or any(
        same_table(table, name) for finding in classified.findings for name in finding.objects
    )


@contextmanager
def looked_at(target: Target, resource_id: str, silent: list[str]) -> Iterator[LiveDatabase]:
    """A session for reading that never waits for a lock. Raises what connecting raises."""
    with connect(target) as session:
        session.execute(IMPATIENT)
        yield LiveDatabase(session, target, resource_id, silent)


def _with_past(table: Reached, since: ComparedReadings) -> Reached:
    jump = since.jumps.get(table.table)
    if jump is None:
        return table
    return table.model_copy(update={"rows_before": jump.then.rows_estimate, "counted_at": jump.since})
