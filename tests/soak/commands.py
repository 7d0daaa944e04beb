"""One command line of rowback in a process group of its own, with one fault brought about while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fix_cli import AS_FROM_A_SHELL
from tests.soak.faults import BY_HARNESS, RDS_ERRORS, Fault
from tests.soak.lab import LabServer
from tests.soak.process import HUNG

ROOT = Path(__file__).parents[2]
SIGNALS = {"kill": "SIGKILL", "stop": "SIGSTOP", "interrupt": "SIGINT"}
DEADLINE_S, LOOK_S = 120.0, 0.01


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str
    struck: bool
    seconds: float


@dataclass
class Command:
    """A command to run. `home`: the operator's; `case`: the case that a fault of the harness is about."""

    lab: LabServer
    home: Path
    arguments: Sequence[str]
    fault: Fault | None
    database: str
    case: Callable[[], str | None]
    _struck: bool = field(default=False)
    _stopped_at: float = field(default=0.0)

    def run(self) -> Finished:
        """To its end. Raises TimeoutError where it hangs."""
        self._order()
        began = time.monotonic()
        scratch = self.home / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        out, err = self.home.parent / f"{self.home.name}.out", self.home.parent / f"{self.home.name}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                [sys.executable, "-c", AS_FROM_A_SHELL, *self._line()],
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                env=self._environment(scratch),
                cwd=scratch,
                start_new_session=True,
            )
        self._watch(process, began)
        code = process.returncode
        return Finished(
            code,
            out.read_text(errors="replace"),
            err.read_text(errors="replace"),
            self._struck or self._shows(code),
            time.monotonic() - began,
        )

    def start(self) -> subprocess.Popen[bytes]:
        """The same without waiting for it."""
        scratch = self.home / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", AS_FROM_A_SHELL, *self._line()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment(scratch),
            cwd=scratch,
            start_new_session=True,
        )

    def _line(self) -> list[str]:
        fault = self.fault
        if fault and fault.event and fault.kind in (*SIGNALS, "terminate"):
            event, _, step = fault.event.partition("/")
            if fault.kind == "terminate":
                return ["tests.faults.strike_at", event, step or "-", *self.arguments]
            return ["tests.faults.signal_at", SIGNALS[fault.kind], event, step or "-", *self.arguments]
        return ["recovery.cli", *self.arguments]

    def _environment(self, scratch: Path) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "AWS_", "ROWBACK_"))}
        dsn = self.lab.place(self.database).dsn
        return {
            **kept,
            **self.lab.exports,
            "ROWBACK_HOME": str(self.home),
            "TMPDIR": str(scratch),
            "PYTHONPATH": str(ROOT),
            **({"STRIKE_DSN": dsn} if self.fault and self.fault.kind == "terminate" else {}),
        }

    def _order(self) -> None:
        """What the lab brings about by itself."""
        if self.fault and self.fault.kind == "RDS call":
            call, _, code = self.fault.event.partition(" ")
            status, times = RDS_ERRORS[code]
            self.lab.order("fault", action=call, code=code, http_status=status, times=times)
        if self.fault and self.fault.kind == "restore fails":
            self.lab.order("next-restore", status=self.fault.event)

    def _watch(self, process: subprocess.Popen[bytes], began: float) -> None:
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
            now = time.monotonic()
            if self.fault:
                self._strike(process, self.fault, now - began)
            if now - began > DEADLINE_S:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise TimeoutError(f"rowback {' '.join(self.arguments)} did not end within {DEADLINE_S:.0f} s ({HUNG})")

    def _strike(self, process: subprocess.Popen[bytes], fault: Fault, seconds: float) -> None:
        if fault.kind == "kill group later" and not self._struck and seconds > fault.seconds:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
                self._struck = True
        if fault.kind == "stop" and _is_stopped(process.pid):
            self._stopped_at = self._stopped_at or seconds
            if seconds - self._stopped_at > fault.seconds:
                os.kill(process.pid, signal.SIGCONT)
                self._struck = True
        if fault.kind in BY_HARNESS and not self._struck and self._recorded(fault.event):
            self._struck = True
            match fault.kind:
                case "original crashes":
                    self.lab.crash()
                case "original restarts":
                    self.lab.restart()
                case _:
                    self._struck = self.lab.delete(f"rowback-{self.case()}")

    def _recorded(self, event: str) -> bool:
        """Whether the newest case's journal has a record by now."""
        if not (case := self.case()):
            return False
        name, _, step = event.partition("/")
        wanted = f'"event":"{name}"' + (f',"step":"{step}"' if step else "")
        return wanted in (self.home / "cases" / case / "journal.jsonl").read_text(errors="replace")

    def _shows(self, code: int) -> bool:
        match self.fault.kind if self.fault else "":
            case "kill":
                return code == -signal.SIGKILL
            case "interrupt":
                return code == 130
            case "terminate" | "RDS call" | "restore fails":
                return code != 0
            case _:
                return False


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
