"""Find pg_dump and pg_restore that fit the server: same major or newer, with TLS when the connection needs it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from guards.postgres_programs import has_tls, path_directories, program_directories
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError


@dataclass(frozen=True)
class ClientTools:
    """One installation's client programs."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """Major version."""
        return int(self.version.split(".")[0])

    @property
    def pg_dump(self) -> Path:
        """Absolute path of pg_dump."""
        return self.directory / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """Absolute path of pg_restore."""
        return self.directory / "pg_restore"

    def has_tls(self) -> bool:
        """Whether its libpq was built with OpenSSL."""
        return has_tls(self.pg_dump)


def find_client_tools(*, server_major: int, tls: bool) -> ClientTools:
    """The closest tools that are not older than the server (pg_dump refuses to dump a newer one).

    Raises client-missing naming everything that was found and why it does not fit.
    """
    installed_tools = sorted(
        installed([*reversed([*program_directories()]), *path_directories()]), key=lambda tools: tools.major
    )
    fitting = [tools for tools in installed_tools if tools.major >= server_major]
    for tools in fitting:
        if not tls or tools.has_tls():
            return tools
    descriptions = [
        f"{tools.directory}: {tools.version}"
        + (" has no TLS, which the server's address demands" if tools in fitting else " is older than the server")
        for tools in installed_tools
    ]
    raise RowbackError(
        ErrorId.CLIENT_MISSING,
        f"no pg_dump of major {server_major} or newer was found for this server",
        *(descriptions or ["no pg_dump at all was found"]),
        state=NOTHING_CREATED,
        help=f"install postgresql-client-{server_major}, set ROWBACK_PG_BIN, or use --transport copy, which needs none",
    )


def installed(directories: Iterable[Path]) -> Iterator[ClientTools]:
    """The directories that really hold both tools, with the version pg_dump reports."""
    for directory in directories:
        program = directory / "pg_dump"
        both = program.is_file() and (directory / "pg_restore").is_file()
        if both and (version := _version(program, program.stat().st_mtime_ns)):
            yield ClientTools(directory, version)


@cache
def _version(program: Path, changed_ns: int) -> str:  # noqa: ARG001 (another file under the name is another program)
    """What it says of itself, empty where it does not run."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    number = re.search(r"\d+(\.\d+)?", output)
    return number.group() if number else ""
