"""log_line_prefix as a pattern. PostgreSQL documentation 20.8.3; RDS uses `%t:%r:%u@%d:[%p]:` (sources: RDS-logs)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

OF_RDS = "%t:%r:%u@%d:[%p]:"
COMMON = (OF_RDS, "%m [%p] ", "%m [%p] %q%u@%d ", "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ", "%m|%u|%d|%c|")
SEVERITIES = (
    "LOG",
    "ERROR",
    "STATEMENT",
    "DETAIL",
    "FATAL",
    "PANIC",
    "WARNING",
    "NOTICE",
    "INFO",
    "HINT",
    "CONTEXT",
    "QUERY",
    "LOCATION",
    "DEBUG1",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "DEBUG5",
)
LONGEST, MOST_OFTEN = 500, 4
_FRACTION = re.compile(rb"\.\d{1,9}")
_DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_ZONE = r"(?: [A-Za-z]{1,6}| [+-]\d\d(?::?\d\d)?|[+-]\d\d(?::?\d\d)?)"
_SQLSTATE = r"(?:(?=[A-Z]{0,4}\d)[0-9A-Z]{5}: )?"  # log_error_verbosity = verbose
_ESCAPES = {
    "t": rf"(?P<t>{_DATE})(?P<z>{_ZONE})",
    "m": rf"(?P<m>{_DATE}\.\d{{3}})(?P<y>{_ZONE})",
    "n": r"(?P<n>\d+\.\d{3})",
    "p": r"(?P<p>\d{1,10})",
    "u": r"(?P<u>[^\n]{0,63}?)",
    "d": r"(?P<d>[^\n]{0,63}?)",
    "r": r"(?P<r>[^\s@]{0,255}?)",
    "h": r"(?P<h>[^\s@]{0,255}?)",
    "a": r"(?P<a>[^\n]*?)",
    "c": r"(?P<c>[0-9a-f]{1,16}\.[0-9a-f]{1,16})",
    "l": r"\d+",
    "v": r"(?P<v>\d*/?\d*)",
    "x": r"(?P<x>\d{1,10})",
    "e": r"\w{5}",
    "i": r"[^\n]*?",
    "b": r"[^\n]*?",
    "s": rf"{_DATE}{_ZONE}",
    "P": r"\d*",
    "Q": r"-?\d+",
    "L": r"[^\n]*?",
    "%": "%",
}


@lru_cache(maxsize=32)
def pattern_of(prefix: str) -> re.Pattern[bytes]:
    """A pattern for the start of each record: the prefix, the severity, and where the message begins.

    What comes after %q is optional: processes without a session stop there.
    """
    head, marked, tail = prefix.partition("%q")
    used_escapes: set[str] = set()
    body = _pattern(head, used_escapes) + (f"(?:{_pattern(tail, used_escapes)})?" if marked else "")
    text = rf"^{body}(?P<severity>{'|'.join(SEVERITIES)}):  {_SQLSTATE}"
    return re.compile(text.encode(errors="surrogateescape"), re.MULTILINE)  # as the shell passed it, whatever its bytes


def refuse_unusable(prefix: str) -> None:
    """A prefix names each thing once or twice; one that repeats a free text a hundred times would be matched for years.

    Raises usage.
    """
    most = max((prefix.count(f"%{escape}") for escape in _ESCAPES), default=0)
    if len(prefix) > LONGEST or most > MOST_OFTEN:
        raise RowbackError(
            ErrorId.USAGE,
            f"--log-line-prefix is no log_line_prefix: {prefix[:60]!r}"
            + (f" has {len(prefix)} characters" if len(prefix) > LONGEST else f" names one thing {most} times"),
            state=NOTHING_CREATED,
            help="say it as the server has it: psql -c 'show log_line_prefix'",
        )


def _pattern(prefix: str, used_escapes: set[str]) -> str:
    out = []
    for literal, pad, escape in re.findall(r"([^%]+)|%(-?\d*)(.)", prefix):
        if literal:
            out.append(re.escape(literal))
            continue
        expression = _ESCAPES.get(escape, "")
        if escape in used_escapes:  # a name may stand only once in a pattern
            expression = re.sub(r"\?P<\w>", "?:", expression)
        used_escapes.add(escape)
        out.append(rf" *{expression} *" if pad else expression)
    return "".join(out)


def guess(sample: bytes, *, configured: str | None = None) -> str | None:
    """The prefix that matches most lines of `sample`: `configured` if it matches any, otherwise a common one."""
    counts = [
        (len(pattern_of(prefix).findall(sample)), prefix) for prefix in ((configured,) if configured else ()) + COMMON
    ]
    if configured and counts[0][0]:
        return configured
    best = max(counts, key=lambda each: each[0])
    return best[1] if best[0] else None


def unclear_zone(sample: bytes, prefix: str) -> str | None:
    """The time zone abbreviation of a log's times if it has several offsets (BST, CST, IST); None if it has one."""
    pattern = pattern_of(prefix)
    match = pattern.search(sample)
    zones = [match[name] for name in ("z", "y") if name in pattern.groupindex] if match else []
    unclear = [zone for raw in zones if _offset_s(zone := raw.decode().strip(), _ANY_TIME) is None]
    return unclear[0] if unclear else None


