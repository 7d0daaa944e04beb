"""Fixtures of the tests here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_lab import Database
from tests.scenarios.telling.reports import Heard


@pytest.fixture
def target(database: Database) -> str:
    """Two people, a second, nobody, and somebody new."""
    database.run(
        "create table people (id int primary key, name text)",
        "insert into people values (1, 'ann'), (2, '<b>bob</b>|x')",
    )
    moment = pass_a_second()
    database.run("delete from people where true", "insert into people values (3, 'eve')")
    return format_utc(moment)


@pytest.fixture
def webhook() -> Iterator[Heard]:
    heard = Heard(0)

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.documents.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        heard.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield heard
        server.shutdown()
