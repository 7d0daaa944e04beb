"""A forwarder on this machine, as `ssh -L` is one: bytes in, bytes out, from TCP or a unix socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def forwarded(target: tuple[str, int], *, path: Path | None = None) -> Iterator[int]:
    """Listen on loopback, or at `path`, and pass everything on to `target`; yields the port (0 for a path)."""
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    listener.bind(str(path) if path else ("127.0.0.1", 0))
    listener.listen()
    threading.Thread(target=_accept, args=(listener, target), daemon=True).start()
    try:
        yield 0 if path else listener.getsockname()[1]
    finally:
        listener.close()


def _accept(listener: socket.socket, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
