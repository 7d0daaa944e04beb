"""Fixtures live in one file a topic; this is the list of topics, and the place where tests keep their files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

pytest_plugins = [
    "tests.fix_lab",
    "tests.fix_browser",
    "tests.fix_cli",
    "tests.fix_repair",
    "tests.fix_acceptance",
    "tests.fix_plain",
    "tests.fix_pgbouncer",
    "tests.guards.fix_reach",
    "tests.incident.fix_logs",
]

MEMORY = Path("/dev/shm")  # noqa: S108 (tmpfs, looked at before it is used)
BYTES_NEEDED = 6 * 2**30


def _enough_memory() -> bool:
    """Whether the labs fit into memory: clusters are thousands of files that come and go, and ext4 without a journal
    searches its inode tables for each one made soon after others were deleted."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return False
    available = [line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line]
    return shutil.disk_usage(MEMORY).free >= BYTES_NEEDED and int(available[0]) * 1024 >= BYTES_NEEDED


# Whatever a test forgets to say: nothing of it may land among the cases and drills of whoever runs the tests.
os.environ["ROWBACK_HOME"] = _HOME = tempfile.mkdtemp(prefix="rowback-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

if "TMPDIR" not in os.environ and _enough_memory():
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None
