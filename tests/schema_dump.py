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


def in_any_order(definitions: str) -> list[str]:
    """Definitions line by line, those of each table's columns sorted: a column that comes back is the last one."""
    lines: list[str] = []
    columns: list[str] | None = None
    for line in definitions.splitlines():
        if columns is None:
            lines.append(line)
            columns = [] if line.startswith("CREATE TABLE ") and line.endswith("(") else None
        elif line.startswith(")"):
            lines += [*sorted(columns), line]
            columns = None
        else:
            columns.append(line.removesuffix(","))
    return lines


def checksum_by_name(database: Database, table: str) -> list[tuple[object, ...]]:
    """The same whatever the order of the columns."""
    names = database.rows(
        "select string_agg(quote_ident(attname), ', ' order by attname) from pg_attribute"
        f" where attrelid = '{table.replace(chr(39), chr(39) * 2)}'::regclass and attnum > 0 and not attisdropped"
    )[0][0]
    return checksum(database, f"(select {names} from only {table})") if names else checksum(database, table)


def checksum(database: Database, table: str) -> list[tuple[object, ...]]:
    rows = table if table.startswith("(") else f"only {table}"
    return database.rows(f"select count(*), sum(hashtextextended(x::text, 0)) from {rows} x")


def by_psql(database: Database, script: str) -> None:
    program, dsn = database.live.lab.engine.tools.bin / "psql", database.live.dsn(database.name)
    done = subprocess.run(
        [str(program), "-qX", "-v", "ON_ERROR_STOP=1", dsn], input=script, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
