"""A forwarder between rowback and a server that does one kind of harm to a connection, in a process of its own."""

from __future__ import annotations

import multiprocessing as mp
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

COMMIT = b"COMMIT"
BLOCK = 65536


@dataclass(frozen=True)
class Harm:
    """What is done. `kind`: reset (after `number` bytes, counted in both directions over all connections), commit lost
    (the `number`-th COMMIT does not arrive), answer lost (it arrives, its answer does not come back), half open (as
    lost, but the server's side stays connected and silent)."""

    kind: str
    number: int


@contextmanager
def harming(port: int, harm: Harm) -> Iterator[int]:
    """The forwarder's port while the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    process = mp.get_context("fork").Process(target=_Forwarder(port, harm).serve, args=(listener,), daemon=True)
    process.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        process.kill()
        process.join()
        listener.close()


class _Forwarder:
    """All connections of one schedule; the harm is done once, and later connections pass."""

    def __init__(self, port: int, harm: Harm) -> None:
        self.port, self.harm = port, harm
        self.seen, self.done = 0, False
        self.lock = threading.Lock()
        self.kept: list[socket.socket] = []

    def serve(self, listener: socket.socket) -> None:
        self.lock = threading.Lock()
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                pair = _Pair(self, client, server)
                for pump in (pair.upwards, pair.downwards):
                    threading.Thread(target=pump, daemon=True).start()

    def strikes(self, amount: int) -> bool:
        """Count bytes or commits; whether the harm is due now, which is true once."""
        with self.lock:
            self.seen += amount
            if self.done or self.seen < self.harm.number:
                return False
            self.done = True
            return True


class _Pair:
    """A client's connection and its way on to the server."""

    def __init__(self, forwarder: _Forwarder, client: socket.socket, server: socket.socket) -> None:
        self.forwarder, self.client, self.server = forwarder, client, server
        self.deaf = False  # answers are swallowed

    def upwards(self) -> None:
        with suppress(OSError):
            while data := self.client.recv(BLOCK):
                if self._harmed(data, upwards=True):
                    return
                self.server.sendall(data)
        self._shut()

    def downwards(self) -> None:
        with suppress(OSError):
            while data := self.server.recv(BLOCK):
                if self.deaf:
                    break  # the answer to COMMIT has come: it is committed
                if self._harmed(data, upwards=False):
                    return
                self.client.sendall(data)
        self._shut()

    def _harmed(self, data: bytes, *, upwards: bool) -> bool:
        kind = self.forwarder.harm.kind
        if kind == "reset":
            if self.forwarder.strikes(len(data)):
                self._shut()
                return True
            return False
        if not upwards or COMMIT not in data or not self.forwarder.strikes(1):
            return False
        match kind:
            case "answer lost":
                self.deaf = True
                return False
            case "half open":
                self.forwarder.kept.append(self.server)
                _reset(self.client)
            case _:
                self._shut()
        return True

    def _shut(self) -> None:
        if self.server in self.forwarder.kept:
            return
        _reset(self.client)
        _reset(self.server)


def _reset(end: socket.socket) -> None:
    """Close with RST: as a firewall or a dead machine does it, without a farewell."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        end.close()
