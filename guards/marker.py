"""A mark on a database, by its owner: disposable until a day, or protected. Kept in COMMENT ON DATABASE.

It is bound to the server's system identifier and the database's oid, so a dump that is restored elsewhere, or a clone
by TEMPLATE, bears no valid mark. It is no setting: those are spoofed by SET and PGOPTIONS (facts/guards.md §0.7).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from guards.identity import Connection, ServerIdentity

KEY = "rowback_guard"
State = Literal["disposable", "protected"]


@dataclass(frozen=True)
class Marker:
    """What is written on a database. `until`: ISO 8601, UTC; None for a protection, which does not run out."""

    state: State
    system_identifier: str
    database_oid: int
    by: str
    reason: str
    until: str | None = None

    def objections(self, identity: ServerIdentity, now: datetime) -> list[str]:
        """Why this mark does not speak of that database now; empty when it does."""
        found = []
        if self.system_identifier != identity.system_identifier:
            found.append("its mark was made on another server: this is a copy")
        elif self.database_oid != identity.database_oid:
            found.append("its mark was made for another database: this is a copy")
        if self.until is not None and datetime.fromisoformat(self.until) <= now:
            found.append(f"its mark ran out at {self.until}")
        return found


def read_marker(comment: str | None) -> Marker | None:
    """The mark in a database's comment. What cannot be read is no mark."""
    try:
        found = json.loads(comment or "")[KEY]
        marker = Marker(**found)
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
    _comment(connection, as_comment(marker, _own_comment(connection)))


def as_comment(marker: Marker, comment: str | None = None) -> str:
    """The mark as COMMENT ON DATABASE holds it; `comment`: the database's own, kept beside."""
    return json.dumps({KEY: asdict(marker), "comment": comment})


def remove_marker(connection: Connection) -> None:
    """Take the mark off and bring the comment back."""
    _comment(connection, _own_comment(connection))


def in_seconds(seconds: float) -> str:
    """A moment from now, as `until` wants it."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC).isoformat(timespec="seconds")


def _own_comment(connection: Connection) -> str | None:
    row = connection.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
    ).fetchone()
    text = row[0] if row else None
    try:
        known = json.loads(text or "")
        return known["comment"] if KEY in known else text
    except (ValueError, TypeError, KeyError):
        return str(text) if text is not None else None


def _comment(connection: Connection, text: str | None) -> None:
    # COMMENT takes no parameters: the server quotes the name and the text itself.
    row = connection.execute(
        "select format('comment on database %%I is %%L', current_database(), %s::text)", (text,)
    ).fetchone()
    assert row is not None
    connection.execute(row[0])
