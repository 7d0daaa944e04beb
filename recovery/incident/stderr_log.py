"""log_destination = stderr: records that begin with log_line_prefix, continuation lines that begin with a tab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from recovery.incident.log_line_prefix import LogClock, pattern_of
from recovery.incident.log_record import TRUNCATED, LogRecord, Wanted, everything

LARGEST_RECORD = 16 << 20  # a record without an end is cut here: nobody shall make us hold a whole file
# RDS ends a portion with it, and the next begins on the same line.
_CUT = re.compile(re.escape(TRUNCATED) + rb"(?!\n)")
_FIELDS = ("m", "y", "t", "z", "n", "p", "u", "d", "h", "r", "a", "c", "v", "x")


def read_stderr(
    chunks: Iterable[bytes], prefix: str, wanted: Wanted = everything, zone: str | None = None
) -> Iterator[LogRecord]:
    """Records of a stderr log, in the order of their lines; what is no record of that prefix is passed over.

    `chunks`: the bytes, cut anywhere. Memory: one chunk and one record. Never raises for what a line holds.
    """
    pattern = pattern_of(prefix)
    take = _taker(pattern, zone)
    pid_at, severity_at = pattern.groupindex.get("p", 0), pattern.groupindex["severity"]
    port_at = 0 if pid_at else pattern.groupindex.get("r", 0)
    for block in _whole_records(chunks, pattern):
        match = pattern.search(block)
        while match:
            following = pattern.search(block, match.end())
            body = block[match.end() : following.start() if following else len(block)]
            pid = match[pid_at] if pid_at else str(_port(match[port_at])).encode() if port_at else b""
            if wanted(pid, match[severity_at], body) and (record := take(match, body)):
                yield record
            match = following


def _whole_records(chunks: Iterable[bytes], pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """The same bytes, cut only where a record begins."""
    pending = b""
    for chunk in chunks:
        pending += chunk
        cut = _last_start(pending, pattern)
        if cut > 0 or len(pending) > LARGEST_RECORD:
            cut = cut or len(pending)
            yield _mended(pending[:cut])
            pending = pending[cut:]
    yield _mended(pending)


def _mended(block: bytes) -> bytes:
    return _CUT.sub(TRUNCATED + b"\n", block) if TRUNCATED in block else block


def _last_start(block: bytes, pattern: re.Pattern[bytes]) -> int:
    """Where the last record begins whose first line is whole; 0 for none but the first."""
    end = block.rfind(b"\n")
    while end > 0:
        line = block.rfind(b"\n", 0, end) + 1
        if pattern.match(block, line):
            return line
        end = line - 1
    return 0


def _taker(pattern: re.Pattern[bytes], zone: str | None) -> Callable[[re.Match[bytes], bytes], LogRecord | None]:
    """Turns a match and the message behind it into a record, or into nothing where its time is none."""
    clock = LogClock(zone)
    present = [name if name in pattern.groupindex else None for name in _FIELDS]

    def take(match: re.Match[bytes], body: bytes) -> LogRecord | None:
        m, y, t, z, n, p, u, d, h, r, a, c, v, x = (match[name] if name else None for name in present)
        try:
            at = clock.seconds(m or t or b"", y or z or b"") if m or t else float(n or 0)
        except ValueError:
            return None
        message = _text(body.rstrip(b"\n").replace(b"\n\t", b"\n"))
        return LogRecord(
            at,
            bool(m or n),
            _text(c or p or r),
            int(p or 0) or _process(c) or _port(r),
            _text(u),
            _text(d),
            _text(h or _host(r)),
            _text(a),
            match["severity"].decode(),
            message,
            virtual=_text(v),
            xid=int(x or 0),
        )

    return take


def _process(session: bytes | None) -> int:
    """%c: when the session began and its process, both in hexadecimal."""
    return int((session or b"").partition(b".")[2] or b"0", 16)


def _port(remote: bytes | None) -> int:
    """%r tells sessions apart where no process is named: its port belongs to one connection at a time."""
    port = (remote or b"").partition(b"(")[2].rstrip(b")")
    return int(port) if port.isdigit() else 0


def _host(remote: bytes | None) -> bytes:
    """%r: host and port."""
    return (remote or b"").split(b"(", 1)[0]


def _text(part: bytes | None) -> str:
    return (part or b"").decode("utf-8", "replace")
