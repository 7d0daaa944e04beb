"""Writing is confirmed by the database's name, and by the number of rows that lose something."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from guards.plain_text import shell_word
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.repair_plan import RepairPlan
from recovery.model.row_class import WRITTEN_AFTER_T
from recovery.model.values import counted

if TYPE_CHECKING:
    pass


def confirm(database: str, typed: str | None, *, instead: str | None = None) -> None:
    """The user types the live database's name, or gives it as --confirm. Raises confirmation-missing."""
    if typed is None and sys.stdin.isatty():
        typed = click.prompt(
            f"Type the name of the live database to go on ({database})",
            err=True,
            default="",
            show_default=False,
        )
    if typed != database:
        reason = "nobody confirmed" if not typed else f"'{typed}' is not its name"
        raise RowbackError(
            ErrorId.CONFIRMATION_MISSING,
            f"database '{database}' is about to be written to and {reason}",
            state="nothing was written to the original" if instead else NOTHING_CREATED,
            help=f"read the plan above, then: {instead}"
            if instead
            else f"read the plan above, then add --confirm {shell_word(database)}",
        )


def approver(database: str, confirmed: str | None, loss: int | None) -> Callable[[RepairPlan], None]:
    """Show a repair plan and have it approved: by typing the database's name, or beforehand with --confirm.

    A plan that gives up rows written after T needs their exact number as well. Raises confirmation-missing.
    """

    def approve(plan: RepairPlan) -> None:
        from recovery.report.repair_text import repair_text

        click.echo("\n" + repair_text(plan) + "\n", err=True)
        _confirm_loss(plan, database, loss)
        confirm(
            database, confirmed, instead=f"rowback apply {plan.case} {plan.digest[:8]} --confirm {shell_word(database)}"
        )

    return approve


def _confirm_loss(plan: RepairPlan, database: str, loss: int | None) -> None:
    if plan.loses and loss is None and sys.stdin.isatty():
        loss = click.prompt(
            f"{plan.loses:,} rows lose what was written after T. Type that number to go on", err=True, type=int
        )
    if plan.loses and loss != plan.loses:
        classes = [kind for kind in WRITTEN_AFTER_T if any(table.count(kind) for table in plan.tables)]
        listed = "".join(f" --show {kind.name.lower()}" for kind in classes)
        reason = "nobody confirmed that" if loss is None else f"{loss} is not that number"
        raise RowbackError(
            ErrorId.CONFIRMATION_MISSING,
            f"{counted(plan.loses, 'row')} would lose what was written to them after T, and {reason}",
            state="nothing was written to the original",
            help=f"look at them: rowback diff {plan.case}{listed}; then: rowback apply {plan.case}"
            f" {plan.digest[:8]} --confirm {shell_word(database)} --confirm-loss {plan.loses}",
        )
