"""A PostgreSQL as a distribution or a container brings it, next to the lab's RDS."""

from __future__ import annotations

import re
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from runbooks.lab.lab_server import Lab
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
        entries = re.split(
            r"^(?=[^\t\n]*\|(?:LOG|ERROR|DETAIL|STATEMENT|HINT|NOTICE|WARNING|FATAL|CONTEXT|QUERY):)",
            self.log.read_text(errors="replace"),
            flags=re.MULTILINE,
        )
        found = (re.match(rf"{database}\|LOG:  (?:statement|execute [^:]*): (.*)", e, re.DOTALL) for e in entries)
        return [entry[1].strip().replace("\n\t", "\n") for entry in found if entry]


@contextmanager
def cluster(lab: Lab, name: str, *options: str, made_at: datetime | None = None) -> Iterator[Plain]:
    """A cluster under the lab's root while the block lasts. `made_at`: one that was made then, by its own papers."""
    tools, root = lab.engine.tools, lab.root / name
    tools.give(root)
    port = free_port()
    tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    if made_at:
        age(root / "data" / "global" / "pg_control", made_at)
        tools.run("pg_resetwal", "-f", "-D", root / "data")
    process = tools.start(
        "postgres",
        "-D",
        root / "data",
        "-p",
        str(port),
        "-k",
        root,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "log_line_prefix=%d|",
        *options,
        log=root / "log",
    )
    try:
        found = Plain(root, port, root / "log")
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(found.dsn()).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, f"the cluster {name} does not answer"
        yield found
    finally:
        process.send_signal(signal.SIGINT)  # also with sessions that a failed test left behind
        process.wait()


def age(control: Path, made_at: datetime) -> None:
    """Give a cluster another system identifier, whose upper half is when initdb made it; pg_resetwal mends the rest."""
    content = bytearray(control.read_bytes())
    (identifier,) = struct.unpack_from("=Q", content)
    struct.pack_into("=Q", content, 0, int(made_at.timestamp()) << 32 | identifier & 0xFFFFFFFF)
    control.write_bytes(content)


@pytest.fixture(scope="session")
def plain(lab: Lab) -> Iterator[Plain]:
    """One a test process; its databases are the tests' own."""
    with cluster(lab, "plain", "-c", "fsync=off") as found:
        yield found


@pytest.fixture(scope="session")
def old(lab: Lab) -> Iterator[Plain]:
    """The PostgreSQL that a developer has had for two years."""
    with cluster(lab, "old", "-c", "log_statement=all", made_at=datetime.now(UTC) - timedelta(days=730)) as found:
        yield found
