"""Processes of this machine as /proc shows them: parents, starts, titles. Empty answers where there is no /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process: its id, the id of its parent, its session's, its name, and its start in clock ticks after the boot.

    A pid is given again; together with its start it is not.
    """

    pid: int
    parent_pid: int
    session_id: int
    name: str
    started_ticks: int


def process(pid: int) -> Process | None:
    """The process of that id; None where there is none, or where it cannot be seen."""
    name, _, rest = read(PROC / str(pid) / "stat").rpartition(")")
    fields = rest.split()
    if len(fields) <= 19:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), name.partition("(")[2], int(fields[19]))


def ancestors(pid: int) -> Iterator[Process]:
    """The process, its parent, and so on up to the first one of this namespace."""
    while pid > 0 and (each := process(pid)):
        yield each
        pid = each.parent_pid


def started_at_s(of: Process) -> float | None:
    """When a process was started, in seconds since 1970; None where the boot's time is not known."""
    booted = _booted_at_s()
    return booted + of.started_ticks / os.sysconf("SC_CLK_TCK") if booted else None


def title(pid: int) -> str:
    """The command line of a process, as ps shows it."""
    return read(PROC / str(pid) / "cmdline").replace("\0", " ")


def field(pid: int, name: str) -> str:
    """One line of /proc/PID/status, without its name."""
    for line in read(PROC / str(pid) / "status").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""


def read(path: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _booted_at_s() -> int | None:
    for line in read(PROC / "stat").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return None


@cache
def boot_id() -> str:
    """What tells one boot of this machine from another."""
    return read(PROC / "sys/kernel/random/boot_id").strip()
