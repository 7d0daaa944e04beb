"""Records → what each session ran, and whether it was committed.

A statement is committed only when the log shows it: its own success outside a transaction block, or the success of its
COMMIT. Where BEGIN and COMMIT are not logged (log_statement below `all`, no durations) that is unknown, except in
csvlog and jsonlog, where a duration line without a transaction id tells of a statement that was its own transaction
(facts/row-level.md §1.7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from recovery.incident.audit import Audited, audited
from recovery.incident.records import Record
from recovery.incident.sightings import Outcome, Sighting
from recovery.incident.state import Group, Session
from recovery.incident.texts import Control, control_of, pieces, prepared_text

NOTHING_FOLLOWS = "nothing of its session follows in the log"
BEGAN_BEFORE = "its session began before this log, and no BEGIN, COMMIT or ROLLBACK of it follows"
Keep = Callable[[Sighting], bool]


def _whose(record: Record) -> tuple[str, str]:
    return record.database, record.role


_EXECUTED = re.compile(
    r"(?:duration: ([\d.]+) ms  )?(statement|execute (?:fetch from )?[^:]*|parse [^:]*|bind [^:]*): (.*)", re.DOTALL
)
# Logged before it runs, a read stands there by log_statement = all alone, and that logs BEGIN and COMMIT as well.
_READ = re.compile(r"\s*(?:select|show|values|table)\b(?!.*(?:;|\binto\b))", re.IGNORECASE | re.DOTALL)
_DURATION = re.compile(r"duration: ([\d.]+) ms\s*$")
_FRESH = ("connection received", "connection authorized", "connection authenticated", "replication connection")
_STARTED = ("database system is ready to accept", "starting PostgreSQL")
_CRASHED = ("all server processes terminated", "terminating any other active server processes")


class Sessions:
    """Feed records in their order, then `finish`. `keep`: which sightings are worth remembering."""

    def __init__(self, keep: Keep = lambda sighting: True) -> None:
        self.found: list[Sighting] = []
        self.controls_logged: set[tuple[str, str]] = set()  # databases and roles whose BEGIN or COMMIT is in the log
        self.open_pids: set[bytes] = set()
        self._keep = keep
        self._sessions: dict[str, Session] = {}
        self._prepared: dict[str, list[Sighting]] = {}
        self._from_the_start = False

    def noted(self, pid: bytes, verb: str) -> bool:
        """BEGIN ("begin") or the end of a transaction ("end") in a session that is known and has nothing open; False
        where that is not so, or where sessions are not told by their process."""
        session = self._sessions.get(pid.decode())
        if session is None or session.whose is None or session.is_open():
            return False
        self.controls_logged.add(session.whose)
        session.running, session.savepoints = None, []
        session.block, session.failed = verb == "begin", False
        return True

    def feed(self, record: Record) -> None:
        """Take one record into account."""
        message = record.message
        if not record.pid or message.startswith(_STARTED + _CRASHED):
            self._of_the_server(message)
            return
        session = self._session(record)
        self._take(session, record)
        # Of these everything matters; a reader may pass over what is plain in the others.
        if session.is_open():
            self.open_pids.add(str(record.pid).encode())
        else:
            self.open_pids.discard(str(record.pid).encode())

    def _take(self, session: Session, record: Record) -> None:
        message = record.message
        if record.severity == "STATEMENT":
            self._erred(session, record, message)
            return
        if record.severity == "DETAIL":
            self._detail(session, message)
            return
        if session.running and session.running.done:
            self._succeeded(session, *session.running.done)
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
                self._succeeded(session, *session.running.done)
            if session.erring:
                self._erred(session, session.erring, "")
            self._unknown(session.open(), NOTHING_FOLLOWS if session.block is not None else BEGAN_BEFORE)
        for sightings in self._prepared.values():
            self._unknown(sightings, "its transaction was prepared, and its end is not in the log")
        doubtful = [s for s in self.found if s.assumed and _whose(s.record) not in self.controls_logged]
        for sighting in doubtful:
            sighting.outcome = Outcome.UNKNOWN
            sighting.why = "BEGIN, COMMIT and ROLLBACK are not logged here: it may have been rolled back"
        return sorted(self.found, key=lambda sighting: sighting.from_s)

    def _unknown(self, sightings: Iterable[Sighting], why: str) -> None:
        for sighting in sightings:
            self._end(sighting, Outcome.UNKNOWN, why)

    def _session(self, record: Record) -> Session:
        session = self._sessions.get(record.session)
        if session is None:
            session = self._sessions[record.session] = Session(False if self._from_the_start else None)
            session.whose = _whose(record)
        return session

    def _of_the_server(self, message: str) -> None:
        if message.startswith(_STARTED):
            self._from_the_start = True
        if message.startswith(_STARTED + _CRASHED):
            for session in self._sessions.values():
                self._gone(session, "the server went down")
            self._sessions.clear()

    def _log(self, session: Session, record: Record) -> None:
        message = record.message
        if found := _DURATION.match(message):
            self._succeeded(session, record, float(found[1]))
        elif found := _EXECUTED.match(message):
            if found[2].startswith(("parse", "bind", "execute fetch from")):
                self._succeeded(session, record)
                return
            self._ran(session, record, found[3], float(found[1]) if found[1] else None)
            if record.detail:
                self._detail(session, record.detail)
        elif audit := audited(message):
            self._audited(session, record, audit)
        elif message.startswith(_FRESH):
            self._gone(session, "its session ended")
            session.block = False
        elif message.startswith("disconnection"):
            self._gone(session, "its session ended")
            del self._sessions[record.session]

    def _ran(self, session: Session, record: Record, text: str, duration_ms: float | None) -> None:
        """A message with statements began; with a duration it is over already."""
        if session.running and session.running.text == text and duration_ms is None:
            return  # told twice
        self._succeeded(session, record)
        session.running = group = Group(text, [])
        began = record.at - (duration_ms or 0.0) / 1000
        parts = [(piece, control_of(piece)) for piece in pieces(text)]
        # A message of several statements may stand here for the sake of one of them.
        if all(control for _, control in parts) or (duration_ms is None and _READ.match(text)):
            self.controls_logged.add(_whose(record))
        for piece, control in parts:
            if control:
                if group.ends is not None:  # one message may hold several transactions
                    group = session.running = Group(text, [], earlier=(*group.earlier, group))
                self._control(session, group, control, record)
            else:
                if group.ends is not None:
                    group = session.running = Group(text, [], earlier=(*group.earlier, group))
                sighting = Sighting(piece, record, began, xid=record.xid, commit_from_s=began)
                group.sightings.append(sighting)
        if duration_ms is not None:
            session.running.done = record, duration_ms

    def _control(self, session: Session, group: Group, control: Control, record: Record) -> None:
        match control.verb:
            case "begin":
                if session.block is None:  # what came before was no part of a block
                    self._commit(session.pending, record, record.at)
                    session.pending = []
                session.pending += group.sightings
                group.sightings = []
                session.block, session.failed, session.savepoints = True, False, []
            case "savepoint":
                session.savepoints.append((control.name, len(session.pending) + len(group.sightings)))
            case "release":
                session.savepoints = [each for each in session.savepoints if each[0] != control.name]
            case "rollback to":
                self._rollback_to(session, group, control.name)
            case _:
                group.ends = control
                for sighting in (*session.pending, *group.sightings):
                    sighting.commit_from_s = record.at

    def _rollback_to(self, session: Session, group: Group, name: str) -> None:
        session.pending += group.sightings
        group.sightings = []
        at = next((index for point, index in reversed(session.savepoints) if point == name), None)
        if at is None:
            return
        for sighting in session.pending[at:]:
            self._end(sighting, Outcome.ROLLED_BACK, f"ROLLBACK TO {name}")
        session.pending, session.failed = session.pending[:at], False

    def _succeeded(self, session: Session, record: Record, duration_ms: float | None = None) -> None:
        """Whatever ran before is over, and no error was told of it."""
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
            self._commit(group.sightings, record, record.at)
        elif session.block is None:
            session.pending += group.sightings
        else:
            self._commit(group.sightings, record, record.at, assumed=True)

    @staticmethod
    def _is_its_own(session: Session, record: Record, duration_ms: float | None) -> bool:
        """csvlog and jsonlog: a duration line with a virtual transaction and no real one, right behind a write."""
        return bool(record.virtual and not record.xid and duration_ms is not None and session.block is not True)

    def _ended(self, session: Session, group: Group, record: Record) -> None:
        """A COMMIT, ROLLBACK or PREPARE TRANSACTION went well."""
        control, everything = group.ends, [*session.pending, *group.sightings]
        assert control is not None
        session.pending, session.savepoints = [], []
        match control.verb:
            case "commit" if not session.failed:
                self._commit(everything, record, record.at)
            case "prepare":
                self._prepared[control.name] = everything
            case "commit prepared":
                self._commit(self._prepared_as(control.name, record), record, record.at)
                session.pending = everything
            case "rollback prepared":
                for sighting in self._prepared_as(control.name, record):
                    self._end(sighting, Outcome.ROLLED_BACK, "ROLLBACK PREPARED")
                session.pending = everything
            case _:
                why = "its transaction had failed" if control.verb == "commit" else "ROLLBACK"
                for sighting in everything:
                    self._end(sighting, Outcome.ROLLED_BACK, why)
        if not control.verb.endswith("prepared"):
            session.block, session.failed = control.chains, False

    def _prepared_as(self, name: str, record: Record) -> list[Sighting]:
        """What a prepared transaction did. Whoever ends it proves that preparing it went well."""
        for session in self._sessions.values():
            group = session.running
            if group and group.ends and (group.ends.verb, group.ends.name) == ("prepare", name):
                self._succeeded(session, record)
        return self._prepared.pop(name, [])

    def _error(self, session: Session, record: Record) -> None:
        if record.severity in ("FATAL", "PANIC"):
            self._gone(session, record.message)
        elif record.statement:
            self._erred(session, record, record.statement)
        else:
            session.erring = record

    def _erred(self, session: Session, record: Record, text: str) -> None:
        """An error and, where it is told, the text that it stopped. A text that is not the running one tells that the
        running one had gone well before."""
        told, session.erring = session.erring or record, None
        if not told.error:
            return
        group = session.running
        if group is not None and text and text.rstrip() != group.text.rstrip():
            self._succeeded(session, record)
            group = session.running
        session.running = None
        if group is None and (control := control_of(text)) and control.verb == "commit":
            group = Group(text, [], control)  # told by its error alone
        if group is None or not self._failed(session, group, told.message):
            session.failed = session.block is not False

    def _failed(self, session: Session, group: Group, why: str) -> bool:
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

    def _gone(self, session: Session, why: str) -> None:
        """The session ended: what was not committed by then is rolled back."""
        if session.block:
            for sighting in session.open():
                self._end(sighting, Outcome.ROLLED_BACK, why)
        else:
            # Outside a block each was its own transaction; whether the last one was over is not told.
            self._unknown(session.open(), f"{why} before anything else was told of it")
        session.pending, session.running, session.block, session.failed = [], None, False, False

    def _detail(self, session: Session, message: str) -> None:
        group = session.running
        if group is None:
            return
        if message.startswith("prepare: "):
            for sighting in group.sightings:
                sighting.text = prepared_text(message[len("prepare: ") :])
        elif message.lower().startswith("parameters: "):
            for sighting in group.sightings:
                sighting.parameters = message[len("parameters: ") :]

    def _audited(self, session: Session, record: Record, audit: Audited) -> None:
        """pgaudit tells of statements inside functions, too; those belong to the one that runs."""
        group = session.running
        if audit.nested == 1 and (group is None or not group.is_audited(audit)):
            self._ran(session, record, audit.text, None)
            group = session.running
        if group is None:
            return
        group.number = audit.number
        for sighting in group.sightings:
            sighting.objects = tuple(dict.fromkeys((*sighting.objects, *((audit.object,) if audit.object else ()))))
        if audit.nested > 1 and audit.text:
            began = group.sightings[0].from_s if group.sightings else record.at
            group.sightings.append(
                Sighting(audit.text, record, began, xid=record.xid, commit_from_s=began,
                         objects=(audit.object,) if audit.object else ())
            )  # fmt: skip

    def _commit(self, sightings: Iterable[Sighting], record: Record, until_s: float, *, assumed: bool = False) -> None:
        for sighting in sightings:
            sighting.until_s, sighting.assumed = until_s, assumed
            self._end(sighting, Outcome.COMMITTED, "the log shows its end")

    def _end(self, sighting: Sighting, outcome: Outcome, why: str) -> None:
        sighting.outcome, sighting.why = outcome, why
        if self._keep(sighting):
            self.found.append(sighting)
