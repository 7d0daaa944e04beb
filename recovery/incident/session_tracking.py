"""Records → what each session ran, and whether it was committed.

A statement is committed only when the log shows it: its own success outside a transaction block, or the success of its
COMMIT. Where BEGIN and COMMIT are not logged (log_statement below `all`, no durations) that is unknown, except in
csvlog and jsonlog, where a duration line without a transaction id tells of a statement that was its own transaction
(sources: ROWS-logs).
"""

from __future__ import annotations

import re

from recovery.incident.log_record import LogRecord
from recovery.incident.pgaudit_records import Audited, audited
from recovery.incident.session_state import Group, LoggedSession, LogMessage, Origin
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.incident.statement_text import TransactionControl, control_of, pieces, prepared_text
from recovery.incident.transaction_outcome import Keep, Outcomes, whose

NOTHING_FOLLOWS = "nothing of its session follows in the log"
BEGAN_BEFORE = "no BEGIN, COMMIT or ROLLBACK of its session is in this log, which may begin amid its transaction"
NO_SESSION = "the lines of this log name no session, so nothing tells its end"
LAST_COMMIT = "its COMMIT is the last of its session in the log, and no error follows"
OLDER_S = 60.0  # a log that begins so long before a session's first statement would show its BEGIN


_EXECUTED = re.compile(
    r"(?:duration: (\d{1,15}(?:\.\d{1,9})?) ms  )?"
    r"(statement|execute (?:fetch from )?[^:]*|parse [^:]*|bind [^:]*): (.*)",
    re.DOTALL,
)
# Logged before it runs, a read stands there by log_statement = all alone, and that logs BEGIN and COMMIT as well.
_READ = re.compile(r"\s*(?:select|show|values|table)\b(?!.*(?:;|\binto\b))", re.IGNORECASE | re.DOTALL)
_DURATION = re.compile(r"duration: (\d{1,15}(?:\.\d{1,9})?) ms\s*$")
SHORT_MS = 1.0  # log_min_duration_statement counts in whole milliseconds: with a shorter one in the log, all are
_FRESH = ("connection received", "connection authorized", "connection authenticated", "replication connection")
_STARTED = ("database system is ready to accept", "starting PostgreSQL")
_SET_ANEW = ('parameter "log_', 'parameter "pgaudit.')
_CRASHED = ("all server processes terminated", "terminating any other active server processes")


def _is_read(message: LogMessage) -> bool:
    return message.duration_ms is None and message.origin is not Origin.AUDIT and bool(_READ.match(message.text))


def _is_same(running: Group, message: LogMessage) -> bool:
    """Whether log_statement and pgaudit both tell of one message."""
    by_both = running.origin is not message.origin and Origin.AUDIT in (running.origin, message.origin)
    return running.text == message.text and message.duration_ms is None and by_both


