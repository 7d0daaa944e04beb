"""How what a session ran ended. Committed is only what the log shows; what it leaves open is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recovery.incident.log_record import LogRecord
from recovery.incident.session_state import Group, LoggedSession
from recovery.incident.statement_sighting import Outcome, Sighting

NOT_LOGGED = "BEGIN, COMMIT and ROLLBACK are not logged here: it may have been rolled back"
IN_A_FUNCTION = "it ran inside a function or procedure, which may have taken it back"
IN_A_BATCH = "an error followed, and it may have been sent in one batch with what failed: then it was rolled back"
Keep = Callable[[Sighting], bool]


def whose(record: LogRecord) -> tuple[str, str]:
    """Database and role: what is logged depends on both."""
    return record.database, record.role


class Outcomes:
    """`found`: what ended and is worth keeping.

    `prepared`: transactions that wait for COMMIT PREPARED. `settings`: how often the server's logging was set anew so
    far. `sessions`: all that are known.
    """

    def __init__(self, keep: Keep, sessions: Mapping[str, LoggedSession]) -> None:
        self.found: list[Sighting] = []
        self.settings = 0
        self._controls_logged: set[tuple[str, str, int]] = set()
        self.prepared: dict[str, list[Sighting]] = {}
        self._keep, self._sessions = keep, sessions

    def prove(self, database_and_role: tuple[str, str]) -> None:
        """A BEGIN or COMMIT of theirs is logged, or something that is logged only where those are."""
        self._controls_logged.add((*database_and_role, self.settings))

    def judge_assumed(self) -> None:
        """What counts as committed for want of a BEGIN stays so only where a BEGIN would have been logged."""
        # A ROLLBACK that is not logged takes temporary tables with it, and leaves the name to a real one.
        self.found = [each for each in self.found if not (each.scratch and self._shows_controls(each))]
        for sighting in (s for s in self.found if s.assumed):
            if not self._shows_controls(sighting):
                sighting.outcome, sighting.why = Outcome.UNKNOWN, NOT_LOGGED

    def _shows_controls(self, sighting: Sighting) -> bool:
        return (*whose(sighting.record), sighting.settings) in self._controls_logged

    def succeeded(self, session: LoggedSession, record: LogRecord, duration_ms: float | None = None) -> None:
        """The running message has ended, and the log has no error of it."""
        group = session.running
        if group is None:
            return
        for earlier in group.earlier:
            self._ended(session, earlier, record)
        for sighting in group.sightings:
            sighting.duration_ms = duration_ms if duration_ms is not None else sighting.duration_ms
            sighting.xid = sighting.xid or record.xid
        session.running = None
        if group.ends is not None:
            self._ended(session, group, record)
        elif session.block:
            session.pending += group.sightings
        elif self._is_its_own(session, record, duration_ms):
            self.commit(group.sightings, record, record.at)
        elif session.block is None:
            session.pending += group.sightings
        else:
            self.commit(group.sightings, record, record.at, assumed=True)
            session.executed(group)

    @staticmethod
    def _is_its_own(session: LoggedSession, record: LogRecord, duration_ms: float | None) -> bool:
        """Csvlog and jsonlog: a duration line with a virtual transaction and no real one, right behind a write."""
        return bool(record.virtual and not record.xid and duration_ms is not None and session.block is not True)

    def _ended(self, session: LoggedSession, group: Group, record: LogRecord) -> None:
        """A COMMIT, ROLLBACK or PREPARE TRANSACTION went well."""
        control, everything = group.ends, [*session.pending, *group.sightings]
        assert control is not None
        session.pending, session.savepoints = [], []
        match control.verb:
            case "commit" if not session.failed:
                # Where BEGIN is not known of, a ROLLBACK may have stood between, and not been logged.
                self.commit(everything, record, record.at, assumed=session.block is not True)
            case "prepare":
                self.prepared[control.name] = everything
            case "commit prepared":
                self.commit(self._prepared_as(control.name, record), record, record.at)
                session.pending = everything
            case "rollback prepared":
                for sighting in self._prepared_as(control.name, record):
                    self._end(sighting, Outcome.ROLLED_BACK, "ROLLBACK PREPARED")
                session.pending = everything
            case _:
                session.scratch.forget()
                why = "its transaction had failed" if control.verb == "commit" else "ROLLBACK"
                for sighting in everything:
                    self._end(sighting, Outcome.ROLLED_BACK, why)
        if not control.verb.endswith("prepared"):
            session.block, session.failed = control.chains, False

    def _prepared_as(self, name: str, record: LogRecord) -> list[Sighting]:
        """What a prepared transaction did. Its COMMIT or ROLLBACK PREPARED proves that PREPARE succeeded."""
        for session in self._sessions.values():
            group = session.running
            if group and group.ends and (group.ends.verb, group.ends.name) == ("prepare", name):
                self.succeeded(session, record)
        return self.prepared.pop(name, [])

    def rolled_back_to(self, session: LoggedSession, group: Group, name: str) -> None:
        """A savepoint took back what was run since: those statements cost nothing."""
        session.pending += group.sightings
        group.sightings = []
        session.scratch.forget()
        at = next((index for point, index in reversed(session.savepoints) if point == name), None)
        if at is None:  # set before this log, or before what is known of this session
            self.unknown(session.pending, f"ROLLBACK TO {name}, which was set before all that is known")
            session.pending, session.failed = [], False
            return
        for sighting in session.pending[at:]:
            self._end(sighting, Outcome.ROLLED_BACK, f"ROLLBACK TO {name}")
        session.pending, session.failed = session.pending[:at], False

    def failed(self, session: LoggedSession, group: Group, why: str) -> bool:
        """A message failed, and with it all that it did; True when it was the end of its transaction as well."""
        for sighting in (sighting for earlier in group.earlier for sighting in earlier.sightings):
            self._end(sighting, Outcome.UNKNOWN, "a later statement of the same message failed")
        lost = [*group.sightings, *(session.pending if group.ends else [])]
        for sighting in lost:
            self._end(sighting, Outcome.ROLLED_BACK, why)
        if group.ends is None:
            return False
        session.pending, session.block, session.failed = [], False, False
        return True

    @staticmethod
    def batch_failed(session: LoggedSession) -> None:
        """One of the statements between two Syncs failed, so none of them is known to have been committed.

        The extended protocol makes one transaction of them, and logs none (PostgreSQL documentation 55.2.3).
        """
        for sighting in session.batch:
            sighting.outcome, sighting.why, sighting.assumed = Outcome.UNKNOWN, IN_A_BATCH, False
        session.batch.clear()

    def gone(self, session: LoggedSession, why: str) -> None:
        """The session ended: what was not committed by then is rolled back."""
        ends = session.running.ends if session.running else None
        if ends is not None and ends.verb != "rollback":
            self.unknown(session.open(), f"{why} before it is told whether its {ends.verb.upper()} was over")
        elif session.block:
            for sighting in session.open():
                self._end(sighting, Outcome.ROLLED_BACK, why)
        else:
            # Outside a block each was its own transaction; whether the last one was over is not told.
            self.unknown(session.open(), f"{why} before anything else was told of it")
        session.pending, session.running, session.block, session.failed = [], None, False, False
        session.savepoints, session.batch = [], []
        session.scratch.forget()

    def unknown(self, sightings: Iterable[Sighting], why: str) -> None:
        """The log does not show how these ended; `why` says for which reason."""
        for sighting in sightings:
            self._end(sighting, Outcome.UNKNOWN, why)

    def commit(
        self, sightings: Iterable[Sighting], record: LogRecord, until_s: float, *, assumed: bool = False
    ) -> None:
        """These were committed, at `until_s` at the latest.

        `assumed`: no record says so, the next statement implies it.
        """
        for sighting in sightings:
            sighting.until_s, sighting.assumed = until_s, assumed and not sighting.nested
            if sighting.nested:
                self._end(sighting, Outcome.UNKNOWN, IN_A_FUNCTION)
            else:
                why = "no error followed, and BEGIN is logged here" if assumed else "the log shows its end"
                self._end(sighting, Outcome.COMMITTED, why)

    def _end(self, sighting: Sighting, outcome: Outcome, why: str) -> None:
        sighting.outcome, sighting.why = outcome, why
        if self._keep(sighting):
            self.found.append(sighting)
