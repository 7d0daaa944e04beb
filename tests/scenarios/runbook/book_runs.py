"""What the tests of runs share: books, and running them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from runbooks.processes import runs
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, wait_until

FRONT = """\
---
title: People are gone
purpose: Put them back.
when: Somebody says so.
parameters:
  instance: {type: instance}
  database: {type: database}
  target: {type: time}
objectives: {recovery_time: 60m}
---
# People are gone

Words.
"""


RESTORE = (
    FRONT
    + """
```sql id=count timeout=1m rows=1 save=before
select count(*) from people
```

- [ ] They are gone indeed.

```rowback id=restore timeout=5m save=case=case undo="rowback undo $CASE --confirm $DATABASE"
rowback restore $INSTANCE --at $TARGET --database $DATABASE --confirm $DATABASE --json
```

```sh id=tell timeout=1m reads expect="^2 people"
echo "2 people are back, there were $RUNBOOK_BEFORE"
```

```sql id=look timeout=1m rows=2+
select name from people where name <> :'database'
```
"""
)


def given(cli: Cli, database: Database, target: str) -> list[str]:
    return ["-p", f"instance={cli.live.identifier}", "-p", f"database={database.name}", "-p", f"target={target}"]


def write(text: str) -> str:
    Path("book.md").write_text(textwrap.dedent(text))
    return "book.md"


def run(cli: Cli, database: Database, target: str, *extra: str, **environment: str) -> Ran:
    return cli(
        "runbook",
        "run",
        "book.md",
        *given(cli, database, target),
        "--mode",
        "auto",
        "--confirmed",
        "they-are-gone-indeed",
        *extra,
        **environment,
    )


def the_run(cli: Cli) -> dict[str, Any]:
    (found,) = json.loads(cli("runbook", "runs", "--json").out)
    return dict(found)


def logs(cli: Cli) -> dict[str, str]:
    (directory,) = (cli.home / "runs").iterdir()
    return {path.name: path.read_text() for path in sorted((directory / "logs").iterdir())}


def people(database: Database) -> int:
    return int(database.rows("select count(*) from people")[0][0])


class Terminal:
    """A person's terminal: what is shown is read from it, what is typed is written to it."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recovery.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **cli.environment},
        )
        os.close(slave)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until that is shown, behind what was read before."""
        start = len(self.shown)
        wait_until(lambda: self._read() and text in self.shown[start:], f"{text!r} in {self.shown[-500:]!r}")

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def end(self) -> int:
        while self.process.poll() is None:
            self._read()
        return self.process.returncode

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.05)
        if ready:
            with contextlib.suppress(OSError):
                self.shown += os.read(self._master, 65536).decode(errors="replace")
        return True


def reached(cli: Cli, moment: str) -> bool:
    event, step = moment.split()
    directories = list((cli.home / "runs").glob("*/journal.jsonl"))
    if not directories:
        return False
    if event == "in":
        journals = list((cli.home / "cases").glob("*/journal.jsonl"))
        return bool(journals) and '"step.done","step":"await-copy"' in journals[0].read_text()
    return f'"step.{event}","step":"{step}"' in directories[0].read_text()


def kill(process: subprocess.Popen[str]) -> None:
    """The run first, so that it sees nothing; then its children, which have sessions of their own.

    It is stopped before its children are counted: it may be about to begin one more.
    """
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: process.poll() is not None or state(process.pid) in "TZ", "it stands still")
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if (text := read(path)) and text.rpartition(")")[2].split()[1] == str(process.pid)
    ]
    process.kill()
    for child in children:
        for end in (os.killpg, os.kill):  # one that has just begun has no session yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(child, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(runs, children)), "all are gone")


def state(pid: int) -> str:
    """Its letter in /proc; Z where there is none."""
    return (read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() or ["Z"])[0]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
