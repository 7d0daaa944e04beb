"""Directories that hold a journal each, and how a person names one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from recovery.errors import ErrorId, RowbackError
from recovery.store.journal import Journal, Record

Folded = TypeVar("Folded")


def directories_in(root: Path) -> list[Path]:
    """What lies below `root`, by name; nothing where `root` does not exist. Raises PermissionError."""
    try:
        return sorted(root.iterdir())
    except FileNotFoundError:
        return []


def directory_named(text: str, root: Path, *, what: str, listing: str) -> Path:
    """The directory below `root` whose name is `text` or ends with it, from four letters on. Raises case-unknown.

    `what`: what such a journal is of; `listing`: the command that lists them.
    """
    names = [path.name for path in directories_in(root)]
    matches = [name for name in names if name == text or (len(text) >= 4 and name.endswith(text))]
    if len(matches) == 1:
        return root / matches[0]
    raise RowbackError(
        ErrorId.CASE_UNKNOWN,
        f"{what} '{text}' {'is ambiguous' if matches else 'does not exist'} in {root}",
        f"newest: {', '.join(names[-3:])}" if names else f"there are no {what}s yet",
        state="nothing was done",
        help=f"list them: {listing}",
    )


def resumed(directory: Path, fold: Callable[[Path, Sequence[Record]], Folded]) -> tuple[Folded, Journal]:
    """What `fold` makes of the journal in `directory`, and that journal, locked for this process.

    Raises case-busy while another process holds it, and what `fold` raises, with the lock released.
    """
    journal = Journal(directory)
    try:
        return fold(directory, journal.records), journal
    except RowbackError:
        journal.close()
        raise
