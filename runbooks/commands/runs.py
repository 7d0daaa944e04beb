"""`rowback runbook run|resume|approve|abort|runs`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guards.plain import joined
from recovery.commands.options import json_option, profile_option
from recovery.config import Profile, load_profile
from recovery.errors import EXIT_CODES, ErrorId, RowbackError
from runbooks.commands.naming import book_argument, run_argument

if TYPE_CHECKING:
    from recovery.workflow.journal import Journal
    from runbooks.book.document import Book
    from runbooks.running.driving import AtTerminal, Told
    from runbooks.running.runs import Run

MODES = ("preview", "ask", "auto")
values_option = click.option(
    "-p", "pairs", metavar="NAME=VALUE", multiple=True, help="A parameter or answer. Repeatable."
)
confirmed_option = click.option("--confirmed", metavar="STEP", multiple=True,
                                help="Mode auto: a manual step that somebody has looked at. Repeatable.")  # fmt: skip


@click.command(epilog="Example: rowback runbook run truncated-tables -p instance=docs-staging -p database=docs")
@book_argument
@values_option
@click.option("--mode", type=click.Choice(MODES), default="ask", show_default=True,
              help="preview: do what reads, print what writes. ask: before a write. auto: never guess.")  # fmt: skip
@click.option("--run-shell", "scripts", metavar="STEP", multiple=True,
              help="Mode preview: run this script too; you have read it. Repeatable.")  # fmt: skip
@confirmed_option
@profile_option
def run(  # noqa: PLR0913, PLR0917 (one argument an option)
    book: str, pairs: tuple[str, ...], mode: str, scripts: tuple[str, ...], confirmed: tuple[str, ...],
    profile: str | None,
) -> None:  # fmt: skip
    """Perform a runbook: step by step, journalled; it pauses where something is not as it should be."""
    from recovery.workflow.approvals import me
    from runbooks.book.reading import find_book, read_book
    from runbooks.running.binding import bind, overruled
    from runbooks.running.runs import Begun, open_run

    source = find_book(book)
    found, given, loaded = read_book(source), _given(pairs), load_profile(profile)
    values = bind(found, given)
    if mode == "preview":
        _preview(found, {**values, **overruled(found, given)}, loaded, scripts)
        return
    driver = _driver(mode, given, confirmed)
    driver.refuse_gaps(found)
    how = Begun(mode, me(loaded.region), profile, given, confirmed)
    opened, journal = open_run(source, found, values, how)
    click.echo(f"run {opened.id}: {found.title}", err=True)
    _perform(opened, journal, driver, loaded)


@click.command(epilog="Example: rowback runbook resume 7f3a --skip notify --reason 'told them by phone'")
@run_argument
@values_option
@click.option("--from", "from_", metavar="STEP", help="Do this step and all behind it again.")
@click.option("--skip", metavar="STEP", help="Leave this step out …")
@click.option("--reason", help="… and say why.")
@click.option("--rebase", "rebase_", is_flag=True, help="Go on by the book as it is now.")
@click.option("--mode", type=click.Choice(MODES[1:]), help="Another mode than it was begun with.")
@confirmed_option
@profile_option
def resume(  # noqa: PLR0913, PLR0917 (one argument an option)
    run_id: str, pairs: tuple[str, ...], from_: str | None, skip: str | None, reason: str | None, rebase_: bool,
    mode: str | None, confirmed: tuple[str, ...], profile: str | None,
) -> None:  # fmt: skip
    """Continue a run where it stopped, or from any step; finds out first whether a step that was cut off happened."""
    from runbooks.running.overruling import overrule
    from runbooks.running.runs import rebase, rebased, refuse_changed, resume_run

    given, opened, journal = _given(pairs), *resume_run(run_id)
    with journal:
        _refuse_over(opened)
        if not rebase_:
            refuse_changed(opened)
        book = rebased(opened) if rebase_ else opened.book
        _refuse_move(opened, book, from_=from_, skip=skip, reason=reason)
        _refuse_bound(opened, book, given)
        driver = _driver(
            mode or opened.how.mode, {**opened.how.answers, **given}, (*opened.how.confirmed, *confirmed)
        )  # fmt: skip
        driver.refuse_gaps(book, done=_staying(opened, book, from_=from_, skip=skip))
        loaded = load_profile(profile or opened.how.profile)
        # everything that can be refused has been: only now is anything written down
        if rebase_:
            rebase(opened, journal, book)
        _move(opened, journal, from_=from_, skip=skip, reason=reason)
        overrule(opened, journal, book, given)
        _perform(opened, journal, driver, loaded)


@click.command(epilog="Example: rowback runbook approve 7f3a go --by ann")
@run_argument
@click.argument("step")
@click.option("--by", required=True, metavar="NAME", help="Who approves. Account and AWS identity are kept as well.")
@click.option("--note", default="", help="What the approver wants to have said.")
def approve(run_id: str, step: str, by: str, note: str) -> None:
    """Agree to a step of a run that waits for another person."""
    from recovery.model.approval import Distinct
    from recovery.workflow.approvals import approval
    from runbooks.book.document import Approve
    from runbooks.running.runs import resume_run

    opened, journal = resume_run(run_id)
    with journal:
        _refuse_over(opened)
        if not isinstance(opened.book.step(step), Approve):
            waits = [each.id for each in opened.book.steps if isinstance(each, Approve)]
            raise RowbackError(
                ErrorId.USAGE, f"'{step}' is no approval of run {opened.id}", f"it has: {', '.join(waits) or 'none'}",
                state="nothing was approved", help=f"rowback runbook show {opened.directory / 'book.md'}",
            )  # fmt: skip
        _refuse_early(opened, step, by)
        given = approval(step, by, note, None)
        if not given.person.is_another_than(opened.how.opener, Distinct(opened.book.approvals_by)):
            raise RowbackError(
                ErrorId.APPROVAL_MISSING, f"'{by}' ({given.person}) is not another than {opened.how.opener}, who began"
                f" run {opened.id}", state="nothing was approved",
                help="somebody with other AWS credentials approves it; on a lab:"
                f' (eval "$(rowback lab colleague)"; rowback runbook approve {opened.id} {step} --by NAME)',
            )  # fmt: skip
        journal.append("step.approved", step=step, data=given.model_dump(mode="json"))
    click.echo(f"'{step}' of run {opened.id} is approved by '{by}' ({given.person})")
    click.echo(f"next: rowback runbook resume {opened.id}", err=True)


@click.command(epilog="Example: rowback runbook abort 7f3a")
@run_argument
@profile_option
def abort(run_id: str, profile: str | None) -> None:
    """Give a run up: takes back what its steps did, the last one first."""
    from recovery.workflow.run import terminate_like_interrupt
    from runbooks.running.driving import StepLines, Told
    from runbooks.running.performing import Performance, give_up
    from runbooks.running.runs import resume_run

    opened, journal = resume_run(run_id)
    loaded = load_profile(profile or opened.how.profile)
    with journal, terminate_like_interrupt():
        _refuse_over(opened)
        kept, doubtful = give_up(Performance(opened, journal, Told({}), StepLines(), loaded))
    click.echo(f"run {opened.id} is given up")
    for each in (*kept, *doubtful):
        click.echo(f"  not taken back: {each}")
    if doubtful:
        raise SystemExit(EXIT_CODES[ErrorId.RUN_PAUSED])


@click.command(epilog="Example: rowback runbook runs")
@json_option
def runs(as_json: bool) -> None:
    """All runs on this machine, oldest first, and where each stands."""
    from runbooks.running.runs import all_runs, unreadable_runs

    for id, why in unreadable_runs():
        click.echo(f"{id} cannot be read: {why}", err=True)
    rows = [
        {"run": run.id, "book": run.book.name, "outcome": run.outcome, "driven": driven, "waiting_at": run.waiting_at}
        for run, driven in all_runs()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        at = f" at '{row['waiting_at']}'" if row["outcome"] == "open" else ""
        click.echo(
            f"{row['run']}  {row['book']}  {row['outcome']}{at}" + (", being driven now" if row["driven"] else "")
        )
    if not rows:
        click.echo("no runs yet")


def _preview(book: Book, values: dict[str, str], profile: Profile, scripts: tuple[str, ...]) -> None:
    from recovery.redaction import Redactor
    from runbooks.book.document import RUN_DIR, Shell
    from runbooks.running.driving import StepLines
    from runbooks.running.executing import Surroundings
    from runbooks.running.previewing import Preview, preview

    if unknown := sorted(set(scripts) - {step.id for step in book.steps if isinstance(step, Shell)}):
        raise RowbackError(
            ErrorId.USAGE, f"'{unknown[0]}' is no script of runbook '{book.name}'", state="nothing was done",
            help=f"see its steps: rowback runbook show {book.name}",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        values |= {RUN_DIR: directory}  # what a preview writes is nobody's: a run may wait for its own plan's approval
        around = Surroundings(
            values, Path(directory), Redactor.of_this_process(), profile, book.connections, profile_name=profile.name
        )
        previewed = Preview(around, StepLines(), scripts, values)
        lines = preview(book, previewed)
    click.echo(joined(lines))
    click.echo(f"\n{previewed.summary}", err=True)


def _perform(opened: Run, journal: Journal, driver: Told | AtTerminal, profile: Profile) -> None:
    from recovery.workflow.run import terminate_like_interrupt
    from runbooks.running.driving import StepLines, show_line
    from runbooks.running.performing import Performance, perform

    try:
        with journal, terminate_like_interrupt():
            perform(Performance(opened, journal, driver, StepLines(), profile, show_line))
    except KeyboardInterrupt:
        help = f"rowback runbook resume {opened.id}, or rowback runbook abort {opened.id}"
        click.echo(f"interrupted\n  run {opened.id} stands at '{opened.waiting_at}'\n  help: {help}", err=True)
        raise SystemExit(130) from None
    click.echo(f"run {opened.id} is finished; its journal and the output of every step: {opened.directory}")


def _move(opened: Run, journal: Journal, *, from_: str | None, skip: str | None, reason: str | None) -> None:
    """Begin steps anew, or leave one out. An approval of what stood there before is none of what comes."""
    ids = [step.id for step in opened.book.steps]
    for id in ids[ids.index(from_) :] if from_ else ():
        if opened.state(id).over or opened.state(id).open_since or opened.approvals.get(id):
            opened.take(journal.append("step.again", step=id))
    if skip:
        opened.take(journal.append("step.skipped", step=skip, data={"reason": reason}))


def _staying(opened: Run, book: Book, *, from_: str | None, skip: str | None) -> list[str]:
    """Steps that will not be performed."""
    ids = [step.id for step in book.steps]
    again = set(ids[ids.index(from_) :]) if from_ else set()
    return [id for id, state in opened.steps.items() if state.over and id not in again] + ([skip] if skip else [])


def _refuse_move(opened: Run, book: Book, *, from_: str | None, skip: str | None, reason: str | None) -> None:
    from runbooks.book.document import Approve
    from runbooks.processes import runs

    ids = [step.id for step in book.steps]
    if unknown := [named for named in (from_, skip) if named and named not in ids]:
        raise RowbackError(
            ErrorId.USAGE, f"run {opened.id} has no step '{unknown[0]}'", f"its steps: {', '.join(ids)}",
            state="nothing was done", help=f"rowback runbook resume {opened.id} --from {opened.waiting_at}",
        )  # fmt: skip
    children = [opened.state(id).child for id in ids if from_ or id == skip]
    if running := [child for child in children if child is not None and runs(child)]:
        raise RowbackError(
            ErrorId.RUN_PAUSED, f"process {running[0]}, which an earlier attempt began, is still running",
            state="nothing was done", help=f"wait for it, or end it: kill {running[0]}",
        )  # fmt: skip
    if skip and isinstance(book.step(skip), Approve):
        raise RowbackError(
            ErrorId.APPROVAL_MISSING, f"'{skip}' is an approval, which cannot be left out", state="nothing was done",
            help=f"somebody else: rowback runbook approve {opened.id} {skip} --by NAME",
        )  # fmt: skip
    if skip and not reason:
        raise RowbackError(
            ErrorId.USAGE, f"step '{skip}' is to be left out, and nobody says why", state="nothing was done",
            help=f"rowback runbook resume {opened.id} --skip {skip} --reason WHY",
        )  # fmt: skip


def _refuse_bound(opened: Run, book: Book, given: dict[str, str]) -> None:
    """What was said at the beginning stays; a question that is not the book's helps nobody."""
    if wrong := sorted(given.keys() - book.questions.keys() - book.overrules.keys()):
        raise RowbackError(
            ErrorId.USAGE, f"-p {wrong[0]} answers no question of run {opened.id}; its parameters are bound",
            state="nothing was done", help="begin a new run for other values: rowback runbook run",
        )  # fmt: skip


