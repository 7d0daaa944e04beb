"""Readings of the counters that `doctor` took, kept on this machine: what `find` compares with."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from recovery.config import state_home
from recovery.files import private_directory, replace_private
from recovery.model.counter_reading import Reading

KEPT = 60
APART = timedelta(hours=1)  # a look at a database that was just destroyed must not push out the one before


def remember_reading(reading: Reading, resource_id: str, database: str) -> None:
    """Keep it, unless there is one of the last hour. A machine that cannot keep it goes on without."""
    directory, paths = _directory(resource_id, database), _paths(resource_id, database)
    before = [last.at for path in paths if (last := _read(path)) and last.at <= reading.at]
    if before and reading.at - max(before) < APART:
        return
    with suppress(OSError):
        private_directory(directory.parent)
        private_directory(directory)
        replace_private(directory / f"{reading.at:%Y%m%d-%H%M%S}.json", (reading.model_dump_json() + "\n").encode())
        for path in paths[: max(0, len(paths) + 1 - KEPT)]:
            path.unlink(missing_ok=True)


def reading_before(moment: datetime, resource_id: str, database: str) -> Reading | None:
    """The last one before `moment`, else the oldest: whatever happened after `moment`, it is the best to compare with.

    What cannot be read is no reading.
    """
    readings = [reading for path in _paths(resource_id, database) if (reading := _read(path))]
    earlier = [reading for reading in readings if reading.at <= moment]
    return earlier[-1] if earlier else next(iter(readings), None)


def _directory(resource_id: str, database: str) -> Path:
    return state_home() / "readings" / quote(f"{resource_id} {database}", safe=" ")


def _paths(resource_id: str, database: str) -> list[Path]:
    """Oldest first. A directory that may not be looked into, because another user made it, holds none."""
    try:
        return sorted(path for path in _directory(resource_id, database).glob("*.json") if path.is_file())
    except OSError:
        return []


def _read(path: Path) -> Reading | None:
    try:
        return Reading.model_validate_json(path.read_text())
    except (ValidationError, OSError, UnicodeDecodeError):
        return None
