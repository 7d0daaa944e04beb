"""`rowback approve`: a second person agrees to a plan."""

from __future__ import annotations

from pathlib import Path

import click

from recovery.errors import ErrorId, RowbackError


@click.command(epilog="Example: rowback approve plan-3f2a91c0.json --by ann")
@click.argument("what", metavar="PLAN|CASE")
@click.argument("digest", required=False)
@click.option("--by", required=True, metavar="NAME", help="Who approves. Account and AWS identity are kept as well.")
@click.option("--note", default="", help="What the approver wants to have said.")
def approve(what: str, digest: str | None, by: str, note: str) -> None:
    """Agree to a plan file, or to the repair plan DIGEST of a case that waits. Shows what it says; writes no row.

    Profiles demand it with approvals_needed. Whoever opened the case cannot approve it.
    """
    if Path(what).is_file():
        _approve_file(Path(what), by, note)
    else:
        _approve_case(what, digest, by, note)


def _approve_file(path: Path, by: str, note: str) -> None:
    from recovery.commands.restore import read_plan
    from recovery.report.text import plan_text
    from recovery.workflow.approvals import approval, keep_beside

    plan = read_plan(path)
    given = approval(plan.digest, by, note)
    click.echo(plan_text(plan) + "\n", err=True)
    kept = keep_beside(path, given)
    click.echo(f"plan {plan.digest[:8]} is approved by '{by}' ({given.person})")
    click.echo(f"kept in {kept}\nnext: rowback restore --plan {path}", err=True)


def _approve_case(text: str, digest: str | None, by: str, note: str) -> None:
    from recovery.report.repair_text import repair_text
    from recovery.workflow.approvals import EVENT, approval
    from recovery.workflow.cases import resume_case

    case, journal = resume_case(text)
    with journal:
        plan = case.repair_plan
        if plan is None or digest is None or len(digest) < 8 or not plan.digest.startswith(digest):
            now = f"its repair plan is {plan.digest[:8]}" if plan else "it has no repair plan yet"
            raise RowbackError(
                ErrorId.PLAN_FACTS_CHANGED, f"case {case.id} has no repair plan {digest or 'without a DIGEST'}; {now}",
                state="nothing was approved",
                help=f"read it: rowback diff {case.id}; then: rowback approve {case.id} DIGEST --by NAME",
            )  # fmt: skip
        given = approval(plan.digest, by, note)
        if case.opener and not given.person.is_another_than(case.opener):
            raise RowbackError(
                ErrorId.APPROVAL_MISSING, f"'{by}' is whoever opened case {case.id}: {given.person}",
                state="nothing was approved",
                help="another person must approve it, with their own account and AWS identity",
            )  # fmt: skip
        click.echo(repair_text(plan) + "\n", err=True)
        journal.append(EVENT, data=given.model_dump(mode="json"))
    click.echo(f"repair plan {plan.digest[:8]} is approved by '{by}' ({given.person})")
    click.echo(f"next: rowback resume {case.id}", err=True)