def _refuse_early(opened: Run, step: str, by: str) -> None:
    """Who agrees has a name, and can have seen what the run made up to there."""
    if not by.strip():
        raise RowbackError(
            ErrorId.USAGE, "--by names nobody", state="nothing was approved",
            help=f"rowback runbook approve {opened.id} {step} --by NAME",
        )  # fmt: skip
    if opened.waiting_at != step:
        raise RowbackError(
            ErrorId.APPROVAL_MISSING, f"run {opened.id} stands at '{opened.waiting_at}', not at '{step}'",
            state="nothing was approved",
            help=f"once it is there: rowback runbook approve {opened.id} {step} --by NAME",
        )  # fmt: skip


def _refuse_over(opened: Run) -> None:
    if opened.closed_at:
        raise RowbackError(
            ErrorId.CASE_BUSY, f"run {opened.id} is over: {opened.outcome}", state="nothing was done",
            help="begin another one: rowback runbook run",
        )  # fmt: skip


def _driver(mode: str, given: dict[str, str], confirmed: tuple[str, ...]) -> Told | AtTerminal:
    from runbooks.running.driving import AtTerminal, Told

    return Told(given, frozenset(confirmed)) if mode == "auto" else AtTerminal(given)


def _given(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RowbackError(
                ErrorId.USAGE, f"-p {pair} is no NAME=VALUE", state="nothing was done", help="-p instance=docs-staging"
            )
        found[name] = value
    return found
