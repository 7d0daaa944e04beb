"""`rowback open|diff|apply|verify|undo|peek`: a recovery step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import click

from guards.plain import joined, shell_word
from recovery.commands.listing import form_of, show_rows
from recovery.commands.options import (
    BYTES,
    Asked,
    approver,
    case_argument,
    conflict_options,
    incident_of,
    json_option,
    objectives_of,
    profile_of,
    request_of,
    request_options,
)
from recovery.errors import ErrorId, RowbackError
from recovery.files import replace_private
from recovery.model.repair import Mode, OnConflict, Pace, RepairRequest, RowClass
from recovery.model.values import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from recovery.model.repair import RepairPlan
    from recovery.workflow.cases import Case
    from recovery.workflow.errand import Errand

CLASSES = {kind.name.lower(): kind for kind in RowClass if kind is not RowClass.UNCHANGED}


spreadsheet_option = click.option(
    "--spreadsheet", is_flag=True,
    help="CSV for a spreadsheet: what it would take for a formula begins with an apostrophe.",
)  # fmt: skip


@click.command("open", epilog="Example: rowback open docs-staging --at 2026-11-22T14:20:00Z --database docs")
@request_options
@json_option
def open_(as_json: bool, **asked: Unpack[Asked]) -> None:
    """Start a case: the temporary instance at T, taken over and made inert. Writes nothing to the original."""
    from recovery.aws.instances import Instances
    from recovery.commands.driving import interruptible, watched
    from recovery.report.listening import listener
    from recovery.workflow.approvals import me
    from recovery.workflow.cases import open_case
    from recovery.workflow.errand import Errand
    from recovery.workflow.planning import make_plan, refuse_second_copy
    from recovery.workflow.run import run

    request, profile = request_of(asked), profile_of(asked)
    instances = Instances.connect(profile.region)
    plan = make_plan(request, instances, say=lambda text: click.echo(text, err=True))
    refuse_second_copy(plan, instances)
    opener = me(plan.source.region) if profile.approvals.needed else None
    case, journal = open_case(plan, objectives_of(profile), profile, approved=False, opener=opener)
    errand = Errand(case, journal, instances, listener())
    with watched(errand, "copy"), journal, interruptible(case):
        run(errand, until="secure-copy")
    click.echo(json.dumps({"case": case.id, "temporary_instance": case.copy.identifier}) if as_json else case.id)
    click.echo(f"next: rowback diff {case.id}, or look first: rowback peek {case.id} 'select …'", err=True)


@click.command(epilog="Example: rowback diff 7f3a --show conflict --limit 20")
@case_argument
@click.option("--mode", type=click.Choice([m.value for m in Mode if m is not Mode.BESIDE]), help="Another mode.")
@conflict_options()[0]
@click.option("--on-conflict", type=click.Choice([c.value for c in OnConflict]), help="Another policy.")
@click.option("--decisions", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Rows decided by hand: the CSV of --csv with its op column edited.")  # fmt: skip
@click.option("--again", is_flag=True, help="Compare anew, though nothing else is asked.")
@click.option("--show", type=click.Choice(list(CLASSES)), multiple=True, help="List rows of this class. Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), help="List so many rows at most.")
@click.option("--csv", "as_csv", is_flag=True, help="List rows as CSV.")
@spreadsheet_option
@click.option("--all", "every", is_flag=True, help="List every table, however many.")
@click.option("--digest", "only_digest", is_flag=True, help="Print nothing but the repair plan's digest.")
@json_option
def diff(  # noqa: PLR0913, PLR0917 (one argument an option)
    case_id: str, mode: str | None, incident_xids: tuple[tuple[int, int], ...], on_conflict: str | None,
    decisions: Path | None, again: bool,
    show: tuple[str, ...], limit: int | None, as_csv: bool, spreadsheet: bool, every: bool, only_digest: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare T with now, row by row, and write the repair plan. Writes nothing to the original.

    A second call shows the plan that is there; with another mode, policy or incident it is made anew.
    """
    from recovery.report.repair_text import repair_text
    from recovery.report.text import EVERY, MOST_SHOWN
    from recovery.workflow.cases import read_case

    changed: dict[str, object] = {
        "mode": mode, "on_conflict": on_conflict, "decisions": _read(decisions) if decisions else None
    }  # fmt: skip
    if incident_xids:
        changed |= incident_of(incident_xids)
    asked = {name: value for name, value in changed.items() if value is not None}
    case = read_case(case_id)
    if asked or again or case.outcome_of("diff") is None:
        case = _compare(case_id, asked)
    plan = case.repair_plan
    assert plan
    if only_digest:
        click.echo(plan.digest)
        return
    if show or as_csv or spreadsheet or limit:
        form = form_of(as_csv=as_csv, as_json=as_json, spreadsheet=spreadsheet)
        show_rows(case, plan, [CLASSES[name] for name in show], limit, form)
        return
    click.echo(plan.to_json() if as_json else repair_text(plan, most=EVERY if every else MOST_SHOWN))
    if not case.wrote_to_live and (plan.writes or plan.filled):
        if plan.conflicts and plan.request.on_conflict is OnConflict.KEEP_LIVE:
            click.echo(
                f"\n{counted(plan.conflicts, 'row')} changed by the incident and by others: kept as they are, unless"
                " they are merged column by column before anything is written:"
                f" rowback diff {case.id} --on-conflict merge",
                err=True,
            )
        name = case.plan.database
        click.echo(f"\nnext: rowback apply {case.id} {plan.digest[:8]} --confirm {shell_word(name)}", err=True)


