"""`rowback guard`: is this database proven disposable, and who says so."""

from __future__ import annotations

import click

from guards.commands.allow import allow, disallow
from guards.commands.mark import mark, unmark
from guards.commands.run_guarded import run
from guards.commands.show import check, show


@click.group(epilog="Example: rowback guard show --dsn 'dbname=app_test'")
def guard() -> None:
    """Nothing destructive runs against a database that is not proven disposable."""


for command in (show, check, mark, unmark, allow, disallow, run):
    guard.add_command(command)
