"""Progress: one line a step, a heartbeat while it lasts, a live line on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from recovery.report import progress_listener
from recovery.report.progress_listener import PlainListener


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    plain = PlainListener(out)
    plain.step_started("await-copy", "wait until it is restored")
    plain.progress("creating", 1.0)
    monkeypatch.setattr(progress_listener, "HEARTBEAT_S", 0.0)
    plain.progress("creating", 61.0)
    plain.progress("backing-up", 121.0)
    plain.step_done("await-copy", "PostgreSQL 17.4", 130.0)
    plain.step_started("load", "put the rows back")
    plain.step_failed("load", "interrupted")
    plain.step_started("verify", "prove the result")
    plain.step_done("verify", "", 0.25)
    assert out.getvalue().splitlines() == [
        "wait until it is restored … ",
        "  creating, 61 s",
        "  backing-up, 121 s",
        "await-copy … 130.0 s: PostgreSQL 17.4",
        "put the rows back … stopped: interrupted",
        "prove the result … 0.2 s",
    ]


def test_a_terminal_gets_a_live_line() -> None:
    script = (
        "from recovery.report.progress_listener import listener\n"
        "l = listener()\n"
        "l.step_started('load', 'put the rows back')\nl.progress('creating [x]', 3.0)\n"
        "l.step_done('load', '3 rows', 0.5)\n"
        "l.step_started('verify', 'prove [it]')\nl.step_failed('verify', 'no [bold]')\n"
    )
    parent, child = pty.openpty()
    done = subprocess.run([sys.executable, "-c", script], stderr=child, check=True, env={**os.environ, "TERM": "xterm"})
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert done.returncode == 0
    assert "put the rows back" in shown
    assert "creating [x], 3 s" in shown
    assert "3 rows" in shown
    assert "prove [it]: no [bold]" in shown
