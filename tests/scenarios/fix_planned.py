"""A table that somebody truncated, and `rowback plan` for it."""

from __future__ import annotations

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database

TABLE = ("create table people (id int primary key, name text)", "insert into people values (1, 'ann'), (2, 'bob')")


def emptied(database: Database) -> str:
    """A table that somebody truncates; the target time before that."""
    database.run(*TABLE)
    target = pass_a_second()
    database.run("truncate people")
    return format_utc(target)


def planned(cli: Cli, database: Database, target: str, *extra: str) -> Ran:
    return cli(
        "plan", cli.live.identifier, "--at", target, "--database", database.name, "--wait-for-window", "30s", *extra
    )
