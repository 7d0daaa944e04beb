"""All definitions of a database by pg_dump, and the statements that make some of them, by pg_restore."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.archive.table_of_contents import ArchiveEntry, UnreadableArchiveError, read_contents
from recovery.postgres.client_programs import ClientTools
from recovery.postgres.connection_target import KEEPALIVE, Target
from recovery.postgres.dump import STATE, child_environment, dump_failed

# Our sessions have their own, and older servers do not know all of these.
TIMEOUTS = (
    b"SET statement_timeout",
    b"SET lock_timeout",
    b"SET idle_in_transaction_session_timeout",
    b"SET transaction_timeout",
)
LOCK_WAIT_MS = 60_000  # a migration may hold a table for good
FIRST_ENTRY = b"\n-- Name: "
RESTRICT, UNRESTRICT = b"\\restrict ", b"\\unrestrict "


def dump_definitions(tools: ClientTools, source: Target, into: Path, *, encoding: str) -> list[ArchiveEntry]:
    """The definitions of a whole database, without rows, in the new directory `into`; every entry of it.

    What pg_dump wrote is read to its end: an archive that was cut off is none. Subscriptions are left out: one that was
    made anew would begin to fetch. Raises dump-failed or disk-full.
    """
    shutil.rmtree(into, ignore_errors=True)
    command: list[str | Path] = [
        tools.pg_dump,
        "--format=directory",
        "--schema-only",
        "--no-subscriptions",
        f"--lock-wait-timeout={LOCK_WAIT_MS}",
        f"--file={into}",
        f"--encoding={encoding}",
        f"--dbname={' '.join(f'{name}={value}' for name, value in KEEPALIVE.items())}",
        "--no-password",
    ]
    done = subprocess.run(command, env=child_environment(source), capture_output=True, check=False)
    if done.returncode:
        raise dump_failed(done.stderr.decode(errors="replace").strip())
    return entries_of(into)


def entries_of(directory: Path) -> list[ArchiveEntry]:
    """The entries of an archive that was dumped before. Raises dump-failed."""
    try:
        return read_contents(directory)
    except (OSError, UnreadableArchiveError) as error:
        raise RowbackError(
            ErrorId.DUMP_FAILED,
            f"the archive in {directory} cannot be read: {error}",
            state=STATE,
            help="the next try makes it anew; it needs pg_dump of PostgreSQL 12 to 18",
        ) from error


def statements(tools: ClientTools, directory: Path, entries: Iterable[ArchiveEntry]) -> bytes:
    """SQL that makes exactly `entries`, with their owners, in the archive's order; for one simple query.

    Commands of psql's own are left out, and timeouts. Raises dump-failed.
    """
    listing = directory.with_suffix(".list")
    listing.write_text("".join(f"{entry.number};\n" for entry in entries))
    command: list[str | Path] = [tools.pg_restore, f"--use-list={listing}", "--file=-", directory]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise dump_failed(done.stderr.decode(errors="replace").strip())
    return _for_a_session(done.stdout)


def _for_a_session(script: bytes) -> bytes:
    """Without the lines of psql and the timeouts; neither stand inside a statement."""
    head, first, rest = script.partition(FIRST_ENTRY)
    lines = head.split(b"\n")
    tokens = [line.removeprefix(RESTRICT) for line in lines if line.startswith(RESTRICT)]
    kept = [line for line in lines if not line.startswith((RESTRICT, UNRESTRICT, *TIMEOUTS))]
    for token in tokens:
        rest = rest.replace(b"\n" + UNRESTRICT + token + b"\n", b"\n")
    return b"\n".join(kept) + first + rest
