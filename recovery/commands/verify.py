"""`rowback verify`: prove again what a case wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.options import case_argument, json_option

if TYPE_CHECKING:
    pass

from recovery.commands.locked_case import locked_case


@click.command(epilog="Example: rowback verify 7f3a")
@case_argument
@json_option
def verify(case_id: str, as_json: bool) -> None:
    """Prove again, now or in a week, that what a case wrote is as planned. Reads only."""
    from recovery.report.report_text import verification_text
    from recovery.workflow.undo_case import verify_again

    with locked_case(case_id) as recovery_run:
        verification = verify_again(recovery_run)
    click.echo(verification.model_dump_json(indent=1) if as_json else verification_text(verification))
