"""What a database defines and what a table holds, by means that are not rowback's."""

from __future__ import annotations

import re
import subprocess

from tests.fix_lab import Database

OWN_LINES = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)


def definitions(database: Database) -> str:
    """By pg_dump: nothing of ours, and not what a swap hides until its exchange."""
    program = database.live.lab.engine.tools.bin / "pg_dump"
    command: list[str] = [
        str(program),
        "-s",
        "--exclude-schema=rowback_case_test_swap",
        database.live.dsn(database.name),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return OWN_LINES.sub("", done.stdout)


def checksum(database: Database, table: str) -> list[tuple[object, ...]]:
    return database.rows(f"select count(*), sum(hashtextextended(x::text, 0)) from only {table} x")
