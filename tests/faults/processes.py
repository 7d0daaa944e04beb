"""Whether a process was stopped by a signal."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


def is_stopped(pid: int) -> bool:
    time.sleep(0.01)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def processes_in(directory: Path) -> list[int]:
    """Processes that work in a directory: of a PostgreSQL server those of its data."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "cwd").readlink() == directory:
                found.append(int(path.name))
    return found
