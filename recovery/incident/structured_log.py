"""log_destination = csvlog and jsonlog: one record with its detail and statement in it, times in milliseconds."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from recovery.incident.log_line_prefix import LogClock
from recovery.incident.log_record import LogRecord, Wanted, everything
from recovery.incident.stderr_log import LARGEST_RECORD

# PostgreSQL documentation 20.8.4: the columns that every version since 9.0 has, in their order.
_TIME, _USER, _DATABASE, _PID, _CLIENT, _SESSION = 0, 1, 2, 3, 4, 5
_VIRTUAL, _XID, _SEVERITY, _MESSAGE, _DETAIL, _STATEMENT, _APPLICATION = 9, 10, 11, 13, 14, 19, 22
EXACT = True  # milliseconds
_START = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\n]{1,10},", re.MULTILINE)


def read_csv(chunks: Iterable[bytes], wanted: Wanted = everything) -> Iterator[LogRecord]:
    """Records of a csvlog. A record that is cut off or makes no sense is passed over, the next is not lost."""
    clock = LogClock()
    for raw in _between(chunks, _START):
        try:
            row = next(csv.reader(io.StringIO(raw.decode("utf-8", "replace"), newline=""), strict=True))
            if len(row) > _APPLICATION and wanted(row[_PID].encode(), row[_SEVERITY].encode(), row[_MESSAGE].encode()):
                yield _of_row(row, clock)
        except (csv.Error, ValueError, StopIteration):
            continue


def _of_row(row: list[str], clock: LogClock) -> LogRecord:
    text, _, zone = row[_TIME].rpartition(" ")
    return LogRecord(
        clock.seconds(text.encode(), zone.encode()),
        EXACT,
        row[_SESSION],
        int(row[_PID] or 0),
        row[_USER],
        row[_DATABASE],
        row[_CLIENT].rpartition(":")[0] or row[_CLIENT],
        row[_APPLICATION],
        row[_SEVERITY],
        row[_MESSAGE],
        row[_DETAIL],
        row[_STATEMENT],
        row[_VIRTUAL],
        int(row[_XID] or 0),
    )


def read_json(chunks: Iterable[bytes], wanted: Wanted = everything) -> Iterator[LogRecord]:
    """Records of a jsonlog (PostgreSQL 15 and later). A line that is no JSON object is passed over."""
    clock = LogClock()
    for line in _lines(chunks):
        try:
            fields = json.loads(line)
            pid = str(fields.get("pid", ""))
            severity, message = str(fields["error_severity"]), str(fields.get("message", ""))
            if wanted(pid.encode(), severity.encode(), message.encode()):
                yield _of_object(fields, clock)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError, OverflowError):
            continue


def _of_object(fields: dict[str, Any], clock: LogClock) -> LogRecord:
    text, _, zone = _text(fields["timestamp"]).rpartition(" ")
    return LogRecord(
        clock.seconds(text.encode(), zone.encode()),
        EXACT,
        _text(fields.get("session_id", fields.get("pid", ""))),
        int(fields.get("pid", 0)),
        _text(fields.get("user", "")),
        _text(fields.get("dbname", "")),
        _text(fields.get("remote_host", "")),
        _text(fields.get("application_name", "")),
        _text(fields["error_severity"]),
        _text(fields.get("message", "")),
        _text(fields.get("detail", "")),
        _text(fields.get("statement", "")),
        _text(fields.get("vxid", "")),
        int(fields.get("txid", 0)),
    )


def _text(value: object) -> str:
    """A value as text that can be printed and stored: JSON may hold halves of characters."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from whole
        if len(pending) > LARGEST_RECORD:
            pending = b""
    yield pending


def _between(chunks: Iterable[bytes], start: re.Pattern[bytes]) -> Iterator[bytes]:
    """Each record from where it begins to where the next does.

    A line inside a quoted field that looks like a beginning is none: quotes are counted.
    """
    pending = b""
    for chunk in chunks:
        pending += chunk
        *whole, pending = list(_cut(pending, start))
        yield from whole
        if len(pending) > LARGEST_RECORD:
            pending = b""
    yield pending


def _cut(block: bytes, start: re.Pattern[bytes]) -> Iterator[bytes]:
    """The last piece is what may go on in the next chunk."""
    begin, quotes, counted = 0, 0, 0
    for match in start.finditer(block):
        quotes += block.count(b'"', counted, match.start())
        counted = match.start()
        # An odd number so far: we are inside a quoted field, unless the record before was cut off; then the line
        # itself must read like the first fields of a record.
        if match.start() and (quotes % 2 == 0 or _FIELD_ROW.match(block, match.start())):
            yield block[begin : match.start()]
            begin, quotes = match.start(), 0
    yield block[begin:]


# time, user, database, pid, client, session, line number: no statement of anybody's looks so by chance.
_FIELD_ROW = re.compile(
    rb'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\n]{1,10},(?:"[^"\n]*"|),(?:"[^"\n]*"|),\d*,(?:"[^"\n]*"|),'
    rb"[0-9a-f]+\.[0-9a-f]+,\d+,"
)
