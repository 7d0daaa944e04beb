"""One plain PostgreSQL server of the run's own, with a role that owns the databases as RDS's master user does."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards.isolation.server_programs import find_tools, free_port

ROOT_PREFIX = "rowback-soak-"
ADMIN, OWNER = "app", "operator"
SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "max_connections": "60", "autovacuum": "off", "jit": "off"}
WRITER, ORACLE = "soak writer", "soak oracle"


@dataclass(frozen=True)
class Place:
    """A database of a server: everything one needs to connect to it."""

    port: int
    database: str
    user: str = OWNER
    password: str | None = None

    @property
    def dsn(self) -> str:
        """The same as libpq's keywords."""
        password = f" password={self.password}" if self.password else ""
        return f"host=127.0.0.1 port={self.port} dbname={self.database} user={self.user}{password}"

    def connect(self, application: str) -> psycopg.Connection[Any]:
        """An autocommit session that names itself."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=self.password,
            application_name=application,
            autocommit=True,
            connect_timeout=10,
        )


@dataclass(frozen=True)
class Server:
    """A running server."""

    root: Path
    port: int

    def place(self, database: str = "postgres", user: str = OWNER) -> Place:
        """How to reach one of its databases."""
        return Place(self.port, database, user)

    def create(self, name: str, template: str | None = None) -> None:
        """A new database of OWNER, empty or a physical copy of another."""
        like = sql.SQL(" template {}").format(sql.Identifier(template)) if template else sql.SQL("")
        with self.place(user=ADMIN).connect(ORACLE) as admin:
            admin.execute(
                sql.SQL("create database {} owner {}{}").format(sql.Identifier(name), sql.Identifier(OWNER), like)
            )

    def drop(self, *names: str) -> None:
        """Remove databases with every session in them."""
        with self.place(user=ADMIN).connect(ORACLE) as admin:
            for name in names:
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def running() -> Iterator[Server]:
    """A new cluster while the block lasts; it ends with this process even by kill -9."""
    root = Path(tempfile.mkdtemp(prefix=ROOT_PREFIX))
    root.chmod(0o755)  # PostgreSQL runs as another account and must be able to pass through
    tools, port = find_tools(root), free_port()
    home = root / "cluster"
    tools.give(home)
    tools.run("initdb", "-D", home / "data", "-U", ADMIN, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    process = tools.start(
        "postgres",
        "-D",
        home / "data",
        "-p",
        str(port),
        "-k",
        home,
        *options,
        log=root / "log",
    )
    tether = tools.die_with_us(process.pid)
    try:
        tools.await_ready(process, home / "data")
        server = Server(root, port)
        with server.place(user=ADMIN).connect(ORACLE) as admin:
            admin.execute(sql.SQL("create role {} login createdb").format(sql.Identifier(OWNER)))
            admin.execute(sql.SQL("grant pg_monitor, pg_signal_backend to {}").format(sql.Identifier(OWNER)))
            if admin.info.server_version >= 150000:
                admin.execute(
                    sql.SQL("grant set on parameter session_replication_role to {}").format(sql.Identifier(OWNER))
                )
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()
        tether.kill()
        tether.wait()
        shutil.rmtree(root, ignore_errors=True)
