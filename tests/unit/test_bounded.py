"""Servers and sinks that misbehave: they cost a moment, a thread or nothing, never the recovery or its secrets."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from recovery.config import Program, Webhook
from recovery.model.case_progress import Status
from recovery.report import status_server
from recovery.report.notifier import FILE, Notifier
from tests.fix_lab import wait_until


def nobody_looks() -> Status:
    raise AssertionError("the page was not asked for")


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    server, address = status_server.serve(nobody_looks)
    try:
        yield "127.0.0.1", int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def answer(place: tuple[str, int], host: str | None = None) -> int:
    connection = http.client.HTTPConnection(*place, timeout=5)
    connection.request("GET", "/wrong/", headers={"Host": host} if host else {})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "[::2]"])
def test_a_page_on_loopback_is_called_by_loopback_s_names(host: str) -> None:
    """Another site's page can reach loopback by a name of its own that resolves to it."""
    with served() as place:
        assert answer(place) == 404
        assert answer(place, f"localhost:{place[1]}") == 404
        assert answer(place, "[::1]:1") == 404
        assert answer(place, host) == 403


def test_half_requests_hold_few_threads_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status_server.Page, "timeout", 0.5)
    before = threading.active_count()
    with served() as place:
        held = []
        for _ in range(200):
            connection = socket.create_connection(place, timeout=5)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127")
            held.append(connection)
        assert threading.active_count() - before <= status_server.MOST_CONNECTIONS + 2
        wait_until(lambda: threading.active_count() - before <= 1, "their threads end")
        assert answer(place) == 404, "and others are answered again"
        for connection in held:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no farewell
            connection.close()
        assert answer(place) == 404
    assert capfd.readouterr().err == "", "nothing of it is on the operator's terminal"


@contextmanager
def sink(answers: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answers(self)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def results(directory: Path) -> list[str]:
    return [json.loads(line)["result"] for line in (directory / FILE).read_text().splitlines()]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_webhook_s_redirect_is_not_followed(tmp_path: Path, code: int) -> None:
    """What is posted names instances and databases, and the address may be a secret."""
    seen: list[str] = []

    def elsewhere(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        request.send_response(200)
        request.end_headers()

    with sink(elsewhere) as other:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            request.send_response(code)
            request.send_header("Location", f"http://127.0.0.1:{other}/stolen")
            request.end_headers()

        with sink(redirect) as port:
            notifier = Notifier([Webhook(url=f"http://127.0.0.1:{port}/hook")], "c", {}, tmp_path)
            notifier.tell("opened", "begins")
            notifier.wait()
    assert seen == []
    assert results(tmp_path) == [f"failed: it answered {code}"]


def test_a_webhook_of_endless_words_is_left_alone(tmp_path: Path) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 65536)
        except OSError:
            return

    began = time.monotonic()
    with sink(endless) as port:
        notifier = Notifier([Webhook(url=f"http://127.0.0.1:{port}/")], "c", {}, tmp_path)
        notifier.tell("opened", "begins")
        notifier.wait()
    assert results(tmp_path) == ["delivered: 200"]
    assert time.monotonic() - began < 30


def test_a_program_is_given_no_password_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "ROOM"):
        monkeypatch.setenv(name, f"value-of-{name}")
    out = tmp_path / "environment"
    script = f"import os, json; json.dump(dict(os.environ), open({str(out)!r}, 'w'))"
    notifier = Notifier([Program(command=(sys.executable, "-c", script), pass_env=("ROOM",))], "c", {}, tmp_path)
    notifier.tell("opened", "begins")
    notifier.wait()
    given = json.loads(out.read_text())
    assert given["ROOM"] == "value-of-ROOM"
    assert given["PATH"] == os.environ["PATH"]
    assert not {"PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "ROWBACK_HOME"} & given.keys()
