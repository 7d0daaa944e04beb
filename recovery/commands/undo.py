"""`rowback undo`: take back what a case wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from guards.plain_text import joined, shell_word
from recovery.commands.options import case_argument, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from recovery.model.repair_plan import RepairPlan
    from recovery.store.case_directory import Case

from recovery.commands.locked_case import locked_case


@click.command(epilog="Example: rowback undo 7f3a --confirm docs")
@case_argument
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@click.option("--accept-partial", is_flag=True, help="Take back the part that can be, and leave the rest.")
@click.option("--dry-run", is_flag=True, help="Do all the reads, show what would be taken back and what would stay.")
@json_option
def undo(case_id: str, confirmed: str | None, accept_partial: bool, dry_run: bool, as_json: bool) -> None:
    """Take back what a case wrote last.

    Refuses while rows would stay, because others changed them since. Undo it again to get it back.
    """
    from recovery.model.account import Partial
    from recovery.report.report_text import verification_text
    from recovery.workflow.undo_case import undo as take_back

    if dry_run:
        _preview_undo(case_id, as_json=as_json)
        return
    with locked_case(case_id, work="undo") as recovery_run:
        recovery_run.partial = Partial.ACCEPT if accept_partial else Partial.KEEP_OPEN
        recovery_run.approver = _undo_approver(recovery_run.case, confirmed)
        undone = take_back(recovery_run)
    if as_json:
        click.echo(undone.verification.model_dump_json(indent=1))
        return
    part = " in part" if undone.stay else ""
    ended = (
        f"taken back{part}" if recovery_run.case.taken_back else f"put back again{part}, which undoes the undo before"
    )
    stay = "".join(f"\n  {line}" for line in undone.reasons)
    click.echo(f"case {recovery_run.case.id}: {ended}{stay}\n\n{verification_text(undone.verification)}")


def _preview_undo(case_id: str, *, as_json: bool) -> None:
    from recovery.report.repair_text import repair_text
    from recovery.workflow.undo_case import preview_undo, staying

    with locked_case(case_id, work="undo") as recovery_run:
        plan = preview_undo(recovery_run)
    if as_json:
        click.echo(plan.to_json())
        return
    click.echo(repair_text(plan, title="undo plan") + "\n\n" + joined(f"  {line}" for line in staying(plan)))
    click.echo("\ndry run: nothing was written", err=True)


def _undo_approver(case: Case, confirmed: str | None) -> Callable[[RepairPlan], None]:
    from recovery.commands.confirmation import confirm
    from recovery.report.repair_text import repair_text

    def approve(plan: RepairPlan) -> None:
        click.echo("\n" + repair_text(plan, title="undo plan") + "\n", err=True)
        name = case.plan.database
        confirm(name, confirmed, instead=f"rowback undo {case.id} --confirm {shell_word(name)}")

    return approve
