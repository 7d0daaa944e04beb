"""A PostgreSQL as a distribution or a container brings it, next to the lab's RDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from runbooks.lab.server import Lab
from tests.guards.forwarder import forwarded


@dataclass(frozen=True)
class Plain:
    """A cluster as a distribution or a container brings it: no managed roles, nobody else in it."""

    socket: Path
    port: int

    def dsn(self, database: str = "postgres", *, host: str = "127.0.0.1", port: int | None = None) -> str:
        return f"host={host} port={port or self.port} user=app dbname={database}"


@pytest.fixture(scope="session")
def plain(lab: Lab) -> Iterator[Plain]:
    """One a test process; its databases are the tests' own."""
    tools, root = lab.engine.tools, lab.root / "plain"
    tools.give(root)
    with forwarded(("127.0.0.1", 1)) as port:
        pass  # a port that was free a moment ago
    tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    process = tools.start(
        "postgres", "-D", root / "data", "-p", str(port), "-k", root, "-c", "listen_addresses=127.0.0.1",
        "-c", "fsync=off", log=root / "log",
    )  # fmt: skip
    try:
        found = Plain(root, port)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(found.dsn()).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the plain cluster does not answer"
        yield found
    finally:
        process.terminate()
        process.wait()
