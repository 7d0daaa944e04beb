"""What a database defines and what a table holds, by means that are not rowback's."""

from __future__ import annotations

import re
import subprocess

from tests.fix_lab import Database

OWN_LINES = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)  # random in every dump


def definitions(database: Database, *options: str) -> str:
    """By pg_dump with `options`."""
    program, dsn = database.live.lab.engine.tools.bin / "pg_dump", database.live.dsn(database.name)
    command = [str(program), "-s", *options, dsn]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return OWN_LINES.sub("", done.stdout)


def checksum(database: Database, table: str) -> list[tuple[object, ...]]:
    return database.rows(f"select count(*), sum(hashtextextended(x::text, 0)) from only {table} x")


def by_psql(database: Database, script: str) -> None:
    program, dsn = database.live.lab.engine.tools.bin / "psql", database.live.dsn(database.name)
    done = subprocess.run(
        [str(program), "-qX", "-v", "ON_ERROR_STOP=1", dsn], input=script, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
