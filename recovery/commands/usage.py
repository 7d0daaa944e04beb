"""What click refuses, in the form of every other error: the fact, what there is instead, and a command."""

from __future__ import annotations

import re

import click

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.nearest import nearest, nearest_line

CASES_SHOWN = 10
_UNKNOWN = re.compile(r"No such command '(.+?)'")


def usage_error(error: click.ClickException) -> RowbackError:
    """An argument that is missing, malformed or unknown."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "rowback"
    if isinstance(error, click.MissingParameter) and error.param and error.param.name == "case_id":
        return _which_case(path)
    if (unknown := _UNKNOWN.match(error.format_message())) and ctx and isinstance(ctx.command, click.Group):
        return _unknown_command(unknown[1], ctx, ctx.command)
    fact = error.format_message().rstrip(".")
    return RowbackError(
        ErrorId.USAGE, fact[:1].lower() + fact[1:], state=NOTHING_CREATED, help=f"every option: {path} --help"
    )


def _which_case(path: str) -> RowbackError:
    from recovery.report.report_text import cases_text
    from recovery.store.case_directory import all_cases

    cases = all_cases()
    if not cases:
        return RowbackError(
            ErrorId.USAGE,
            "CASE is missing, and there is no case on this machine",
            state=NOTHING_CREATED,
            help="a case begins with rowback restore, or rowback open; the machine that opened one has it",
        )
    newest = next((case for case in reversed(cases) if case.closed_at is None), cases[-1])
    shown = [line.strip() for line in cases_text(cases[-CASES_SHOWN:]).splitlines()]
    return RowbackError(
        ErrorId.USAGE,
        "CASE is missing",
        *shown,
        state=NOTHING_CREATED,
        help=f"the newest{' open' * (newest.closed_at is None)} one: {path} {newest.id}",
    )


def _unknown_command(name: str, ctx: click.Context, group: click.Group) -> RowbackError:
    commands = group.list_commands(ctx)
    near = nearest(name, commands)
    path = ctx.command_path
    return RowbackError(
        ErrorId.USAGE,
        f"'{path}' has no command '{name}'",
        nearest_line(near, f"there are: {', '.join(commands)}"),
        state=NOTHING_CREATED,
        help=f"{path} {near[0]} --help" if near else f"{path} --help",
    )
