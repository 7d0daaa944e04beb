"""The run that this process belongs to: the guarded process that it descends from, and when that began.

Databases that a run creates are its own, and its verdicts hold until it ends, in its child processes as well. They
learn of it by a variable, which counts only where the process that it names is an ancestor: one that was left behind
in a shell or a file names none.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime

from guards import system_clock
from guards.process_table import Process, ancestors, boot_id, process, started_at_s

VARIABLE = "ROWBACK_GUARD_RUN"


@dataclass(frozen=True)
class Run:
    """`key`: names the first process of the run, on this machine and for good. `began_at`: when that was started."""

    key: str
    began_at: datetime


def this_run() -> Run:
    """The run of this process: that of the guarded ancestor which the environment names, else its own."""
    inherited = os.environ.get(VARIABLE, "")
    for each in ancestors(os.getpid()):
        if inherited == _key(each):
            return _run(each)
    own = process(os.getpid())
    return _run(own) if own else Run(f"{os.getpid()}", system_clock.now())


def join(environment: MutableMapping[str, str]) -> None:
    """Let processes that are started with `environment` belong to the run of this one."""
    environment[VARIABLE] = this_run().key


def _run(of: Process) -> Run:
    began_s = started_at_s(of)
    return Run(_key(of), datetime.fromtimestamp(began_s, UTC) if began_s else system_clock.now())


def _key(of: Process) -> str:
    return f"{boot_id()}/{of.pid}/{of.started_ticks}"
