"""The migrated database that all clones come from: made once for each state of the migrations, by the first process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards.isolation.isolation_marks import mark
from guards.isolation.throwaway_server import Server
from guards.refusal import GuardError

LASTS_S = 7 * 86400.0


@dataclass(frozen=True)
class Migrations:
    """How an empty database becomes what the tests expect. `key` changes when the outcome does; `apply` takes a DSN."""

    key: str
    apply: Callable[[str], None]

    @classmethod
    def none(cls) -> Migrations:
        """An empty database."""
        return cls("empty", lambda dsn: None)

    @classmethod
    def from_files(cls, *paths: str | Path) -> Migrations:
        """SQL files, each sent whole, in this order."""

        def apply(dsn: str) -> None:
            with psycopg.connect(dsn, autocommit=True) as connection:
                for path in paths:
                    connection.execute(Path(path).read_bytes())

        return cls(key_of(paths), apply)

    @classmethod
    def from_command(cls, command: Sequence[str], *, variable: str, files: Iterable[str | Path]) -> Migrations:
        """A command that finds its DSN as a URL in an environment variable, such as `alembic upgrade head`.

        `files`: those whose content decides the outcome; a directory counts with everything below it.
        """

        def apply(dsn: str) -> None:
            completed = subprocess.run(
                command, env={**os.environ, variable: as_url(dsn)}, check=False, capture_output=True, text=True
            )
            if completed.returncode:
                raise GuardError(
                    "migration-failed",
                    f"{' '.join(command)} ended with {completed.returncode}",
                    *(completed.stderr or completed.stdout).strip().splitlines()[-20:],
                    state="no test database was made",
                    help=f"run it by hand with {variable} on an empty database",
                )

        return cls(key_of(files), apply)


def key_of(paths: Iterable[str | Path]) -> str:
    """A digest of files, names and contents; of directories with all below them."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def as_url(dsn: str) -> str:
    """A DSN as a URL: what most tools read."""
    from urllib.parse import quote, urlencode

    parts: Mapping[str, Any] = psycopg.conninfo.conninfo_to_dict(dsn)
    own_parameters = {"user", "password", "dbname"}
    login = quote(str(parts.get("user", "")), safe="") + (
        f":{quote(str(parts['password']), safe='')}" if "password" in parts else ""
    )
    rest = urlencode({name: value for name, value in parts.items() if name not in own_parameters})
    return f"postgresql://{login}@/{quote(str(parts.get('dbname', '')), safe='')}?{rest}"


def ensure_template(server: Server, migrations: Migrations) -> str:
    """The name of the migrated template database, which is created if it does not exist. Concurrent callers wait.

    The database is renamed to that name only after all migrations have succeeded, so an interrupted migration leaves no
    template that looks complete.
    """
    name = f"rowback_template_{hashlib.sha256(migrations.key.encode()).hexdigest()[:20]}"
    building = f"{name}_b"
    with server.connect() as admin:
        admin.execute("select pg_advisory_lock(hashtext(%s))", (name,))
        if admin.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            return name
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(building)))
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(building)))
        mark(admin, server, building, reason="template of test databases", seconds=LASTS_S)
        migrations.apply(server.dsn(building))
        # A session that lingers in a template keeps all others from copying it (sources: GUARD-drivers).
        admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(building)))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (building,))
        admin.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(building), sql.Identifier(name)))
    return name
