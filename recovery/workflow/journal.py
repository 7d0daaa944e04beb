"""The journal of a case: append-only JSON lines, each fsynced and chained to the one before by its hash.

It is the only truth about a run: state is a fold over it, the report is another. Looking takes no lock; writing
takes one, so that two processes cannot drive the same case (facts/runbooks-and-fleet.md §2.6).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from pydantic import ValidationError

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.values import Moment, Value
from recovery.redaction import Redactor

FILE, RESERVE = "journal.jsonl", "reserve"
RESERVE_BYTES = 64 * 1024
FIRST = "0" * 64


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


class Journal:
    """The journal of one case, open for writing by this process alone. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = _open_locked(directory / FILE)
        lines = _whole_lines(self._file)
        self.records = [Record.model_validate_json(line) for line in lines]
        self._last = _hash(lines[-1]) if lines else FIRST

    @classmethod
    def create(cls, directory: Path) -> Journal:
        """A new case directory with an empty journal and a reserve of disk space for the last words.

        Raises disk-full.
        """
        try:
            directory.mkdir(mode=0o700, parents=True)
            (directory / RESERVE).write_bytes(bytes(RESERVE_BYTES))
            (directory / FILE).touch(mode=0o600)
        except OSError as error:
            raise RowbackError(
                ErrorId.DISK_FULL, f"no case can be kept in {directory}: {error.strerror}",
                state=NOTHING_CREATED, help="set ROWBACK_HOME to a directory with free space",
            ) from error  # fmt: skip
        _sync_directory(directory)
        return cls(directory)

    def append(self, event: str, *, step: str | None = None, data: Mapping[str, Any] | None = None) -> Record:
        """Write one record and return once it is on disk. Ctrl-C waits until then: a record is whole or absent."""
        with _uninterrupted():
            return self._append(event, step, data or {})

    def _append(self, event: str, step: str | None, data: Mapping[str, Any]) -> Record:
        record = Record(
            seq=len(self.records), at=datetime.now(UTC), clock_s=round(time.monotonic(), 6), pid=os.getpid(),
            event=event, step=step, data=Redactor.of_this_process().within(data), prev=self._last,
        )  # fmt: skip
        text = record.model_dump_json()
        line = text.encode() + b"\n"
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
                    ErrorId.DISK_FULL, f"the journal in {self.directory} cannot be written: the disk is full",
                    state="what was done last may not be recorded; resuming asks AWS and PostgreSQL",
                    help=f"free space there, then: rowback resume {self.directory.name}",
                )  # fmt: skip
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


def read_records(directory: Path) -> list[Record]:
    """The records of a case, without a lock; a torn last line is left out.

    Raises case-unknown when there is no journal, and plan-unreadable when the chain of hashes is broken.
    """
    try:
        content = (directory / FILE).read_bytes()
    except OSError as error:
        raise RowbackError(
            ErrorId.CASE_UNKNOWN, f"there is no case '{directory.name}' in {directory.parent}",
            state="nothing was done", help="list them: rowback cases",
        ) from error  # fmt: skip
    records: list[Record] = []
    previous = FIRST
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        record = _parse(line)
        if record is None or record.prev != previous:
            raise RowbackError(
                ErrorId.PLAN_UNREADABLE, 
                f"the journal of case '{directory.name}' was altered before record {len(records)}",
                state="nothing was done", help=f"look at {directory / FILE} and at AWS yourself before doing anything",
            )  # fmt: skip
        records.append(record)
        previous = _hash(line)
    return records


def _parse(line: bytes) -> Record | None:
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


def directory_named(text: str, root: Path, *, what: str, listing: str) -> Path:
    """The directory below `root` whose name is `text` or ends with it, from four letters on. Raises case-unknown.

    `what`: what such a journal is of; `listing`: the command that lists them.
    """
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    matches = [name for name in names if name == text or (len(text) >= 4 and name.endswith(text))]
    if len(matches) == 1:
        return root / matches[0]
    raise RowbackError(
        ErrorId.CASE_UNKNOWN, f"{what} '{text}' {'is ambiguous' if matches else 'does not exist'} in {root}",
        f"newest: {', '.join(names[-3:])}" if names else f"there are no {what}s yet",
        state="nothing was done", help=f"list them: {listing}",
    )  # fmt: skip


def is_driven(directory: Path) -> bool:
    """Whether some process holds the journal's lock right now."""
    try:
        with (directory / FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _open_locked(path: Path) -> Any:
    try:
        file = path.open("r+b", buffering=0)
    except OSError as error:
        raise RowbackError(
            ErrorId.CASE_UNKNOWN, f"there is no case '{path.parent.name}' in {path.parent.parent}",
            state="nothing was done", help="list them: rowback cases",
        ) from error  # fmt: skip
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        id, of_a_run = path.parent.name, path.parent.parent.name == "runs"
        what, watch = ("run", "rowback runbook runs") if of_a_run else ("case", f"rowback status {id}")
        raise RowbackError(
            ErrorId.CASE_BUSY, f"another process is driving {what} '{id}'", state="nothing was done",
            help=f"watch it: {watch}",
        ) from error  # fmt: skip
    return file


def _whole_lines(file: Any) -> list[bytes]:
    """The complete lines; a last line torn by a crash is cut off, so that the next record starts cleanly."""
    content: bytes = file.read()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        file.truncate(end)
    file.seek(end)
    return content[:end].splitlines(keepends=True)


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
