"""All definitions of a database in the words of an independent program: pg_dump."""

from __future__ import annotations

import subprocess

from recovery.postgres.client_programs import find_client_tools
from tests.fix_lab import Database


def schema_of(database: Database) -> str:
    """`pg_dump --schema-only` without its comments, its random keys, and the schemas of before-images."""
    with database.connect() as session:
        tools = find_client_tools(server_major=session.info.server_version // 10000, tls=False)
    command = [str(tools.pg_dump), "--schema-only", "--dbname", database.live.dsn(database.name)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--")))
    return "\n".join(line for line in lines if line and "rowback_case" not in line)
