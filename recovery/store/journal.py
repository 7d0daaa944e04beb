"""The journal of a case: append-only JSON lines, each fsynced, chained to the one before by its hash, and signed.

It is the only truth about a run: state is a fold over it, the report is another. Looking takes no lock; writing
takes one, so that two processes cannot drive the same case (sources: OPS-journal). A journal that this
user's key does not verify can be looked at, and nothing is done by it (journal_signature.py).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from pydantic import ValidationError

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.files import create_private, open_regular, private_directory, read_regular
from recovery.model.values import Moment, Value
from recovery.redaction import Redactor
from recovery.store.journal_signature import KEY_FILE, key_file, known_keys, sign, signing_key, verifies

FILE, RESERVE = "journal.jsonl", "reserve"
RESERVE_BYTES = 64 * 1024
FIRST = "0" * 64
BEGINNING = b'{"seq":'


class Record(Value):
    """One line. `at` is wall clock; `clock_s` is monotonic within `pid` and gives durations no clock change bends."""

    seq: int
    at: Moment
    clock_s: float
    pid: int
    event: str
    step: str | None = None
    data: dict[str, Any] = {}
    prev: str
    mac: str = ""


class Journal:
    """The journal of one case, open for writing by this process alone. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = _open_locked(directory / FILE)
        try:
            content: bytes = self._file.read()
            self.records = _parsed(directory, content, proven=True)
            self._key = signing_key()
        except RowbackError:
            self._file.close()
            raise
        lines = _whole_lines(content)
        self._cut_torn_line(content, sum(map(len, lines)))
        self._file.seek(0, os.SEEK_END)
        self._last = _hash(lines[-1]) if lines else FIRST

    def _cut_torn_line(self, content: bytes, end: int) -> None:
        """A last line torn by a crash is cut off, so that the next record starts cleanly.

        Nothing but a record's beginning is. Raises plan-unreadable.
        """
        torn = content[end:].rstrip(b"\0")[: len(BEGINNING)]  # a power cut may leave NULs of blocks never written
        if not BEGINNING.startswith(torn):
            self._file.close()
            raise _altered(self.directory, len(self.records))
        self._file.truncate(end)

    @classmethod
    def create(cls, directory: Path) -> Journal:
        """A new case directory with an empty journal and a reserve of disk space for the last words.

        Raises disk-full, and config-invalid for a key that cannot be used.
        """
        try:
            private_directory(directory.parent)
            signing_key()  # before anything is made
            directory.mkdir(mode=0o700)
            create_private(directory / RESERVE, bytes(RESERVE_BYTES))
            create_private(directory / FILE, b"")
        except OSError as error:
            raise RowbackError(
                ErrorId.DISK_FULL,
                f"no case can be kept in {directory}: {error.strerror}",
                state=NOTHING_CREATED,
                help="set ROWBACK_HOME to a directory that you may write to, with free space",
            ) from error
        _sync_directory(directory)
        return cls(directory)

    def append(self, event: str, *, step: str | None = None, data: Mapping[str, Any] | None = None) -> Record:
        """Write one record and return once it is on disk. Ctrl-C waits until then: a record is whole or absent."""
        with _uninterrupted():
            return self._append(event, step, data or {})

    def _append(self, event: str, step: str | None, data: Mapping[str, Any]) -> Record:
        record = Record(
            seq=len(self.records),
            at=datetime.now(UTC),
            clock_s=round(time.monotonic(), 6),
            pid=os.getpid(),
            event=event,
            step=step,
            data=Redactor.of_this_process().within(data),
            prev=self._last,
        )
        text = record.model_dump_json(exclude={"mac"})
        line = sign(text.encode() + b"\n", self._key)
        self._write(line)
        self._last = _hash(line)
        written = Record.model_validate_json(text)
        self.records.append(written)
        return written

    def close(self) -> None:
        """Release the lock."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        if not self._try_write(line):
            # The disk is full: the reserve was put there so that what happened can still be written down.
            (self.directory / RESERVE).unlink(missing_ok=True)
            if not self._try_write(line):
                raise RowbackError(
                    ErrorId.DISK_FULL,
                    f"the journal in {self.directory} cannot be written: the disk is full",
                    state="what was done last may not be recorded; resuming asks AWS and PostgreSQL",
                    help=f"free space there, then: rowback resume {self.directory.name}",
                )
        os.fsync(self._file.fileno())

    def _try_write(self, line: bytes) -> bool:
        """Write the whole line or nothing of it."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(line)
        except OSError:
            written = 0
        if written != len(line):
            self._file.truncate(end)
            return False
        return True


