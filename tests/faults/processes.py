"""Whether a process was stopped by a signal."""

from __future__ import annotations

import time
from pathlib import Path


def is_stopped(pid: int) -> bool:
    time.sleep(0.01)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
