"""pg_dump of the scope to a directory, and its rows back through pg_restore into our own transaction.

pg_restore's own `--single-transaction` is not used: from 17 on it loads nothing into 16 and older
(`transaction_timeout`, sources: LAB-restore), and it could not share the transaction that locks, proves and commits.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.model.values import TableName
from recovery.postgres.client_programs import ClientTools
from recovery.postgres.connect import Session
from recovery.postgres.connection_target import KEEPALIVE, Target
from recovery.postgres.copy_rows import BLOCK_BYTES, Pair, write_rows

JOBS = 2
STATE = "nothing was written to the original"
TERM_DEADLINE_S = 10
STALLED_S = 60  # the tables are locked meanwhile
END_OF_DATA = b"\n\\.\n"
_TOC_TABLE_DATA = re.compile(r"^(\d+); 0 (\d+) TABLE DATA ", re.MULTILINE)
_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}


def dump_tables(
    tools: ClientTools,
    source: Target,
    tables: Sequence[TableName],
    into: Path,
    *,
    encoding: str,
    started: Callable[[int], None],
) -> int:
    """pg_dump the rows of `tables` into the new directory `into`, JOBS at once; returns its size in bytes.

    `encoding`: the client encoding of the session that will load them. `started(pid)` is called once pg_dump runs, so
    that a later process can end it. The password travels by
    environment. Raises dump-failed or disk-full; an interrupted dump's directory is left for the caller to remove.
    """
    import sh

    arguments = [
        "--format=directory",
        f"--jobs={JOBS}",
        f"--file={into}",
        "--data-only",
        "--compress=0",
        f"--encoding={encoding}",
        # where it leads is in its environment; a peer that is gone is noticed here as well
        f"--dbname={' '.join(f'{name}={value}' for name, value in KEEPALIVE.items())}",
        "--no-password",
        "--strict-names",
        *(f"--table={_pattern(table)}" for table in tables),
    ]
    running = sh.Command(str(tools.pg_dump))(
        *arguments, _env=child_environment(source), _bg=True, _bg_exc=False, _tty_out=False, _no_out=True
    )
    try:
        started(running.pid)
        running.wait()
    except sh.ErrorReturnCode as error:
        shutil.rmtree(into, ignore_errors=True)
        raise dump_failed(error.stderr.decode(errors="replace").strip()) from None  # its text repeats the environment
    finally:
        if running.is_alive():  # interrupted
            _end(running)
    return sum(path.stat().st_size for path in into.iterdir())


def _end(running: Any) -> None:
    """TERM first: the leader cancels its workers' queries; KILL would leave them running."""
    import sh

    running.terminate()
    with contextlib.suppress(sh.TimeoutException, sh.ErrorReturnCode):
        running.wait(timeout=TERM_DEADLINE_S)
    if running.is_alive():
        running.kill()


