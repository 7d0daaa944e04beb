"""An operator's process: forked, watched, stopped, killed; nothing of it may outlive its act."""

from __future__ import annotations

import faulthandler
import multiprocessing as mp
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from tests.soak.faults import AT_RECORDS, AppendFailsError, Fault, arm
from tests.soak.product import Told
from tests.soak.server import Place

DEADLINE_S = 60.0
KILLED, INTERRUPTED, CRASHED, HUNG = -9, 130, 1, 124
UNANSWERED = "ended with {}"
LOOK_S = 0.005


@dataclass(frozen=True)
class Ended:
    """How an act ended, and whether its fault is seen to have struck."""

    told: Told
    struck: bool
    seconds: float


def perform(work: Callable[[], Told], fault: Fault | None, victims: Place) -> Ended:
    """Run `work` in a process of its own, with one fault."""
    context = mp.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, work, fault, victims))
    began = time.monotonic()
    process.start()
    theirs.close()
    assert process.pid
    struck = _watch(process, fault, began)
    told = _receive(ours, process)
    ours.close()
    process.join()
    return Ended(told, struck or (fault is not None and _shows(told, fault)), time.monotonic() - began)


def _work(pipe: Pipe, work: Callable[[], Told], fault: Fault | None, victims: Place) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # where a process hangs is part of what is found
    if fault and fault.kind in AT_RECORDS:
        arm(fault, victims)
    try:
        told = work()
    except KeyboardInterrupt:
        told = Told(INTERRUPTED)
    except AppendFailsError as error:
        told = Told(CRASHED, f"injected: {error}")
    except Exception:  # noqa: BLE001 (whatever it is: an unexpected traceback is what this looks for)
        told = Told(CRASHED, traceback.format_exc())
    pipe.send(told)
    pipe.close()


def _watch(process: mp.process.BaseProcess, fault: Fault | None, began: float) -> bool:
    """Wake a stopped process after its time, strike by the clock, and end one that hangs; whether that happened."""
    assert process.pid
    stopped_at, struck = 0.0, False
    by_clock = {"kill later": signal.SIGKILL, "interrupt later": signal.SIGINT}.get(fault.kind if fault else "")
    while process.exitcode is None:
        process.join(LOOK_S)
        now = time.monotonic()
        if fault and by_clock and not struck and now - began > fault.seconds:
            struck = _signal(process.pid, by_clock)
        if fault and fault.kind == "stop" and _is_stopped(process.pid):
            stopped_at = stopped_at or now
            if now - stopped_at > fault.seconds:
                struck = _signal(process.pid, signal.SIGCONT)
        if now - began > DEADLINE_S:
            _signal(process.pid, signal.SIGUSR2)
            process.join(1)
            _signal(process.pid, signal.SIGKILL)
            raise TimeoutError(f"an operator's process did not end within {DEADLINE_S:.0f} s")
    return struck


def _receive(pipe: Pipe, process: mp.process.BaseProcess) -> Told:
    if process.exitcode == 0 and pipe.poll():
        told: Told = pipe.recv()
        return told
    return Told(KILLED if process.exitcode == -signal.SIGKILL else CRASHED, UNANSWERED.format(process.exitcode))


def is_crash(told: Told, fault: Fault | None) -> bool:
    """Whether a process ended by a traceback, or without an answer. An interrupt may cut the answer off."""
    interrupted = fault is not None and fault.kind.startswith("interrupt") and told.words == UNANSWERED.format(1)
    silent = told.words.startswith(UNANSWERED.format("")) and not interrupted
    return told.code == CRASHED and (silent or "Traceback" in told.words)


def _shows(told: Told, fault: Fault) -> bool:
    """Whether the end tells that a fault struck, as far as that can be told."""
    match fault.kind:
        case "kill":
            return told.code == KILLED
        case "interrupt":
            return told.code == INTERRUPTED
        case "append fails":
            return told.code == CRASHED
        case _:
            return told.code != 0


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
