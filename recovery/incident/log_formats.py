"""The formats of PostgreSQL's log: how a file of each is recognised, and what reads it. A new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from recovery.incident.log_record import LogRecord, Wanted
from recovery.incident.stderr_log import read_stderr
from recovery.incident.structured_log import read_csv, read_json

Format = Literal["stderr", "csv", "json"]


@dataclass(frozen=True)
class LineStart:
    """How records of a stderr log begin: log_line_prefix, and log_timezone where a file does not say it."""

    prefix: str
    zone: str | None = None


@dataclass(frozen=True)
class LogFormat:
    """One format. `suffix`: of its files' names; `read`: bytes to records, those only that are wanted."""

    suffix: str
    read: Callable[[Iterable[bytes], LineStart, Wanted], Iterator[LogRecord]]


# Those that tell more come first; what has no other suffix is stderr.
FORMATS: Mapping[Format, LogFormat] = {
    "csv": LogFormat(".csv", lambda chunks, _, wanted: read_csv(chunks, wanted)),
    "json": LogFormat(".json", lambda chunks, _, wanted: read_json(chunks, wanted)),
    "stderr": LogFormat("", lambda chunks, start, wanted: read_stderr(chunks, start.prefix, wanted, start.zone)),
}


def format_of_file(name: str) -> Format:
    """The format that a file's name tells, compressed or not."""
    plain = name.removesuffix(".gz")
    return next(form for form, each in FORMATS.items() if plain.endswith(each.suffix))
