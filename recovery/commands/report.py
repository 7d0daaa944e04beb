"""`rowback report`: what a case did and proved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recovery.commands.options import case_argument, json_option

if TYPE_CHECKING:
    from recovery.store.case_directory import Case


@click.command(epilog="Example: rowback report 7f3a --format html > report.html")
@case_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "md", "json"]),
    default="text",
    show_default=True,
    help="text: what it did and proved. Others: the whole incident report.",
)
@json_option
def report(case_id: str, form: str, as_json: bool) -> None:
    """What a case did, proved and how long each phase took, out of its journal."""
    from recovery.store.case_directory import read_case
    from recovery.store.journal import reading

    case = read_case(case_id)
    with reading(case.directory):
        _show_report(case, "summary" if as_json else form)


def _show_report(case: Case, form: str) -> None:
    from recovery.commands.drive_case import show_report
    from recovery.report.incident_page import incident_html, incident_markdown
    from recovery.store.journal import read_records
    from recovery.workflow.case_incident_report import story_of

    if form in ("text", "summary"):
        show_report(case, as_json=form == "summary")
        return
    story = story_of(case, read_records(case.directory))
    match form:
        case "html":
            click.echo(incident_html(story), nl=False)
        case "md":
            click.echo(incident_markdown(story), nl=False)
        case _:
            click.echo(story.model_dump_json(indent=1))
