"""A whole log in one go: bytes in, sightings out. What cannot matter is passed over before it is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from recovery.incident.log_formats import FORMATS, Format, LineStart
from recovery.incident.log_prefilter import Interest
from recovery.incident.session_tracking import Sessions
from recovery.incident.statement_retention import Keeper
from recovery.incident.statement_sighting import Sighting


@dataclass(frozen=True)
class LogScan:
    """What a log holds.

    `records`: how many were looked at; `first_s`, `last_s`: from when to when those go; `dropped`: statements that were
    too many to keep.
    """

    sightings: tuple[Sighting, ...]
    records: int
    first_s: float | None
    last_s: float | None
    dropped: int


def find_in(
    chunks: Iterable[bytes],
    prefix: str,
    form: Format = "stderr",
    keeper: Keeper | None = None,
    zone: str | None = None,
) -> LogScan:
    """Everything that may have destroyed something.

    Memory does not grow with the log, but for about 1 kB per write of sessions that began before it where BEGIN is not
    logged.

    `prefix`: log_line_prefix, for stderr; `zone`: log_timezone.
    """
    keeper = keeper or Keeper()
    sessions, count = Sessions(keeper), 0
    first = last = None
    start, interest = LineStart(prefix, zone), Interest(sessions, keeper.table)
    for record in FORMATS[form].read(chunks, start, interest):
        first = record.at if first is None else first
        last, count = record.at, count + 1
        sessions.feed(record)
    return LogScan(tuple(sessions.finish()), count, first, last, keeper.dropped)
