"""What a drill or an acceptance run makes, recorded before it is made: what a kill leaves behind can be removed.

One journal each, as cases have (journal.py): signed, on disk before the call, locked while the process lives. One that
left nothing behind is removed with its run.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from recovery.config import state_home
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy
from recovery.store.journal import Journal, Record, is_driven, read_records

REQUESTED, CREATED, GONE = "instance.requested", "instance.created", "instance.gone"


@dataclass(frozen=True)
class RehearsalInstance:
    """An instance that was asked for and is not known to be gone. `directory`: of the run's journal."""

    directory: Path
    copy: Copy

    @property
    def run(self) -> str:
        """The name of the drill or acceptance run."""
        return self.directory.name

    @property
    def is_driven(self) -> bool:
        """Whether the run goes on, in some process."""
        return is_driven(self.directory)


class RehearsalJournal:
    """The journal of one run, open for writing by this process alone. Use as a context manager."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._remaining: dict[str, Copy] = {}

    @property
    def remaining(self) -> tuple[Copy, ...]:
        """What was asked for and is not known to be gone, the oldest first."""
        return tuple(self._remaining.values())

    @classmethod
    def begin(cls, run: str) -> RehearsalJournal:
        """The journal of a new run. Raises disk-full, and case-open for a run of that name that left its journal."""
        directory = rehearsals_directory() / run
        if directory.exists():
            raise RowbackError(
                ErrorId.CASE_OPEN,
                f"run {run} is there already",
                "another process drives it" if is_driven(directory) else "it was cut off, and its instances may run",
                state="nothing was created, nothing was written",
                help="when it is not running: rowback reap",
            )
        return cls(Journal.create(directory))

    def requested(self, copy: Copy) -> None:
        """An instance is about to be asked for: recorded with the nonce that will prove it."""
        self._remaining[copy.identifier] = copy
        self._journal.append(REQUESTED, data=copy.model_dump(mode="json"))

    def created(self, copy: Copy, resource_id: str) -> None:
        """RDS answered the call: from now on its resource id proves it."""
        answered = copy.model_copy(update={"resource_id": resource_id})
        self._journal.append(CREATED, data=answered.model_dump(mode="json"))
        self._remaining[copy.identifier] = answered

    def gone(self, copy: Copy) -> None:
        """It was deleted and is gone, or was never made."""
        self._journal.append(GONE, data={"identifier": copy.identifier})
        self._remaining.pop(copy.identifier, None)

    def __enter__(self) -> RehearsalJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._remaining:
            shutil.rmtree(self._journal.directory, ignore_errors=True)
        self._journal.close()


def rehearsals_directory() -> Path:
    """Below which each run has its journal."""
    return state_home() / "rehearsals"


def rehearsal_instances() -> Iterator[RehearsalInstance]:
    """Those of all runs of this machine. What no journal proves is none: it cannot be deleted by it."""
    directory = rehearsals_directory()
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        with contextlib.suppress(RowbackError, ValidationError):
            yield from (RehearsalInstance(path, copy) for copy in _remaining(read_records(path, proven=True)))


def forget(instance: RehearsalInstance) -> None:
    """It is gone; the journal of a run that has nothing left goes with it. Raises case-busy where it is driven."""
    with Journal(instance.directory) as journal:
        journal.append(GONE, data={"identifier": instance.copy.identifier})
        if not _remaining(journal.records):
            shutil.rmtree(instance.directory, ignore_errors=True)


def _remaining(records: list[Record]) -> list[Copy]:
    by_identifier: dict[str, Copy] = {}
    for record in records:
        if record.event in {REQUESTED, CREATED}:
            copy = Copy.model_validate(record.data)
            by_identifier[copy.identifier] = copy
        elif record.event == GONE:
            by_identifier.pop(str(record.data.get("identifier")), None)
    return list(by_identifier.values())
