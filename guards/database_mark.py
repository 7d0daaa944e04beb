"""A mark on a database, by its owner: disposable until a day, or within one run, or protected.

Kept in COMMENT ON DATABASE.

It is bound to the server's system identifier and the database's oid, so a dump that is restored elsewhere, or a clone
by TEMPLATE, bears no valid mark. It is no setting: those are spoofed by SET and PGOPTIONS (sources: GUARD-identity).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from guards import system_clock
from guards.guarded_run import this_run
from guards.server_identity import Connection, ServerIdentity

KEY = "rowback_guard"
TAKEN_OFF = "rowback_protections_taken_off"  # their trace, in the same comment
State = Literal["disposable", "protected"]


@dataclass(frozen=True)
class Marker:
    """What is written on a database.

    `until`: ISO 8601, UTC; None for a protection, which does not run out. `run`: the run of tests that made the
    database, where the mark is for that one alone.
    """

    state: State
    system_identifier: str
    database_oid: int
    by: str
    reason: str
    until: str | None = None
    run: str | None = None

    def objections(self, identity: ServerIdentity, now: datetime) -> list[str]:
        """Why this mark does not speak of that database now; empty when it does."""
        reasons = []
        if self.system_identifier != identity.system_identifier:
            reasons.append("its mark was made on another server: this is a copy")
        elif self.database_oid != identity.database_oid:
            reasons.append("its mark was made for another database: this is a copy")
        if self.until is not None and datetime.fromisoformat(self.until) <= now:
            reasons.append(f"its mark ran out at {self.until}")
        if self.run is not None and self.run != this_run().key:
            reasons.append("another run of tests made it for itself")
        return reasons


def read_marker(comment: str | None) -> Marker | None:
    """The mark in a database's comment. What cannot be read is no mark."""
    try:
        fields = json.loads(comment or "")[KEY]
        marker = Marker(**fields)
        if marker.until is not None:
            moment = datetime.fromisoformat(marker.until)
            return marker if moment.tzinfo is not None and marker.state in ("disposable", "protected") else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return marker if marker.state == "protected" else None


def unreadable(comment: str | None) -> bool:
    """Whether a comment bears a mark that this version does not understand: it may say `protected`."""
    return KEY in (comment or "") and read_marker(comment) is None


def write_marker(connection: Connection, marker: Marker) -> None:
    """Mark the database that `connection` is in; its comment is kept beside. Raises what the driver raises."""
    comment = _whole_comment(connection)
    _comment(connection, _document(marker, taken_off(comment), _own_part(comment)))


def as_comment(marker: Marker, own: str | None = None) -> str:
    """The mark as COMMENT ON DATABASE holds it; `own`: the database's own comment, kept beside."""
    return _document(marker, [], own)


def remove_marker(connection: Connection) -> None:
    """Take the mark off and bring the comment back."""
    comment = _whole_comment(connection)
    traces, own = taken_off(comment), _own_part(comment)
    _comment(connection, _document(None, traces, own) if traces else own)


@dataclass(frozen=True)
class TakenOff:
    """The trace of a protection: who had set it and why, who took it off and why, at what time (ISO 8601, UTC)."""

    by: str
    reason: str
    taken_off_by: str
    because: str
    at: str


def take_protection_off(connection: Connection, protection: Marker, by: str, because: str) -> None:
    """Take it off and leave its trace in the comment, which `guard show` prints. Raises what the driver raises."""
    comment = _whole_comment(connection)
    trace = TakenOff(protection.by, protection.reason, by, because, in_seconds(0))
    _comment(connection, _document(None, [*taken_off(comment), trace], _own_part(comment)))


def taken_off(comment: str | None) -> list[TakenOff]:
    """The traces in a database's comment, the oldest first."""
    try:
        return [TakenOff(**each) for each in json.loads(comment or "")[TAKEN_OFF]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def in_seconds(seconds: float) -> str:
    """A moment from now, as `until` wants it."""
    return (system_clock.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _whole_comment(connection: Connection) -> str | None:
    row = connection.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
    ).fetchone()
    return str(row[0]) if row and row[0] is not None else None


def _document(marker: Marker | None, traces: Sequence[TakenOff], own: str | None) -> str:
    parts: dict[str, object] = {}
    if marker:
        parts[KEY] = {name: value for name, value in asdict(marker).items() if name != "run" or value is not None}
    if traces:
        parts[TAKEN_OFF] = [asdict(trace) for trace in traces]
    return json.dumps({**parts, "comment": own})


def _own_part(comment: str | None) -> str | None:
    """What of a comment is the database's own."""
    try:
        content = json.loads(comment or "")
        return content["comment"] if KEY in content or TAKEN_OFF in content else comment
    except (ValueError, TypeError, KeyError, RecursionError):
        return comment


def _comment(connection: Connection, text: str | None) -> None:
    # COMMENT takes no parameters: the server quotes the name and the text itself.
    row = connection.execute(
        "select format('comment on database %%I is %%L', current_database(), %s::text)", (text,)
    ).fetchone()
    assert row is not None
    connection.execute(row[0])
