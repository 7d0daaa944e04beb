"""What a drill or an acceptance run makes, recorded before it is made: what a kill leaves behind can be removed.

One journal each, as cases have (journal.py): signed, on disk before the call, locked while the process lives. One that
left nothing behind is removed with its run.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from recovery.config import state_home
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy
from recovery.store.journal import Journal, Record, is_driven, read_records

REQUESTED, CREATED, GONE = "instance.requested", "instance.created", "instance.gone"
GROUP_REQUESTED, GROUP_GONE = "group.requested", "group.gone"


@dataclass(frozen=True)
class UnfinishedRehearsal:
    """A drill or an acceptance run that has a journal: what it asked for and what is not known to be gone.

    `directory`: of its journal; `groups`: parameter groups.
    """

    directory: Path
    copies: tuple[Copy, ...]
    groups: tuple[str, ...]

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
        self._groups: set[str] = set()

    @property
    def remaining(self) -> tuple[Copy, ...]:
        """What was asked for and is not known to be gone, the oldest first."""
        return tuple(self._remaining.values())

    @classmethod
    def begin(cls, run: str) -> RehearsalJournal:
        """The journal of a new run. Raises disk-full, and case-open where a run of that name has not removed all."""
        directory = rehearsals_directory() / run
        if directory.exists() and (is_driven(directory) or any(each.run == run for each in rehearsals())):
            raise RowbackError(
                ErrorId.CASE_OPEN,
                f"run {run} is there already",
                "another process drives it" if is_driven(directory) else "it was cut off, and its instances may run",
                state="nothing was created, nothing was written",
                help="when it is not running: rowback reap",
            )
        shutil.rmtree(directory, ignore_errors=True)  # of a run that was cut off before it asked for anything
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

    def group_requested(self, name: str) -> None:
        """A parameter group is about to be made."""
        self._journal.append(GROUP_REQUESTED, data={"name": name})
        self._groups.add(name)

    def group_gone(self, name: str) -> None:
        """It was deleted, or was never made."""
        self._journal.append(GROUP_GONE, data={"name": name})
        self._groups.discard(name)

    def __enter__(self) -> RehearsalJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._remaining and not self._groups:
            shutil.rmtree(self._journal.directory, ignore_errors=True)
        self._journal.close()


def rehearsals_directory() -> Path:
    """Below which each run has its journal."""
    return state_home() / "rehearsals"


def rehearsals() -> Iterator[UnfinishedRehearsal]:
    """Those of this machine that have something left. What no journal proves is none: nothing is deleted by it."""
    directory = rehearsals_directory()
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        with contextlib.suppress(RowbackError, ValidationError):
            rehearsal = _folded(path, read_records(path, proven=True))
            if rehearsal.copies or rehearsal.groups:
                yield rehearsal


def forget(rehearsal: UnfinishedRehearsal, *, copies: Sequence[str], groups: Sequence[str]) -> None:
    """They are gone, by their names; the journal of a run that has nothing left goes with the last.

    Raises case-busy where it is driven.
    """
    with Journal(rehearsal.directory) as journal:
        for identifier in copies:
            journal.append(GONE, data={"identifier": identifier})
        for name in groups:
            journal.append(GROUP_GONE, data={"name": name})
        left = _folded(rehearsal.directory, journal.records)
        if not left.copies and not left.groups:
            shutil.rmtree(rehearsal.directory, ignore_errors=True)


def _folded(directory: Path, records: Sequence[Record]) -> UnfinishedRehearsal:
    copies: dict[str, Copy] = {}
    groups: dict[str, None] = {}
    for record in records:
        if record.event in {REQUESTED, CREATED}:
            copy = Copy.model_validate(record.data)
            copies[copy.identifier] = copy
        elif record.event == GONE:
            copies.pop(str(record.data.get("identifier")), None)
        elif record.event == GROUP_REQUESTED:
            groups[str(record.data.get("name"))] = None
        elif record.event == GROUP_GONE:
            groups.pop(str(record.data.get("name")), None)
    return UnfinishedRehearsal(directory, tuple(copies.values()), tuple(groups))
