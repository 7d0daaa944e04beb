"""A PostgreSQL as a distribution or a container brings it, next to the lab's RDS."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from runbooks.lab.server import Lab
from tests.guards.forwarder import free_port


def answers(dsn: str) -> bool:
    """Whether a server can be connected to just now."""
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


@dataclass(frozen=True)
class Plain:
    """A cluster as a distribution or a container brings it: no managed roles, nobody else in it."""

    socket: Path
    port: int
    log: Path
    admin: str = "app"

    def dsn(self, database: str = "postgres", *, host: str = "127.0.0.1", port: int | None = None) -> str:
        return f"host={host} port={port or self.port} user={self.admin} dbname={database}"

    def make(self, name: str, *statements: str) -> str:
        """A database of its own, and how to connect to it."""
        with psycopg.connect(self.dsn(), autocommit=True) as server:
            server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        with psycopg.connect(self.dsn(name), autocommit=True) as made:
            for statement in statements:
                made.execute(statement)
        return self.dsn(name)

    def statements_in(self, database: str) -> list[str]:
        """Every statement that reached the server in that database, by its own log (`log_statement` must be on)."""
        entries = re.split(r"^(?=[^\t\n]*\|(?:LOG|ERROR|DETAIL|STATEMENT|HINT|NOTICE|WARNING|FATAL|CONTEXT|QUERY):)",
                           self.log.read_text(errors="replace"), flags=re.MULTILINE)  # fmt: skip
        found = (re.match(rf"{database}\|LOG:  (?:statement|execute [^:]*): (.*)", e, re.DOTALL) for e in entries)
        return [entry[1].strip().replace("\n\t", "\n") for entry in found if entry]


@pytest.fixture(scope="session")
def plain(lab: Lab) -> Iterator[Plain]:
    """One a test process; its databases are the tests' own."""
    tools, root = lab.engine.tools, lab.root / "plain"
    tools.give(root)
    port = free_port()
    tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    process = tools.start(
        "postgres", "-D", root / "data", "-p", str(port), "-k", root, "-c", "listen_addresses=127.0.0.1",
        "-c", "fsync=off", "-c", "log_line_prefix=%d|", log=root / "log",
    )  # fmt: skip
    try:
        found = Plain(root, port, root / "log")
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(found.dsn()).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the plain cluster does not answer"
        yield found
    finally:
        process.send_signal(signal.SIGINT)  # also with sessions that a failed test left behind
        process.wait()
