"""`rowback diff`: compare T with now, and write the repair plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guards.plain_text import shell_word
from recovery.commands.options import case_argument, json_option
from recovery.commands.plan_rows import form_of, show_rows
from recovery.commands.request_options import conflict_options, incident_of
from recovery.errors import ErrorId, RowbackError
from recovery.model.modes import MODES
from recovery.model.row_class import OnConflict, RowClass
from recovery.model.values import counted

if TYPE_CHECKING:
    from recovery.store.case_directory import Case

from recovery.commands.locked_case import locked_case, refuse_closed, spreadsheet_option

CLASSES = {kind.name.lower(): kind for kind in RowClass if kind is not RowClass.UNCHANGED}


@click.command(epilog="Example: rowback diff 7f3a --show conflict --limit 20")
@case_argument
@click.option(
    "--mode", type=click.Choice([name.value for name, mode in MODES.items() if mode.in_place]), help="Another mode."
)
@conflict_options()[0]
@click.option("--on-conflict", type=click.Choice([c.value for c in OnConflict]), help="Another policy.")
@click.option(
    "--decisions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows decided by hand: the CSV of --csv with its op column edited.",
)
@click.option("--again", is_flag=True, help="Compare anew, though nothing else is asked.")
@click.option("--show", type=click.Choice(list(CLASSES)), multiple=True, help="List rows of this class. Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), help="List so many rows at most.")
@click.option("--csv", "as_csv", is_flag=True, help="List rows as CSV.")
@spreadsheet_option
@click.option("--all", "every", is_flag=True, help="List every table, however many.")
@click.option("--digest", "only_digest", is_flag=True, help="Print nothing but the repair plan's digest.")
@json_option
def diff(  # noqa: PLR0913, PLR0917 (one argument an option)
    case_id: str,
    mode: str | None,
    incident_xids: tuple[tuple[int, int], ...],
    on_conflict: str | None,
    decisions: Path | None,
    again: bool,
    show: tuple[str, ...],
    limit: int | None,
    as_csv: bool,
    spreadsheet: bool,
    every: bool,
    only_digest: bool,
    as_json: bool,
) -> None:
    """Compare T with now, row by row, and write the repair plan. Writes nothing to the original.

    A second call shows the plan that is there; with another mode, policy or incident it is made anew.
    """
    from recovery.report.repair_text import repair_text
    from recovery.report.report_text import EVERY, MOST_SHOWN
    from recovery.store.case_directory import read_case

    changed: dict[str, object] = {
        "mode": mode,
        "on_conflict": on_conflict,
        "decisions": _read(decisions) if decisions else None,
    }
    if incident_xids:
        changed |= incident_of(incident_xids)
    options = {name: value for name, value in changed.items() if value is not None}
    case = read_case(case_id)
    if options or again or case.outcome_of("diff") is None:
        case = _compare(case_id, options)
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
    if not case.wrote_to_original and (plan.writes or plan.filled):
        if plan.conflicts and plan.request.on_conflict is OnConflict.KEEP_LIVE:
            click.echo(
                f"\n{counted(plan.conflicts, 'row')} changed by the incident and by others: kept as they are, unless"
                " they are merged column by column before anything is written:"
                f" rowback diff {case.id} --on-conflict merge",
                err=True,
            )
        name = case.plan.database
        click.echo(f"\nnext: rowback apply {case.id} {plan.digest[:8]} --confirm {shell_word(name)}", err=True)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"{path} cannot be read: {error}",
            state="nothing was done",
            help="give the CSV that rowback diff CASE --csv wrote",
        ) from error


def _compare(case_id: str, options: Mapping[str, object]) -> Case:
    from recovery.workflow.case_lifecycle import diff_again
    from recovery.workflow.case_requests import request_comparison

    with locked_case(case_id) as recovery_run:
        refuse_closed(recovery_run.case)
        request_comparison(recovery_run, options)
        diff_again(recovery_run)
        return recovery_run.case
