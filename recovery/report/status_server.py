"""The status page, served: on loopback by default, a random path, GET only, pushed by server-sent events."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from recovery.model.case_progress import Status
from recovery.report.status_page import status_body, status_page

LOOK_S, HEARTBEAT_S = 0.25, 15.0
REQUEST_S, MOST_CONNECTIONS = 10.0, 64
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " connect-src 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page(BaseHTTPRequestHandler):
    """`/TOKEN/` is the page, `/TOKEN/events` its changes; everything else is not there."""

    protocol_version = "HTTP/1.1"
    timeout = REQUEST_S  # of each read and write: half a request holds no thread for longer
    token: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]  # by what names the server may be called; none: by any
    look: ClassVar[Callable[[], Status]]
    ended: ClassVar[threading.Event]

    def do_GET(self) -> None:
        """The page or its events, for who knows the path."""
        if self.hosts and _name_of(self.headers.get("Host", "")) not in self.hosts:
            self._answer(403, "text/plain", b"not by this name\n")  # a page of another site, by a name of its own
            return
        _, _, rest = self.path.partition("?")[0].partition("/")
        token, _, name = rest.partition("/")
        if not secrets.compare_digest(token.encode(), self.token.encode()) or name not in ("", "events"):
            self._answer(404, "text/plain", b"not found\n")
        elif name == "events":
            self._events()
        else:
            text = status_page(type(self).look(), live=True)
            self._answer(200, "text/html; charset=utf-8", text.encode())

    def _refuse(self) -> None:
        self._answer(405, "text/plain", b"only GET\n")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _refuse  # noqa: N815

    def _events(self) -> None:
        self.send_response(200)
        for key, value in {**HEADERS, "Content-Type": "text/event-stream", "Connection": "close"}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        last_body, spoke = "", time.monotonic()
        try:
            while not self.ended.is_set():
                status = type(self).look()
                body = status_body(status)
                if body != last_body:
                    last_body, spoke = body, time.monotonic()
                    self._push(f"id: {status.seq}\nevent: status\ndata: {json.dumps({'html': body})}\n\n")
                elif time.monotonic() - spoke > HEARTBEAT_S:
                    spoke = time.monotonic()
                    self._push(": still here\n\n")
                self.ended.wait(LOOK_S)
        except (BrokenPipeError, ConnectionResetError):
            return  # the reader has gone

    def _push(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        for key, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: the terminal shows the command's own output."""


class _Server(ThreadingHTTPServer):
    """At most MOST_CONNECTIONS at once, and no word of a reader's troubles on the operator's terminal."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: type[Page]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, page)
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own; one too many is closed at once."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See ThreadingMixIn."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a client reset."""


def _name_of(host: str) -> str:
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def serve(look: Callable[[], Status], *, address: str = "127.0.0.1", port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Start serving in threads of its own; the server and the page's address. `look`: the status at this moment."""
    token = secrets.token_urlsafe(16)
    ended = threading.Event()
    hosts = LOOPBACK if address in LOOPBACK else ()
    handler = type("BoundPage", (Page,), {"token": token, "look": staticmethod(look), "ended": ended, "hosts": hosts})
    server = _Server((address, port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    shown = f"[{address}]" if ":" in address else address
    return server, f"http://{shown}:{server.server_address[1]}/{token}/"
