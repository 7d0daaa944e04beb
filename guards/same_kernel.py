"""Proof that a server runs on this very kernel.

Its backend is a process here that names our own connection, or it sees both ends of our connection as we do, on the
loopback of our network namespace.

A tunnel, a pooler or a forwarder on localhost cannot fake it: the backend behind it talks to another port
(sources: GUARD-identity). Linux only; elsewhere nothing is proven by processes.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from guards.process_table import PROC, field, process, read, title

_TITLE = re.compile(r"^postgres: .*?(?:(?P<host>\[local\])|\((?P<port>\d+)\))(?: |$)")
_WHOSE = re.compile(r"^postgres: (?:\S+: )?(?P<role>\S+) (?P<database>\S+) (?:\[local\]|\S+\(\d+\))(?: |$)")
_CLIENT = re.compile(r"^postgres: .*? (?P<client>\[local\]|\S+\(\d+\))(?: |$)")


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
    whose = _WHOSE.match(title(backend_pid))
    if whose is None or not _serves(fd, backend_pid):
        return None
    backend = process(backend_pid)
    postmaster = process(backend.parent_pid) if backend else None
    if postmaster is None:
        return None
    return Backend(postmaster.pid, postmaster.started_ticks, whose["role"], whose["database"])


def _serves(fd: int, backend_pid: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return field(backend_pid, "PPid") == str(_listener(ours))
        match = _TITLE.match(title(backend_pid))
        return match is not None and match["port"] == str(ours.getsockname()[1])


def runs_here(fd: int, backend_pid: int, client: str | None = None, server: str | None = None) -> str | None:
    """The proof that backend `backend_pid` (the server's own number) serves socket `fd` on this kernel, or None.

    `client`: the client's address as the server sees it, in the form of a process title: `172.18.0.1(45678)`;
    `server`: the server's own address in that form. Behind a container's published port the client is Docker's proxy;
    that a container here runs a backend of that number for that client is the proof.
    """
    with socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return _by_peer(ours, backend_pid)
        port = ours.getsockname()[1]
        if (proof := _by_port(port, backend_pid)) or (proof := _by_loopback(ours, client, server)):
            return proof
        return _by_container(port, backend_pid, client)


def is_direct(fd: int, client: str | None, server: str | None) -> bool:
    """Whether the server sees both ends of our connection as we do: nothing that forwards stands between."""
    with socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return False
        return (client, server) == (_end(ours.getsockname()), _end(ours.getpeername()))


def client_of(backend_pid: int) -> str | None:
    """The client of a backend on this kernel, from its process title; servers hide it from ordinary roles."""
    match = _CLIENT.match(title(backend_pid))
    return match["client"] if match else None


def peer_of(fd: int) -> tuple[str, int]:
    """Where a socket really leads: address and port, or a unix socket's directory and number."""
    with socket.socket(fileno=os.dup(fd)) as ours:
        peer = ours.getpeername()
    if isinstance(peer, tuple):
        return str(peer[0]), int(peer[1])
    directory, _, number = str(peer).rpartition("/.s.PGSQL.")
    return directory, int(number) if number.isdigit() else 0


def _end(address: tuple[str, int]) -> str:
    return f"{address[0].removeprefix('::ffff:')}({address[1]})"


def _by_port(port: int, backend_pid: int) -> str | None:
    match = _TITLE.match(title(backend_pid))
    if match and match["port"] == str(port):
        return f"backend {backend_pid} on this machine serves our port {port}"
    return None


def _by_loopback(ours: socket.socket, client: str | None, server: str | None) -> str | None:
    """Loopback addresses do not leave a network namespace: who sees the same two ends is in ours (a pod's sidecar)."""
    our_end, their_end = _end(ours.getsockname()), _end(ours.getpeername())
    loopback = ipaddress.ip_address(str(ours.getpeername()[0]).removeprefix("::ffff:")).is_loopback
    if loopback and (client, server) == (our_end, their_end):
        return f"it sees our port {ours.getsockname()[1]} on the loopback that we share"
    return None


def _by_container(port: int, backend_pid: int, client: str | None) -> str | None:
    """A container of this kernel whose backend bears that number inside and names our port, or that client."""
    for pid in _contained(backend_pid):
        match = _TITLE.match(title(pid))
        if match and match["port"] == str(port):
            return f"backend {pid} on this machine serves our port {port}"
        if client and f" {client} " in f"{title(pid)} ":
            return f"backend {pid}, in a container on this machine, serves {client}"
    return None


def _by_peer(ours: socket.socket, backend_pid: int) -> str | None:
    """The process that listens on the socket is the parent of our backend: no forwarder stands between."""
    listener = _listener(ours)
    for pid in _candidates(backend_pid) if listener else ():
        if field(pid, "PPid") == str(listener) and _TITLE.match(title(pid)):
            return f"backend {pid} is a child of process {listener}, which listens on our socket"
    return None


def _listener(ours: socket.socket) -> int:
    """The process that listens on the other side of a unix socket; 0 where the platform does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    pid, _, _ = struct.unpack("3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def _candidates(backend_pid: int) -> Iterator[int]:
    """The process of that number, then those that are called so in a namespace of their own (a container)."""
    yield backend_pid
    yield from _contained(backend_pid)


def _contained(backend_pid: int) -> Iterator[int]:
    """Processes of other pid namespaces that are called so there: a walk over all of /proc, of 10 ms and more."""
    for path in PROC.glob("[0-9]*"):
        inside = _last_pid(read(path / "status"))
        if inside == str(backend_pid):
            yield int(path.name)


def _last_pid(status: str) -> str | None:
    _, separator, rest = status.partition("\nNSpid:")
    inside = rest.partition("\n")[0].split() if separator else []
    return inside[-1] if len(inside) > 1 else None