def end_orphan(pid: int, directory: Path) -> bool:
    """End a pg_dump that a dead rowback left behind, if process `pid` still is that one (Linux: /proc)."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    if str(directory).encode() not in command:
        return False
    os.kill(pid, signal.SIGTERM)
    return True


class DumpTransport:
    """The rows of a dump directory, table by table, into COPY on the original."""

    def __init__(self, tools: ClientTools, directory: Path) -> None:
        self._tools, self._directory = tools, directory

    def load(self, original: Session, tables: Sequence[Pair]) -> Mapping[TableName, int]:
        """See RowTransport. Raises dump-failed when pg_restore does, or stalls."""
        entries = self._ordered_entries(tables)
        listing = self._directory.with_suffix(".list")
        listing.write_text("\n".join(f"{entry};" for entry in entries) + "\n")
        command: list[str | Path] = [
            self._tools.pg_restore,
            "--data-only",
            f"--use-list={listing}",
            "--file=-",
            self._directory,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as restore:
            assert restore.stdout
            assert restore.stderr
            try:
                sections = _CopySections(restore.stdout)
                text = sql.SQL("(format text)")
                rows = {pair.name: write_rows(original, pair, sections.next(), text) for pair in tables}
                sections.finish()
                complaint = restore.stderr.read().decode(errors="replace").strip()
                restore.wait()
            finally:
                restore.kill()  # nothing to do unless the load stopped half-way
        if restore.returncode:
            raise dump_failed(complaint)
        return rows

    def _ordered_entries(self, tables: Sequence[Pair]) -> list[str]:
        """Dump ids in load order. Tables are found by oid: names in the listing are not quoted."""
        completed = subprocess.run(
            [self._tools.pg_restore, "--list", self._directory], capture_output=True, text=True, check=False
        )
        if completed.returncode:
            raise dump_failed(completed.stderr.strip())
        entry_of = {int(oid): entry for entry, oid in _TOC_TABLE_DATA.findall(completed.stdout)}
        missing = [str(pair.name) for pair in tables if pair.at_target.oid not in entry_of]
        if missing:
            raise dump_failed(f"the dump has no rows section for {', '.join(missing)}")
        return [entry_of[pair.at_target.oid] for pair in tables]


class _CopySections:
    r"""Cut pg_restore's script into the data between `COPY … FROM stdin;` and `\.`; no data line is just `\.`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._rest = stream, b""

    def next(self) -> Iterator[bytes]:
        """The data of the next section, without its terminator. Raises dump-failed when the script ends before it."""
        self._skip_header()
        # The newline that ends the header also ends the (possibly empty) data's previous line.
        pending = b"\n" + self._rest
        first = True
        while (end := pending.find(END_OF_DATA)) < 0:
            safe = len(pending) - len(END_OF_DATA) + 1
            if safe > BLOCK_BYTES:
                yield pending[first:safe]
                pending, first = pending[safe:], False
            pending += self._read()
        self._rest = pending[end + len(END_OF_DATA) :]
        if data := pending[first : end + 1]:
            yield data

    def finish(self) -> None:
        """Read the script to its end, so that pg_restore can report a late error."""
        while self._chunk():
            pass

    def _skip_header(self) -> None:
        """`COPY table (columns) FROM stdin;`, where quoted names may hold newlines and any text."""
        while not (header := self._line()).startswith(b"COPY "):
            pass
        while header.count(b'"') % 2 or not header.endswith(b" FROM stdin;"):
            header += b"\n" + self._line()

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            self._rest += self._read()
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _read(self) -> bytes:
        chunk = self._chunk()
        if not chunk:
            raise dump_failed("pg_restore's output ended in the middle of the rows")
        return chunk

    def _chunk(self) -> bytes:
        """What there is, at most BLOCK_BYTES; empty at the end. Raises dump-failed when nothing comes for too long."""
        if not select.select([self._stream], [], [], STALLED_S)[0]:
            raise dump_failed(f"pg_restore has written nothing for {STALLED_S} s")
        return self._stream.read(BLOCK_BYTES)


def _pattern(table: TableName) -> str:
    """A pg_dump pattern that matches exactly this table: inside double quotes nothing is special."""
    quoted = ('"' + part.replace('"', '""') + '"' for part in table.key)
    return ".".join(quoted)


def child_environment(target: Target) -> dict[str, str]:
    """Libpq's variables for a child process. Nothing is inherited: a stray PGOPTIONS or PGSERVICE must not steer it."""
    parameters = target.parameters()
    variables = {name: parameters[key] for key, name in _ENVIRONMENT.items() if key in parameters}
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGTZ": "UTC", **variables}


def dump_failed(words: str) -> RowbackError:
    """In the words of pg_dump or pg_restore; disk-full where they say so."""
    if "No space left on device" in words:
        return RowbackError(
            ErrorId.DISK_FULL,
            "the disk that holds the case directory is full",
            words,
            state=STATE,
            help="free space there, or set ROWBACK_HOME to a bigger disk, or use --transport copy",
        )
    return RowbackError(
        ErrorId.DUMP_FAILED,
        "pg_dump or pg_restore stopped",
        *words.splitlines()[-4:],
        state=STATE,
        help="the tool's own words are above",
    )
