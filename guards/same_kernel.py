"""Proof that a server runs on this very kernel: its backend is a process here that names our own connection.

A tunnel, a pooler or a forwarder on localhost cannot fake it: the backend behind it talks to another port
(facts/guards.md §4b, §6.1). Linux only; elsewhere, and with update_process_title off, nothing is proven.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TITLE = re.compile(r"^postgres: .*?(?:(?P<host>\[local\])|\((?P<port>\d+)\))(?: |$)")
_WHOSE = re.compile(r"^postgres: (?:\S+: )?(?P<role>\S+) (?P<database>\S+) (?:\[local\]|\S+\(\d+\))(?: |$)")


@dataclass(frozen=True)
class Backend:
    """Which database of which running server of this kernel serves a socket: the same value, the same database."""

    postmaster_pid: int
    postmaster_started: int  # in clock ticks since the boot: a pid may come again, with its ticks it does not
    role: str
    database: str


def backend_here(fd: int, backend_pid: int) -> Backend | None:
    """Who serves socket `fd`, without asking the server; None where this kernel cannot prove it.

    Cheap (three reads below /proc), and only of processes in our own namespace: containers are asked in full.
    """
    title = _WHOSE.match(_title(backend_pid))
    if title is None or not _serves(fd, backend_pid):
        return None
    parent = _field(backend_pid, "PPid")
    stat = _read(PROC / parent / "stat").rpartition(")")[2].split()
    if len(stat) <= 19:
        return None
    return Backend(int(parent), int(stat[19]), title["role"], title["database"])


def _serves(fd: int, backend_pid: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return _field(backend_pid, "PPid") == str(_listener(ours))
        title = _TITLE.match(_title(backend_pid))
        return title is not None and title["port"] == str(ours.getsockname()[1])


def runs_here(fd: int, backend_pid: int, client: str | None = None) -> str | None:
    """How it is proven that backend `backend_pid` (as the server calls it) serves socket `fd`; None when it is not.

    `client`: whom the server sees, as its title writes it: `172.18.0.1(45678)`. A container's published port is served
    by Docker's proxy, so that is not us; but no container here has that number and that client unless it is the one.
    """
    with socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return _by_peer(ours, backend_pid)
        return _by_port(ours.getsockname()[1], backend_pid) or _by_client(client, backend_pid)


def peer_of(fd: int) -> tuple[str, int]:
    """Where a socket really leads: address and port, or a unix socket's directory and number."""
    with socket.socket(fileno=os.dup(fd)) as ours:
        peer = ours.getpeername()
    if isinstance(peer, tuple):
        return str(peer[0]), int(peer[1])
    directory, _, number = str(peer).rpartition("/.s.PGSQL.")
    return directory, int(number) if number.isdigit() else 0


def _by_port(port: int, backend_pid: int) -> str | None:
    for pid in _candidates(backend_pid):
        title = _TITLE.match(_title(pid))
        if title and title["port"] == str(port):
            return f"backend {pid} on this machine serves our port {port}"
    return None


def _by_client(client: str | None, backend_pid: int) -> str | None:
    """A container of this kernel whose backend bears that number inside and names that client."""
    for pid in _contained(backend_pid) if client else ():
        if f" {client} " in f"{_title(pid)} ":
            return f"backend {pid}, in a container on this machine, serves {client}"
    return None


def _by_peer(ours: socket.socket, backend_pid: int) -> str | None:
    """The process that listens on the socket is the parent of our backend: no forwarder stands between."""
    listener = _listener(ours)
    for pid in _candidates(backend_pid):
        if listener and _field(pid, "PPid") == str(listener) and _TITLE.match(_title(pid)):
            return f"backend {pid} is a child of process {listener}, which listens on our socket"
    return None


def _listener(ours: socket.socket) -> int:
    """The process that listens on the other side of a unix socket; 0 where the platform does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    pid, _, _ = struct.unpack("3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def _title(pid: int) -> str:
    return _read(PROC / str(pid) / "cmdline").replace("\0", " ")


def _candidates(backend_pid: int) -> Iterator[int]:
    """The process of that number, then those that are called so in a namespace of their own (a container)."""
    yield backend_pid
    yield from _contained(backend_pid)


def _contained(backend_pid: int) -> Iterator[int]:
    for path in PROC.glob("[0-9]*"):
        inside = _field(int(path.name), "NSpid").split()
        if len(inside) > 1 and inside[-1] == str(backend_pid):
            yield int(path.name)


def _field(pid: int, name: str) -> str:
    for line in _read(PROC / str(pid) / "status").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def started_at() -> float | None:
    """When this machine, or the container we are in, came up (seconds since 1970); None where it is not known."""
    for line in _read(PROC / "stat").splitlines():
        if line.startswith("btime "):
            ticks = _read(PROC / "1" / "stat").rpartition(")")[2].split()
            since_boot = int(ticks[19]) / os.sysconf("SC_CLK_TCK") if len(ticks) > 19 else 0.0
            return int(line.split()[1]) + since_boot
    return None
