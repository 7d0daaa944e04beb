"""A whole log in one go: bytes in, sightings out. What cannot matter is passed over before it is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from recovery.incident.log_prefilter import Interest
from recovery.incident.log_record import Record, Wanted
from recovery.incident.session_tracking import Sessions
from recovery.incident.statement_retention import Keeper
from recovery.incident.statement_sighting import Sighting
from recovery.incident.stderr_log import read_stderr
from recovery.incident.structured_log import read_csv, read_json

Format = Literal["stderr", "csv", "json"]


@dataclass(frozen=True)
class Found:
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
) -> Found:
    """Everything that may have destroyed something.

    Memory does not grow with the log, but for about 1 kB per write of sessions that began before it where BEGIN is not
    logged.

    `prefix`: log_line_prefix, for stderr; `zone`: log_timezone.
    """
    keeper = keeper or Keeper()
    sessions, count = Sessions(keeper), 0
    first = last = None
    for record in _records(chunks, (prefix, zone), form, Interest(sessions, keeper.table)):
        first = record.at if first is None else first
        last, count = record.at, count + 1
        sessions.feed(record)
    return Found(tuple(sessions.finish()), count, first, last, keeper.dropped)


def _records(chunks: Iterable[bytes], begins: tuple[str, str | None], form: Format, wanted: Wanted) -> Iterator[Record]:
    match form:
        case "stderr":
            return read_stderr(chunks, begins[0], wanted, begins[1])
        case "csv":
            return read_csv(chunks, wanted)
        case "json":
            return read_json(chunks, wanted)
