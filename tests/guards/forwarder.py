"""Forwarders on this machine: bytes in, bytes out, as `ssh -L` does it, or with TLS towards the server, as a cloud's
own proxy does it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guards.certificate import SSL_REQUEST


@contextmanager
def forwarded(target: tuple[str, int], *, path: Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on loopback, or at `path`, and pass everything on to `target`; yields the port (0 for a path).

    With `tls` the server is spoken to in TLS and the client in the clear.
    """
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    listener.bind(str(path) if path else ("127.0.0.1", 0))
    listener.listen()
    threading.Thread(target=_accept, args=(listener, target, tls), daemon=True).start()
    try:
        yield 0 if path else listener.getsockname()[1]
    finally:
        listener.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accept(listener: socket.socket, target: tuple[str, int], tls: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, peer = listener.accept()
            server = _connected(target, unlike=peer[1] if peer else 0)
            if tls:
                server.sendall(SSL_REQUEST)
                assert server.recv(1) == b"S"
                server = _without_binding(tls.wrap_socket(server), client)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _connected(target: tuple[str, int], *, unlike: int) -> socket.socket:
    """A connection from another port than the client's. The kernel may give out the same number for both, as they lead
    to different places; the server's process would then name the client's own port, and be proven to run here (which it
    does: only the test would not be about a forwarder any more)."""
    server = socket.create_connection(target)
    if server.getsockname()[1] != unlike:
        return server
    with server:
        return _connected(target, unlike=unlike)


def _without_binding(server: socket.socket, client: socket.socket) -> socket.socket:
    """Take SCRAM-SHA-256-PLUS off the server's offer: nobody can bind a channel through a proxy."""
    server.sendall(client.recv(65536))  # the start-up message
    offer = server.recv(65536)
    body = offer[5:].replace(b"SCRAM-SHA-256-PLUS\0", b"")
    client.sendall(offer[:1] + (len(body) + 4).to_bytes(4, "big") + body)
    return server


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
