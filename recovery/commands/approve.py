"""`rowback approve`: a second person agrees to a plan, or to an undo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recovery.errors import ErrorId, RowbackError

if TYPE_CHECKING:
    from recovery.store.case_directory import Case


@click.command(epilog="Example: rowback approve plan-3f2a91c0.json --by ann")
@click.argument("what", metavar="PLAN|CASE")
@click.argument("digest", required=False, metavar="[DIGEST|undo]")
@click.option("--by", required=True, metavar="NAME", help="Who approves. Account and AWS identity are kept as well.")
@click.option("--note", default="", help="What the approver wants to have said.")
def approve(what: str, digest: str | None, by: str, note: str) -> None:
    """Approve a plan file, the repair plan DIGEST of a case that waits, or its undo. Writes no row.

    With DIGEST a plan file must be that plan.

    Profiles require approvals with approvals_needed. The person who opened the case cannot approve it. Plan files and
    cases are readable by their owner only: hand the plan file over, and bring back the file that is written next to it.
    """
    if Path(what).is_file():
        _approve_file(Path(what), digest, by, note)
    else:
        _approve_case(what, digest or "", by, note)


def _approve_file(path: Path, digest: str | None, by: str, note: str) -> None:
    from recovery.commands.restore import read_plan
    from recovery.report.report_text import plan_text
    from recovery.store.case_directory import all_cases
    from recovery.workflow.approvals import approval, keep_beside

    plan = read_plan(path)
    if digest is not None and not (len(digest) >= 8 and plan.digest.startswith(digest)):
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"{path} is plan {plan.digest[:8]}, not {digest}",
            state="nothing was approved",
            help=f"ask which of them is meant; then: rowback approve {path} {plan.digest[:8]} --by NAME",
        )
    click.echo(plan_text(plan) + "\n", err=True)
    waiting = [case for case in all_cases() if case.plan.digest == plan.digest and case.closed_at is None]
    if waiting:
        raise RowbackError(
            ErrorId.CASE_OPEN,
            f"case {waiting[0].id} carries this plan out already",
            state="nothing was approved",
            help=f"approve what it waits for: rowback status {waiting[0].id}; rowback approve {waiting[0].id} DIGEST",
        )
    approved = approval(plan.digest, by, note, plan.source.region)
    approval_path = keep_beside(path, approved)
    click.echo(f"plan {plan.digest[:8]} is approved by '{by}' ({approved.person})")
    click.echo(f"kept in {approval_path}\nnext: rowback restore --plan {path}", err=True)


def _approve_case(text: str, digest: str, by: str, note: str) -> None:
    from recovery.report.repair_text import repair_text
    from recovery.store.case_directory import resume_case
    from recovery.workflow.approvals import approval_for, record_approval, undo_label

    case, journal = resume_case(text)
    with journal:
        undoing = digest == "undo"
        _refuse_unsuitable(case, digest, undoing=undoing)
        plan = case.repair_plan
        label = undo_label(case) if undoing or plan is None else plan.digest
        approved = approval_for(case, label, by, note)
        if plan and not undoing:
            click.echo(repair_text(plan) + "\n", err=True)
        record_approval(journal, approved)
    name = "the undo of the last write" if undoing else f"repair plan {label[:8]}"
    click.echo(f"{name} of case {case.id} is approved by '{by}' ({approved.person})")


def _refuse_unsuitable(case: Case, digest: str, *, undoing: bool) -> None:
    """Only what can still be written can be approved."""
    plan = case.repair_plan
    if undoing:
        why = "" if case.wrote_to_original else "it has written nothing that could be undone"
    elif case.closed_at or case.load_done:
        why = f"it is over: {case.outcome}" if case.closed_at else "it has written its rows already"
    elif plan is None:
        why = "it has no repair plan yet"
    else:
        fits = len(digest) >= 8 and plan.digest.startswith(digest)
        why = "" if fits else f"its repair plan is {plan.digest[:8]}, not {digest or 'one without a DIGEST'}"
    if why:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"case {case.id} cannot be approved: {why}",
            state="nothing was approved",
            help=f"read it: rowback diff {case.id}; then: rowback approve {case.id} DIGEST --by NAME",
        )
