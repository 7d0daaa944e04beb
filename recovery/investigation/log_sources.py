"""Where a log comes from: files of this machine, or the instance's own by the RDS API. Streams, whatever their size."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import select
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from recovery.aws.cloudwatch import LogGroup
from recovery.aws.log_files import LogFile, LogFiles
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.incident.log_formats import FORMATS, Format, format_of_file

Say = Callable[[str], None]
CHUNK_BYTES = 1 << 20

PIPE_S = 10
_EMPTY_LINES = re.compile(rb"\n{4096,}")  # a compressed log may hold gigabytes of them

_TIME = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?")


@dataclass(frozen=True)
class Source:
    """Files of one format, in the order in which they were written.

    `cut`: filled while they are read, with what could not be read to its end.
    """

    form: Format
    names: tuple[str, ...]
    chunks: Iterable[bytes]
    cut: list[str] = field(default_factory=list)


def from_files(paths: Sequence[Path]) -> list[Source]:
    """Logs on this machine, plain or .gz. Raises log-unreadable."""
    for path in paths:
        if not path.exists():
            raise _unreadable(str(path), "there is no such file")
        if path.is_dir():
            raise _unreadable(str(path), "it is a directory")
    if len(paths) > 1:  # a shell puts postgresql.log before postgresql.log.1, which is the older
        paths = sorted(paths, key=_begins)
    groups = {form: [path for path in paths if format_of_file(path.name) == form] for form in FORMATS}
    return [_of_files(form, group) for form, group in groups.items() if group]


def _of_files(form: Format, paths: Sequence[Path]) -> Source:
    cut: list[str] = []
    return Source(form, tuple(map(str, paths)), _joined(_read(path, cut) for path in paths), cut)


def from_instance(logs: LogFiles, since: datetime, until: datetime, say: Say) -> list[Source]:
    """The instance's own files of that time."""
    files = logs.between(since, until)
    return [
        Source(form, tuple(file.name for file in group), _joined(_with_progress(logs, file, say=say) for file in group))
        for form in FORMATS
        if (group := [file for file in files if format_of_file(file.name) == form])
    ]


def from_cloudwatch(group: LogGroup, since: datetime, until: datetime) -> list[Source]:
    """What was exported of that time; it outlives the files on the instance."""
    return [Source("stderr", (group.name,), group.read(since, until))]


def _joined(parts: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """One after the other; a file that ends amid a line does not run into the next."""
    for part in parts:
        yield from part
        yield b"\n"


def _with_progress(logs: LogFiles, file: LogFile, *, say: Say) -> Iterator[bytes]:
    read = 0
    say(f"{file.name}, {file.size_bytes / 2**20:,.1f} MiB …")
    for portion in logs.read(file):
        yield portion
        read += len(portion)
        if read % (16 << 20) < len(portion):
            say(f"{file.name}: {read / 2**20:,.0f} of {file.size_bytes / 2**20:,.0f} MiB")


def _begins(path: Path) -> bytes:
    """The first time that stands in a file; empty where there is none, or where reading it would use it up."""
    if not path.is_file():
        return b""
    match = _TIME.search(next(_read(path, []), b""))
    return match[0] if match else b""


def _read(path: Path, cut: list[str]) -> Iterator[bytes]:
    """A compressed file that breaks off, as a copy that was interrupted does, is read as far as it goes."""
    read = 0
    try:
        with _opened(path) as log:
            while chunk := log.read1(CHUNK_BYTES):
                read += len(chunk)
                yield _EMPTY_LINES.sub(b"\n\n", chunk)
    except (OSError, EOFError, zlib.error) as error:
        why = str(error).strip() or type(error).__name__
        if not read or not isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
            raise _unreadable(str(path), why) from error
        cut.append(f"'{path}' could be read for {read:,} bytes only: {why}")


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """A file, or a pipe with a writer: one without a writer would be waited for without end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and not select.select([descriptor], [], [], PIPE_S)[0]:
        os.close(descriptor)
        raise OSError(errno.EAGAIN, f"nothing was written into this pipe for {PIPE_S} s")
    os.set_blocking(descriptor, True)
    file = os.fdopen(descriptor, "rb")
    return gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file


def _unreadable(name: str, why: str) -> RowbackError:
    return RowbackError(
        ErrorId.LOG_UNREADABLE,
        f"the log '{name}' cannot be read: {why}",
        state=NOTHING_CREATED,
        help="give PostgreSQL's own log files (plain, .csv, .json, each perhaps .gz): rowback find --log FILE",
    )