def is_zone(name: str) -> bool:
    """Whether a name determines the offset of every moment: an IANA zone, or an offset itself."""
    return bool(name) and _offset_s(name, _ANY_TIME) is not None


def names_sessions(prefix: str) -> bool:
    """Whether lines of this prefix tell which session they belong to."""
    return any(name in pattern_of(prefix).groupindex for name in "pcr")


class LogClock:
    """Times of log lines as seconds since 1970.

    Neighbours share their second, so the last one is remembered. `zone`: log_timezone, for abbreviations that name no
    one offset.
    """

    def __init__(self, zone: str | None = None) -> None:
        self._text, self._at = b"", 0.0
        self._zone = zone

    def seconds(self, text: bytes, zone: bytes) -> float:
        """`text`: `2026-11-22 14:20:00`, with `.123` or without; `zone`: as it stands behind. Unknown ones are UTC.

        Raises ValueError for a date that is none.
        """
        whole, fraction = text[:19], text[19:]
        key = whole + zone
        if key != self._text:
            moment = datetime.strptime(whole.decode(), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 (the zone comes next)
            named = zone.decode().strip()
            offset = _offset_s(named, moment)
            if offset is None and self._zone:  # log_timezone knows what its abbreviations mean
                offset = _offset_s(self._zone, moment)
            self._at = moment.replace(tzinfo=UTC).timestamp() - (offset or 0.0)
            self._text = key
        if fraction and not _FRACTION.fullmatch(fraction):
            raise ValueError("no fraction of a second")
        return self._at + (float(fraction) if fraction else 0.0)


@lru_cache(maxsize=256)
def _offset_s(zone: str, moment: datetime) -> float | None:
    """Seconds east of Greenwich; None for an abbreviation that has several offsets."""
    if match := re.fullmatch(r"([+-])(\d\d):?(\d\d)?", zone):
        seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60
        return float(-seconds if match[1] == "-" else seconds)
    if zone in ("UTC", "GMT", "Z", ""):
        return 0.0
    if zone in _ABBREVIATED:
        return _ABBREVIATED[zone] * 3600.0
    try:
        return (moment.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()).total_seconds()
    except (ZoneInfoNotFoundError, ValueError, OSError, RecursionError):
        return None


# Abbreviations that name one offset only. Others (IST, CST) name several: such a log's times count as UTC.
_ABBREVIATED = {
    "CET": 1,
    "CEST": 2,
    "EET": 2,
    "EEST": 3,
    "WET": 0,
    "WEST": 1,
    "MSK": 3,
    "KST": 9,
    "JST": 9,
    "EDT": -4,
    "PDT": -7,
    "PST": -8,
    "MDT": -6,
    "AEST": 10,
    "AEDT": 11,
    "BRT": -3,
}
_ANY_TIME = datetime(2026, 1, 1)  # noqa: DTZ001 (whether a zone is known does not depend on it)
