"""What goes wrong in one act of an operator, and how it is brought about inside the operator's own process."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from recovery.store.journal import Journal, Record
from tests.soak.forwarder import Harm
from tests.soak.server import ORACLE, Place

AT_RECORDS = ("kill", "stop", "interrupt", "terminate", "append fails")
LOAD_EVENTS = (
    "step.start/load",
    "load.intent",
    "load.intent",
    "step.done/load",
    "step.start/verify",
    "verification",
    "repair.approved",
)
PORTION_EVENTS = ("load.intent", "load.intent", "load.portion", "load.portion", "step.done/load")
COMPARE_EVENTS = ("changes.begun", "step.start/diff", "step.done/diff", "step.done/read-target")
UNDO_EVENTS = ("changes.begun", "undo.intent", "undo.intent", "undo.done", "undo.stay", "verified.again")


class AppendFailsError(OSError):
    """The disk is full: the journal's record did not get there."""


@dataclass(frozen=True)
class Fault:
    """One fault. `kind` is one of AT_RECORDS at the `times`-th record `event`, `kill later`/`interrupt later` after
    `seconds`, or a harm of the forwarder."""

    kind: str
    event: str = ""
    times: int = 1
    seconds: float = 0.0
    harm: Harm | None = None

    @property
    def name(self) -> str:
        """What the summary counts it as."""
        return self.harm.kind if self.harm else self.kind

    def __str__(self) -> str:
        if self.harm:
            return f"{self.kind}: {self.harm.kind} {self.harm.number}"
        return f"{self.kind} at {self.event}#{self.times}" if self.event else f"{self.kind} after {self.seconds:.3f} s"


def draw_fault(rng: random.Random, act: str, *, paced: bool) -> Fault | None:
    """One fault for an act, or none."""
    if rng.random() < 0.3:
        return None
    kind = rng.choice([*AT_RECORDS, "kill", "kill later", "interrupt later", "network", "network"])
    if kind in AT_RECORDS:
        batches = paced and act == "load"
        events = {"compare": COMPARE_EVENTS, "load": PORTION_EVENTS if batches else LOAD_EVENTS}.get(act, UNDO_EVENTS)
        event = rng.choice(events)
        times = rng.choice([1, 1, 2, 3]) if batches and "/" not in event else 1
        return Fault(kind, event, times, rng.uniform(0.05, 0.4) if kind == "stop" else 0.0)
    if kind != "network":
        return Fault(kind, seconds=rng.uniform(0.0, 0.25))
    harm = rng.choice(["reset", "commit lost", "answer lost", "half open"]) if act != "compare" else "reset"
    number = int(10 ** rng.uniform(2.5, 5)) if harm == "reset" else rng.choice([1, 1, 2, 3]) if paced else 1
    return Fault(kind, harm=Harm(harm, number))


STARTING = (
    "case.opened",
    "step.start/start-copy",
    "step.done/start-copy",
    "step.start/await-copy",
    "step.done/await-copy",
    "step.start/secure-copy",
    "step.done/secure-copy",
)
ENDING = ("step.start/remove-copy", "step.done/remove-copy")
EVENTS_OF_COMMANDS = {
    "restore": (*STARTING, *COMPARE_EVENTS, "dump.started", *LOAD_EVENTS, *LOAD_EVENTS, *ENDING),
    "open": STARTING,
    "diff": COMPARE_EVENTS,
    "apply": (*LOAD_EVENTS, "load.portion"),
    "undo": UNDO_EVENTS,
    "close": ("case.closing", *ENDING, "case.closed"),
}
RDS_CALLS = ("RestoreDBInstanceToPointInTime", "DescribeDBInstances", "ModifyDBInstance", "DeleteDBInstance")
RDS_ERRORS = {"Throttling": (400, 2), "InternalFailure": (500, 2), "AccessDenied": (403, 1), "ExpiredToken": (403, 1)}
OF_COMMANDS = (
    "kill",
    "kill",
    "kill",
    "kill group later",
    "kill group later",
    "stop",
    "interrupt",
    "terminate",
    "terminate",
    "original crashes",
    "original restarts",
    "RDS call",
    "RDS call",
    "restore fails",
    "copy deleted",
)
BY_HARNESS = ("original crashes", "original restarts", "copy deleted")


def draw_fault_of_command(rng: random.Random, verb: str, *, sure: bool) -> Fault | None:
    """One fault for a command line on the lab, or none."""
    if not sure and rng.random() < 0.6:
        return None
    starts = verb in ("restore", "open")
    kind = rng.choice([k for k in OF_COMMANDS if starts or k not in ("restore fails", "copy deleted")])
    if kind == "RDS call":
        calls = RDS_CALLS if starts else RDS_CALLS[-1:] if verb == "close" else RDS_CALLS[1:2]
        call, code = rng.choice(calls), rng.choice(sorted(RDS_ERRORS))
        return Fault(kind, f"{call} {code}", RDS_ERRORS[code][1])
    if kind == "restore fails":
        return Fault(kind, rng.choice(["incompatible-restore", "restore-error", "storage-full"]))
    if kind == "kill group later":
        return Fault(kind, seconds=rng.uniform(0.3, 3.0 if starts else 1.2))
    events = EVENTS_OF_COMMANDS[verb]
    if kind == "copy deleted":
        events = ("step.done/await-copy", "step.done/secure-copy", *COMPARE_EVENTS[:2])
    return Fault(kind, rng.choice(events), 1, rng.uniform(0.5, 2.0) if kind == "stop" else 0.0)


def arm(fault: Fault, victims: Place) -> None:
    """Wrap the journal's `append` of this process from outside, so that the fault strikes behind its record, or instead
    of it. `victims`: whose sessions of rowback are terminated."""
    append, seen = Journal.append, itertools.count(1)
    strike = _strikes(victims)[fault.kind]

    def append_and_strike(
        self: Journal, event: str, *, step: str | None = None, data: Mapping[str, Any] | None = None
    ) -> Record:
        due = fault.event == (f"{event}/{step}" if step else event) and next(seen) == fault.times
        if due and fault.kind == "append fails":
            strike()
        record = append(self, event, step=step, data=data)
        if due and fault.kind != "append fails":
            strike()
        return record

    Journal.append = append_and_strike  # type: ignore[method-assign]


def _strikes(victims: Place) -> dict[str, Callable[[], object]]:
    def fail() -> None:
        raise AppendFailsError(errno.ENOSPC, "no space left (injected)")

    return {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
        "terminate": lambda: terminate(victims),
        "append fails": fail,
    }


def terminate(victims: Place) -> int:
    """End every session of rowback in a database, as an impatient administrator does; how many there were."""
    with victims.connect(ORACLE) as boss:
        rows = boss.execute(
            sql.SQL(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where application_name = 'rowback' and datname = {}"
            ).format(sql.Literal(victims.database))
        ).fetchall()
    return len(rows)
