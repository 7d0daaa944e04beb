"""The plugin and guard run, started in a directory of their own."""

from __future__ import annotations

from pathlib import Path

from tests.guards.inner import ran


def guard_run(home: Path, *command: str, dsn: str = "", options: tuple[str, ...] = ()) -> tuple[int, str]:
    found = ran(home, "-m", "recovery.cli", "guard", "run", *options, "--", *command, TEST_DSN=dsn)
    return found.code, found.out


POSTGRESQL = """
from pytest_postgresql import factories
import os, psycopg
way = psycopg.conninfo.conninfo_to_dict(os.environ["TEST_DSN"])
server = factories.postgresql_noproc(host=way["host"], port=int(way["port"]), user=way["user"], dbname="janitor")
made = factories.postgresql("server")

def test_one(made):
    made.execute("create table t ()")
    made.execute("drop table t")
"""