def read_records(directory: Path, *, proven: bool = False) -> list[Record]:
    """The records of a case, without a lock; a torn last line is left out.

    Raises case-unknown when there is no journal, plan-unreadable when the chain of hashes is broken, and, with
    `proven`, when a record is not signed by one of this user's keys.
    """
    try:
        content = read_regular(directory / FILE)
    except OSError as error:
        raise _no_journal(directory, error) from error
    return _parsed(directory, content, proven=proven)


def _parsed(directory: Path, content: bytes, *, proven: bool) -> list[Record]:
    records: list[Record] = []
    previous = FIRST
    lines = _whole_lines(content)
    for line in lines:
        record = _parse(line)
        if record is None or record.prev != previous:
            raise _altered(directory, len(records))
        records.append(record)
        previous = _hash(line)
    if proven:
        _refuse_unsigned(directory, lines)
    return records


def _altered(directory: Path, record: int) -> RowbackError:
    return RowbackError(
        ErrorId.PLAN_UNREADABLE,
        f"the journal of case '{directory.name}' was altered before record {record}",
        state="nothing was done",
        help=f"look at {directory / FILE} and at AWS yourself before doing anything",
    )


def _whole_lines(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _refuse_unsigned(directory: Path, lines: Sequence[bytes]) -> None:
    keys = known_keys()
    if unsigned := [number for number, line in enumerate(lines) if not verifies(line, keys)]:
        raise RowbackError(
            ErrorId.PLAN_UNREADABLE,
            f"case '{directory.name}' can only be looked at: record {unsigned[0]} of its journal is not signed with a"
            " key of this user",
            f"keys: {key_file()}" if keys else f"there is no key in {key_file()}",
            state="nothing was done",
            help=f"if it is a case of yours from another machine or home: add the line of its {KEY_FILE} to"
            f" {key_file()}, a file with mode 0600; else look at the original and at AWS yourself",
        )


def _no_journal(directory: Path, error: OSError) -> RowbackError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return RowbackError(
            ErrorId.CASE_UNKNOWN,
            f"there is no case '{directory.name}' in {directory.parent}",
            state="nothing was done",
            help="list them: rowback cases",
        )
    why = "it is a link, and no journal is one" if error.errno == errno.ELOOP else str(error.strerror)
    return RowbackError(
        ErrorId.CASE_UNKNOWN,
        f"the journal {directory / FILE} cannot be read: {why}",
        state="nothing was done",
        help="rowback works as the user who opened the case, on its own files",
    )


def _parse(line: bytes) -> Record | None:
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Raise plan-unreadable, with the directory's name, for whatever is misread inside.

    What stands in a journal is only known to be well-formed where this version wrote it.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        # One line: a pydantic error tells of each field on several.
        raise RowbackError(
            ErrorId.PLAN_UNREADABLE,
            f"the journal of '{directory.name}' holds what this version of rowback cannot read:"
            f" {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            state="nothing was done",
            help=f"use the version that opened it, or look at {directory} yourself",
        ) from error


def is_driven(directory: Path) -> bool:
    """Whether some process holds the journal's lock right now."""
    try:
        with os.fdopen(open_regular(directory / FILE, os.O_RDONLY), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _open_locked(path: Path) -> Any:
    try:
        file = os.fdopen(open_regular(path, os.O_RDWR), "r+b", buffering=0)
    except OSError as error:
        raise _no_journal(path.parent, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        id, of_a_run = path.parent.name, path.parent.parent.name == "runs"
        what, watch = ("run", "rowback runbook runs") if of_a_run else ("case", f"rowback status {id}")
        raise RowbackError(
            ErrorId.CASE_BUSY,
            f"another process is driving {what} '{id}'",
            state="nothing was done",
            help=f"watch it: {watch}",
        ) from error
    return file


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put SIGINT and SIGTERM off until the end. A signal mask would not do: other threads take them for us."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    arrived: list[tuple[int, FrameType | None]] = []
    before = {
        number: signal.signal(number, lambda number, frame: arrived.append((number, frame)))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
        for number, frame in arrived[:1]:
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            elif handler == signal.SIG_DFL:
                raise KeyboardInterrupt


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
