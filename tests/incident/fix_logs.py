"""Logs that real servers wrote while the corpus was played: each play under each way of logging, in three formats."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from guards.isolation.server_programs import Tools, free_port
from recovery.incident.log_line_prefix import OF_RDS
from runbooks.lab.lab_server import Lab
from tests.incident.corpus import CASES
from tests.incident.log_stages import Stage

# How a database logs: its settings.
WAYS = {
    "whole": {"log_statement": "all"},
    "durations": {"log_statement": "all", "log_min_duration_statement": "0"},
    "mods": {"log_statement": "mod", "log_min_duration_statement": "0"},
    "only_mod": {"log_statement": "mod"},
    "only_durations": {"log_min_duration_statement": "0"},
    "audit": {"pgaudit.log": "write, ddl, misc"},
}
FORMATS = {"stderr": "", "csv": ".csv", "json": ".json"}


@dataclass(frozen=True)
class Logs:
    """Where one server wrote its log, and by which prefix. `ways`: those it could log in."""

    directory: Path
    prefix: str
    ways: tuple[str, ...]

    def read(self, form: str) -> bytes:
        """The whole log of that format."""
        return (self.directory / f"log{FORMATS[form]}").read_bytes()


@contextmanager
def logging_server(tools: Tools, root: Path, prefix: str, *, audit: bool = False) -> Iterator[str]:
    """The DSN of a server that logs in all formats below `root`/log, without its database."""
    tools.give(root)
    port = free_port()
    tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    settings = {
        "log_destination": "stderr,csvlog,jsonlog",
        "logging_collector": "on",
        "log_directory": str(root / "log"),
        "log_filename": "log",
        "log_line_prefix": prefix,
        "log_timezone": "UTC",
        "fsync": "off",
        "port": str(port),
        "unix_socket_directories": str(root),
        "listen_addresses": "127.0.0.1",
        "max_prepared_transactions": "10",
        "log_file_mode": "0644",
        "shared_preload_libraries": "pgaudit" if audit else "",
    }
    with (root / "data" / "postgresql.conf").open("a") as out:
        out.writelines(f"{name} = {json.dumps(value).replace(chr(34), chr(39))}\n" for name, value in settings.items())
    process = tools.start("postgres", "-D", root / "data", log=root / "boot")
    try:
        tools.await_ready(process, root / "data")
        yield f"host=127.0.0.1 port={port} user=app dbname="
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def play_corpus(tools: Tools, root: Path, prefix: str) -> Logs:
    """A cluster that logs in all formats, the plays on it, and its end."""
    audit = (tools.bin.parent / "lib" / "pgaudit.so").exists()
    ways = tuple(way for way in WAYS if audit or way != "audit")
    with logging_server(tools, root, prefix, audit=audit) as dsn:
        for way in ways:
            play_all(dsn, way)
    return Logs(root / "log", prefix, ways)


def play_all(dsn: str, way: str) -> None:
    """Every play of the corpus in a database of its own that logs in that way."""
    with psycopg.connect(dsn + "postgres", autocommit=True) as server:
        server.execute(f"create database {way}")
        if way == "audit":
            server.execute(f"alter database {way} set log_statement = none")
        for name, value in WAYS[way].items():
            server.execute(f"alter database {way} set {name} = '{value}'")
    silent = "-c log_statement=none -c log_min_duration_statement=-1"
    with psycopg.connect(dsn + way, autocommit=True, options=silent) as c:
        c.execute(
            "create function wipe(t text) returns void language plpgsql as $$ begin execute 'delete from ' || t; end $$"
        )
        for name in CASES:
            c.execute(f"create table t_{name} (id int primary key, x text, parent int references t_{name} deferrable)")
            c.execute(f"insert into t_{name} (id) select generate_series(1, 10)")
    for name, case in CASES.items():
        disconnections = " options='-c log_disconnections=on'" if way == "durations" else ""
        stage = Stage(dsn + way + disconnections, f"t_{name}")
        case.play(stage)
        for session in list(stage.sessions):
            stage.gone(session)


@pytest.fixture(scope="session")
def logs17(lab: Lab) -> Iterator[Logs]:
    """Of PostgreSQL 17, as RDS prefixes its lines."""
    yield play_corpus(lab.engine.tools, root := lab.root / "logs17", OF_RDS)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def logs15(lab15: Lab) -> Iterator[Logs]:
    """Of PostgreSQL 15 with another prefix, and pgaudit where it is installed."""
    yield play_corpus(lab15.engine.tools, root := lab15.root / "logs15", "%m [%p] %q%u@%d/%a ")
    shutil.rmtree(root)
