"""Run the command line as a user does, in this process (fast) or in one of its own (to be killed)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from recovery.cli import main
from recovery.model.target import format_utc
from tests.fix_lab import Database, Live, discard

# A test run started as a background job hands an ignored SIGINT down; a person's shell does not.
AS_FROM_A_SHELL = (
    "import runpy, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
)


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


class Cli:
    """`cli("plan", …)` with an environment that points at one instance of a lab and a home of its own."""

    def __init__(self, live: Live, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.live, self.home, self._monkeypatch = live, home, monkeypatch
        self.environment: Mapping[str, str] = {
            **live.lab.environment(),
            "PGUSER": live.user,
            "PGPASSWORD": live.password,
            "ROWBACK_HOME": str(home),
        }

    def __call__(self, *arguments: str, **environment: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rowback", *arguments])
            patch.setattr(sys, "stdin", io.StringIO())
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            if "AWS_ACCESS_KEY_ID" in environment:  # boto3 keeps the credentials that it found first
                patch.setattr(boto3, "DEFAULT_SESSION", None)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    code = 0
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 0
        return Ran(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, module: str = "recovery.cli", **environment: str) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", AS_FROM_A_SHELL, module, *arguments],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment, **environment},
        )


def the_case(cli: Cli) -> dict[str, Any]:
    """The report of the only case there is."""
    (found,) = json.loads(cli("cases", "--json").out)
    return dict(found)


def restoring(cli: Cli, database: Database, target: datetime, *extra: str) -> list[str]:
    """Arguments of `restore` for this database."""
    return [
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--confirm",
        database.name,
        *extra,
    ]


@pytest.fixture
def cli(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line on this module's instance, started in an empty directory. Copies left behind go with it."""
    before = set(live.lab.engine.instances)
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("PG", "AWS_", "ROWBACK_")) and name != "ROWBACK_PG_BIN":
            monkeypatch.delenv(name)
    yield Cli(live, tmp_path / "home", monkeypatch)
    discard(live.lab, lambda name: name.startswith("rowback-") and name not in before)