class Sessions:
    """Feed records in their order, then `finish`. `keep`: which sightings are worth remembering."""

    def __init__(self, keep: Keep = lambda sighting: True) -> None:
        self.open_pids: set[bytes] = set()
        self._sessions: dict[str, LoggedSession] = {}
        self._outcomes = Outcomes(keep, self._sessions)
        self._from_the_start = False
        self._first_s: float | None = None

    def noted(self, pid: bytes, verb: str) -> bool:
        """Take BEGIN ("begin") or the end of a transaction ("end") into account for a session that has none open.

        Returns False where the session is not known, has a transaction open, or where the log does not name its
        process.
        """
        session = self._sessions.get(pid.decode())
        if session is None or session.whose is None or session.is_open():
            return False
        self._outcomes.prove(session.whose)
        session.running, session.savepoints = None, []
        session.block, session.failed = verb == "begin", False
        return True

    def feed(self, record: LogRecord) -> None:
        """Take one record into account."""
        message = record.message
        self._first_s = record.at if self._first_s is None else self._first_s
        if not record.pid or message.startswith(_STARTED + _CRASHED + _SET_ANEW):
            self._of_the_server(message)
            if not record.pid and record.severity == "LOG" and (match := _EXECUTED.match(message)):
                self._of_no_session(record, match[3])
            return
        session = self._session(record)
        session.last = record
        self._take(session, record)
        # Of these everything matters; a reader may pass over what is plain in the others.
        if session.is_open():
            self.open_pids.add(str(record.pid).encode())
        else:
            self.open_pids.discard(str(record.pid).encode())

    def _take(self, session: LoggedSession, record: LogRecord) -> None:
        message = record.message
        if record.severity == "STATEMENT":
            self._erred(session, record, message)
            return
        if record.severity == "DETAIL":
            self._detail(session, message)
            return
        if session.running and session.running.done:
            self._outcomes.succeeded(session, *session.running.done)
        if session.erring and record.severity not in ("HINT", "CONTEXT", "QUERY", "LOCATION"):
            self._erred(session, session.erring, "")
        if record.severity == "LOG":
            self._log(session, record)
        elif record.error:
            self._error(session, record)

    def finish(self) -> list[Sighting]:
        """All that was kept, in the order of their beginning; what is still open is unknown."""
        for session in self._sessions.values():
            if session.running and session.running.done:
                self._outcomes.succeeded(session, *session.running.done)
            if session.erring:
                self._erred(session, session.erring, "")
            self._cut_off(session)
        for sightings in self._outcomes.prepared.values():
            self._outcomes.unknown(sightings, "its transaction was prepared, and its end is not in the log")
        self._outcomes.judge_assumed()
        return sorted(self._outcomes.found, key=lambda sighting: sighting.from_s)

    def _cut_off(self, session: LoggedSession) -> None:
        """The log ends.

        A COMMIT that is the last of its session is one unless an error follows; so is a statement by itself in a log
        that would show its BEGIN.
        """
        ends, still = session.running.ends if session.running else None, session.open()
        if ends and ends.verb in ("commit", "commit prepared") and session.last and not session.failed:
            self._outcomes.succeeded(session, session.last)
            for sighting in still:
                sighting.why = LAST_COMMIT if sighting.outcome is Outcome.COMMITTED else sighting.why
            return
        alone = session.block is None and still and still[0].from_s - (self._first_s or 0.0) >= OLDER_S
        if alone and session.last:
            self._outcomes.commit(still, session.last, session.last.at, assumed=True)
        else:
            self._outcomes.unknown(still, NOTHING_FOLLOWS if session.block is not None else BEGAN_BEFORE)

    def _session(self, record: LogRecord) -> LoggedSession:
        session = self._sessions.get(record.session)
        if session is None:
            session = self._sessions[record.session] = LoggedSession(False if self._from_the_start else None)
        if session.whose != (now := whose(record)) and "[unknown]" not in now:
            if session.whose and "[unknown]" not in session.whose:  # the process id belongs to another by now
                self._outcomes.gone(session, "its session ended")
                session.block = None
            session.whose = now
        return session

    def _of_the_server(self, message: str) -> None:
        if message.startswith(_SET_ANEW):  # what was logged until now says nothing of what will be
            self._outcomes.settings += 1
        if message.startswith(_STARTED):
            self._from_the_start = True
        if message.startswith(_STARTED + _CRASHED):
            for session in self._sessions.values():
                self._outcomes.gone(session, "the server went down")
            self._sessions.clear()

    def _of_no_session(self, record: LogRecord, text: str) -> None:
        """The lines name no session: each statement stands by itself."""
        alone = (piece for piece in pieces(text) if not control_of(piece))
        self._outcomes.unknown((Sighting(piece, record, record.at) for piece in alone), NO_SESSION)

    def _log(self, session: LoggedSession, record: LogRecord) -> None:
        message = record.message
        if match := _DURATION.match(message):
            self._outcomes.succeeded(session, record, float(match[1]))
        elif match := _EXECUTED.match(message):
            if match[2].startswith(("parse", "bind", "execute fetch from")):
                self._outcomes.succeeded(session, record)
                return
            origin = Origin.EXTENDED if match[2].startswith("execute") else Origin.SIMPLE
            self._ran(session, record, LogMessage(match[3], origin, float(match[1]) if match[1] else None))
            if record.detail:
                self._detail(session, record.detail)
        elif audit := audited(message):
            self._audited(session, record, audit)
        elif message.startswith(_FRESH):
            self._outcomes.gone(session, "its session ended")
            session.block = False
        elif message.startswith("disconnection"):
            self._outcomes.succeeded(session, record)  # what interrupts a statement says so before
            self._outcomes.gone(session, "its session ended")
            del self._sessions[record.session]

    def _ran(self, session: LoggedSession, record: LogRecord, message: LogMessage) -> None:
        """A message with statements began; with a duration it is over already."""
        text, duration_ms = message.text, message.duration_ms
        if session.running and _is_same(session.running, message):
            return
        self._outcomes.succeeded(session, record)
        if message.origin is Origin.SIMPLE:  # it begins behind a Sync
            session.batch.clear()
        session.running = group = Group(text, [], origin=message.origin)
        began = record.at - (duration_ms or 0.0) / 1000
        parts = [(piece, control_of(piece)) for piece in pieces(text)]
        if all(control for _, control in parts) or _is_read(message):  # one of several may be here for another's sake
            self._prove(record, duration_ms)
        for piece, control in parts:
            if group.ends is not None:  # one message may hold several transactions
                group = session.running = group.followed()
            if control:
                self._control(session, group, control, record)
                continue
            settings = self._outcomes.settings
            sighting = Sighting(piece, record, began, xid=record.xid, settings=settings)
            sighting.scratch = session.scratch.takes(piece)
            group.sightings.append(sighting)
        if duration_ms is not None:
            session.running.done = record, duration_ms

    def _prove(self, record: LogRecord, duration_ms: float | None) -> None:
        """What stands in the log only where BEGIN and COMMIT do; a long one may stand there alone."""
        if duration_ms is None or duration_ms < SHORT_MS:
            self._outcomes.prove(whose(record))

    def _control(self, session: LoggedSession, group: Group, control: TransactionControl, record: LogRecord) -> None:
        match control.verb:
            case "begin":
                if session.block is None:  # what came before was no part of a block
                    self._outcomes.commit(session.pending, record, record.at, assumed=True)
                    session.pending = []
                session.pending += group.sightings
                group.sightings = []
                if session.block is not True:  # in a block it is but a warning
                    session.block, session.failed, session.savepoints = True, False, []
            case "savepoint":
                session.savepoints.append((control.name, len(session.pending) + len(group.sightings)))
            case "release":
                session.release(control.name)
            case "rollback to":
                self._outcomes.rolled_back_to(session, group, control.name)
            case _:
                group.ends = control

    def _error(self, session: LoggedSession, record: LogRecord) -> None:
        if record.severity in ("FATAL", "PANIC"):
            self._outcomes.gone(session, record.message)
        elif record.statement:
            self._erred(session, record, record.statement)
        else:
            session.erring = record

    def _erred(self, session: LoggedSession, record: LogRecord, text: str) -> None:
        """An error and, where the log has it, the text that it stopped.

        Where that text is not the running one, the running one had succeeded before.
        """
        error_report, session.erring = session.erring or record, None
        if not error_report.error:
            return
        session.scratch.forget()
        group = session.running
        elsewhere = (
            text.rstrip() != group.text.rstrip() if group and text else error_report.message.startswith("syntax error")
        )
        if group is not None and elsewhere:
            self._outcomes.succeeded(session, record)
            group = session.running
        self._outcomes.batch_failed(session)
        session.running = None
        if group is None and (control := control_of(text)) and control.verb == "commit":
            group = Group(text, [], control)  # told by its error alone
        if group is None or not self._outcomes.failed(session, group, error_report.message):
            session.failed = session.block is not False

    def _detail(self, session: LoggedSession, message: str) -> None:
        group = session.running
        if group is None:
            return
        if message.startswith("prepare: "):
            for sighting in group.sightings:
                sighting.text = prepared_text(message[len("prepare: ") :])
        elif message.lower().startswith("parameters: "):
            for sighting in group.sightings:
                sighting.parameters = message[len("parameters: ") :]

    def _audited(self, session: LoggedSession, record: LogRecord, audit: Audited) -> None:
        """Pgaudit tells of statements inside functions, too; those belong to the one that runs."""
        group = session.running
        if audit.nested == 1 and (group is None or not group.is_audited(audit)):
            self._ran(session, record, LogMessage(audit.text, Origin.AUDIT))
            group = session.running
        if group is None:
            return
        group.number = audit.number
        for sighting in group.sightings:
            sighting.objects = tuple(dict.fromkeys((*sighting.objects, *((audit.object,) if audit.object else ()))))
        if audit.nested > 1 and audit.text:
            began = group.sightings[0].from_s if group.sightings else record.at
            group.sightings.append(
                Sighting(
                    audit.text,
                    record,
                    began,
                    xid=record.xid,
                    nested=True,
                    settings=self._outcomes.settings,
                    objects=(audit.object,) if audit.object else (),
                )
            )
