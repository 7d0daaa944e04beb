"""A way to a server through a program of the user's: SSM port forwarding, ssh, or whatever leads to it.

The program is started once for each server and listens on a port of this machine. libpq is given that port as address,
and the server's own name to verify its certificate by. It ends with this process, however this process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from recovery.config import PLACES
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import Endpoint

LOOPBACK: Final = "127.0.0.1"
UP_S, LOOK_AGAIN_S = 60.0, 0.05
WORDS_SHOWN, WORDS_BYTES = 3, 4096


@dataclass(frozen=True)
class _Tunnel:
    """A program that listens. `words`: what it wrote, for when it fails. `arguments`: as it was started."""

    process: subprocess.Popen[bytes]
    local_port: int
    words: IO[bytes]
    arguments: Sequence[str]

    @property
    def up(self) -> bool:
        """Whether it runs still."""
        return self.process.poll() is None


_lock = threading.Lock()
_tunnels: dict[tuple[tuple[str, ...], Endpoint], _Tunnel] = {}


def local_port(command: tuple[str, ...], endpoint: Endpoint, label: str) -> int:
    """The port of this machine that leads to `endpoint`; starts the program where it does not run (any more).

    `command`: its arguments, with {host}, {port} and {local_port} in them. `label`: the server, for the error. Raises
    config-invalid where there is no such program, server-unreachable where it ends or does not listen in time.
    """
    with _lock:
        tunnel = _tunnels.get((command, endpoint))
        if tunnel is None or not tunnel.up:
            tunnel = _tunnels[command, endpoint] = _start(command, endpoint)
            _await_port(tunnel, label, endpoint)
        return tunnel.local_port


def words_of(command: tuple[str, ...], endpoint: Endpoint) -> list[str]:
    """What the program that leads to `endpoint` wrote last, and how it is run by itself."""
    with _lock:
        tunnel = _tunnels.get((command, endpoint))
    if tunnel is None:
        return []
    return [*_last_words(tunnel), "the way there is a tunnel: " + " ".join(tunnel.arguments)]


def _last_words(tunnel: _Tunnel) -> list[str]:
    descriptor = tunnel.words.fileno()  # not sought in: the program writes where that would lead
    size_bytes = os.fstat(descriptor).st_size
    words = os.pread(descriptor, WORDS_BYTES, max(0, size_bytes - WORDS_BYTES))
    return words.decode("utf-8", "replace").strip().splitlines()[-WORDS_SHOWN:]


def _start(command: tuple[str, ...], endpoint: Endpoint) -> _Tunnel:
    if shutil.which(command[0]) is None:
        raise RowbackError(
            ErrorId.CONFIG_INVALID,
            f"there is no program '{command[0]}', which the profile's tunnel begins with",
            state=NOTHING_CREATED,
            help="install it, or name it with its whole path: tunnel in rowback.toml",
        )
    port = _free_port()
    values = dict(zip(PLACES, (endpoint.host, str(endpoint.port), str(port)), strict=True))
    arguments = [_filled(each, values) for each in command]
    words = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the program)
    keeper = [sys.executable, "-P", str(Path(__file__).with_name("tunnel_keeper.py")), *arguments]
    process = subprocess.Popen(
        keeper, stdin=subprocess.PIPE, stdout=words, stderr=subprocess.STDOUT, start_new_session=True
    )
    atexit.register(_close, process)
    return _Tunnel(process, port, words, arguments)


def _filled(argument: str, values: Mapping[str, str]) -> str:
    """Not str.format: arguments of other programs are full of braces."""
    for place, value in values.items():
        argument = argument.replace(place, value)
    return argument


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _await_port(tunnel: _Tunnel, label: str, endpoint: Endpoint) -> None:
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline and tunnel.up:
        try:
            socket.create_connection((LOOPBACK, tunnel.local_port), timeout=1).close()
            return
        except OSError:
            time.sleep(LOOK_AGAIN_S)
    ended = "does not listen" if tunnel.up else f"ended with code {tunnel.process.returncode}"
    words = _last_words(tunnel)
    _close(tunnel.process)
    raise RowbackError(
        ErrorId.SERVER_UNREACHABLE,
        f"the tunnel to {label} at {endpoint.host}:{endpoint.port} {ended}",
        *words,
        state="nothing was written to the original",
        help="run it by itself: " + " ".join(tunnel.arguments),
    )


def _close(process: subprocess.Popen[bytes]) -> None:
    """The keeper ends the program when its input ends."""
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