@click.command(epilog="Example: rowback apply 7f3a 1b2c3d4e --confirm docs")
@case_argument
@click.argument("digest", metavar="DIGEST")
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@click.option("--confirm-loss", type=int, metavar="N", help="mode replace: how many rows lose what came after T.")
@click.option("--max-wal-rate", type=BYTES, metavar="SIZE",
              help="In portions, each its own transaction, with at most so much WAL a second (8MiB).")  # fmt: skip
@click.option("--accept-partial", is_flag=True, help="End with 0 where rows stay lost that the plan names.")
@json_option
def apply(  # noqa: PLR0913, PLR0917 (one argument an option)
    case_id: str, digest: str, confirmed: str | None, confirm_loss: int | None, max_wal_rate: int | None,
    accept_partial: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write what the repair plan with DIGEST says, and prove it. The temporary instance stays until it is closed.

    One transaction, or with --max-wal-rate one after the other: writers then wait for one portion at most and replicas
    keep up, but the rows come back one portion after the other. resume goes on where a paced load was cut off.
    """
    from recovery.commands.driving import reported
    from recovery.model.account import Partial
    from recovery.workflow.run import run

    with _errand(case_id, work="repair") as errand, reported(errand.case, as_json=as_json):
        case, plan = errand.case, errand.case.repair_plan
        if case.load_done:
            undone = " and taken them back" if case.taken_back else ""
            raise RowbackError(
                ErrorId.CASE_BUSY, f"case {case.id} has written its rows{undone} already",
                state="nothing was done", help=f"rowback verify {case.id}, or turn the last write round: rowback undo"
                f" {case.id}",
            )  # fmt: skip
        if plan is None or len(digest) < 8 or not plan.digest.startswith(digest):
            now = f"its repair plan is {plan.digest[:8]}" if plan else "it has no repair plan"
            raise RowbackError(
                ErrorId.PLAN_FACTS_CHANGED, f"case {case.id} has no repair plan {digest}; {now}",
                state="nothing was written to the original", help=f"read it: rowback diff {case.id}",
            )  # fmt: skip
        if max_wal_rate:
            _pace(errand, plan, max_wal_rate)
        errand.approver = approver(case.plan.database, confirmed, confirm_loss)
        errand.partial = Partial.ACCEPT if accept_partial else Partial.KEEP_OPEN
        run(errand, until="verify")
    click.echo(f"next: rowback close {case.id} (remove the temporary instance), or rowback undo {case.id}", err=True)


@click.command(epilog="Example: rowback verify 7f3a")
@case_argument
@json_option
def verify(case_id: str, as_json: bool) -> None:
    """Prove again, now or in a week, that what a case wrote is as planned. Reads only."""
    from recovery.report.text import verification_text
    from recovery.workflow.undo import verify_again

    with _errand(case_id) as errand:
        found = verify_again(errand)
    click.echo(found.model_dump_json(indent=1) if as_json else verification_text(found))


@click.command(epilog="Example: rowback undo 7f3a --confirm docs")
@case_argument
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@click.option("--accept-partial", is_flag=True, help="Take back the part that can be, and leave the rest.")
@click.option("--dry-run", is_flag=True, help="Do all the reads, show what would be taken back and what would stay.")
@json_option
def undo(case_id: str, confirmed: str | None, accept_partial: bool, dry_run: bool, as_json: bool) -> None:
    """Take back what a case wrote last. Refuses while rows would stay, because others changed them since. Undo it again
    to get it back."""
    from recovery.model.account import Partial
    from recovery.report.text import verification_text
    from recovery.workflow.undo import undo as take_back

    if dry_run:
        _preview_undo(case_id, as_json=as_json)
        return
    with _errand(case_id, work="undo") as errand:
        errand.partial = Partial.ACCEPT if accept_partial else Partial.KEEP_OPEN
        errand.approver = _undo_approver(errand.case, confirmed)
        done = take_back(errand)
    if as_json:
        click.echo(done.verification.model_dump_json(indent=1))
        return
    part = " in part" if done.stay else ""
    ended = f"taken back{part}" if errand.case.taken_back else f"put back again{part}, which undoes the undo before"
    stay = "".join(f"\n  {line}" for line in done.reasons)
    click.echo(f"case {errand.case.id}: {ended}{stay}\n\n{verification_text(done.verification)}")


def _preview_undo(case_id: str, *, as_json: bool) -> None:
    from recovery.report.repair_text import repair_text
    from recovery.workflow.undo import preview_undo, staying

    with _errand(case_id, work="undo") as errand:
        plan = preview_undo(errand)
    if as_json:
        click.echo(plan.to_json())
        return
    click.echo(repair_text(plan, title="undo plan") + "\n\n" + joined(f"  {line}" for line in staying(plan)))
    click.echo("\ndry run: nothing was written", err=True)


@click.command(epilog="""Example: rowback peek 7f3a "select count(*) from content.articles" """)
@case_argument
@click.argument("query", metavar="SQL")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@spreadsheet_option
@json_option
def peek(case_id: str, query: str, as_csv: bool, spreadsheet: bool, as_json: bool) -> None:
    """Run one read-only query on the temporary instance: the database as it was at T."""
    from recovery.postgres.peek import peek as look
    from recovery.report.repair_text import table_csv, table_text
    from recovery.report.spreadsheet import cell

    with _errand(case_id) as errand:
        _refuse_without_copy(errand.case)
        with errand.copy() as copy:
            names, rows = look(copy, query)
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, ensure_ascii=False))
    else:
        if spreadsheet:
            rows = [tuple(map(cell, row)) for row in rows]
        click.echo(table_csv(names, rows) if as_csv or spreadsheet else table_text(names, rows))


def _pace(errand: Errand, plan: RepairPlan, rate: int) -> None:
    if not plan.writes:
        raise RowbackError(
            ErrorId.USAGE, f"case {errand.case.id} loads whole tables only, and those come back in one transaction",
            state="nothing was done", help=f"rowback apply {errand.case.id} {plan.digest[:8]}, without --max-wal-rate",
        )  # fmt: skip
    errand.record("load.paced", data=Pace(wal_bytes_per_s=rate).model_dump())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RowbackError(
            ErrorId.USAGE, f"{path} cannot be read: {error}", state="nothing was done",
            help="give the CSV that rowback diff CASE --csv wrote",
        ) from error  # fmt: skip


def _refuse_closed(case: Case) -> None:
    if case.closed_at:
        raise RowbackError(
            ErrorId.CASE_BUSY, f"case {case.id} is closed: {case.outcome}",
            state="nothing was done", help="open another one: rowback open",
        )  # fmt: skip


def _refuse_without_copy(case: Case) -> None:
    _refuse_closed(case)
    if case.outcome_of("secure-copy") is None:
        raise RowbackError(
            ErrorId.CASE_BUSY, f"the temporary instance of case {case.id} is not ready yet",
            state="nothing was done", help=f"rowback resume {case.id}",
        )  # fmt: skip


@contextmanager
def _errand(case_id: str, *, work: Literal["repair", "undo"] | None = None) -> Iterator[Errand]:
    """The case, locked and ready to be driven. `work` that writes is told to those whom the profile names."""
    from recovery.aws.instances import Instances
    from recovery.commands.driving import interruptible, shown, watched
    from recovery.report.listening import listener
    from recovery.workflow.cases import resume_case
    from recovery.workflow.errand import Errand

    case, journal = resume_case(case_id)
    errand = Errand(case, journal, Instances.connect(case.plan.source.region), listener())
    # The page is written last of all, when the journal is no longer ours: it says that nobody drives the case.
    with watched(errand, work) if work else shown(case), journal, interruptible(case, undoing=work == "undo"):
        yield errand


def _compare(case_id: str, asked: Mapping[str, object]) -> Case:
    from recovery.workflow.run import diff_again

    with _errand(case_id) as errand:
        _refuse_closed(errand.case)
        if text := asked.get("decisions"):
            asked = {**asked, "decisions": f"decisions-{errand.case.new_number()}.csv"}
            replace_private(errand.case.directory / str(asked["decisions"]), str(text).encode())
        if asked:
            request = RepairRequest.model_validate({**errand.case.request.model_dump(), **asked})
            errand.record("repair.asked", data=request.model_dump(mode="json"))
        diff_again(errand)
        return errand.case


def _undo_approver(case: Case, confirmed: str | None) -> Callable[[RepairPlan], None]:
    from recovery.commands.options import confirm
    from recovery.report.repair_text import repair_text

    def approve(plan: RepairPlan) -> None:
        click.echo("\n" + repair_text(plan, title="undo plan") + "\n", err=True)
        name = case.plan.database
        confirm(name, confirmed, instead=f"rowback undo {case.id} --confirm {shell_word(name)}")

    return approve
