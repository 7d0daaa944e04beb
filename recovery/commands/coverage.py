"""`rowback coverage`: what of the account could be recovered. Reads only."""

from __future__ import annotations

import click

from recovery.commands.options import json_option, profile_option, region_option
from recovery.config import load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

FORMS = ("text", "json", "csv", "html")


@click.command(epilog="Example: rowback coverage --all-regions --format html > coverage.html")
@click.option("--all-regions", is_flag=True, help="Every region that the account may use, not only this one.")
@click.option("--format", "form", type=click.Choice(FORMS), default="text", show_default=True, help="What is printed.")
@profile_option
@region_option
@json_option
def coverage(all_regions: bool, form: str, profile: str | None, region: str | None, as_json: bool) -> None:
    """All instances and clusters: how far back, what outlives them, the last drill, the gaps. Reads only."""
    from recovery.doctor.survey_coverage import survey
    from recovery.model.coverage_report import Severity
    from recovery.report.coverage_text import coverage_csv, coverage_html, coverage_text

    loaded = load_profile(profile)
    loaded = loaded.model_copy(update={"region": region or loaded.region})
    report = survey(loaded, all_regions=all_regions, say=lambda text: click.echo(text, err=True))
    match "json" if as_json else form:
        case "json":
            click.echo(report.model_dump_json(indent=1))
        case "csv":
            click.echo(coverage_csv(report), nl=False)
        case "html":
            click.echo(coverage_html(report), nl=False)
        case _:
            click.echo(coverage_text(report))
    if not report.covered:
        raise RowbackError(
            ErrorId.COVERAGE_GAPS,
            f"these credentials see no instance in {', '.join(report.regions)}",
            state=NOTHING_CREATED,
            help="rowback coverage --all-regions, or other credentials (AWS_PROFILE)",
        )
    if report.unseen:
        raise RowbackError(
            ErrorId.COVERAGE_GAPS,
            f"{len(report.unseen)} regions could not be looked at",
            *report.unseen,
            state=NOTHING_CREATED,
            help="rowback doctor INSTANCE --iam-policy prints the policy that allows it",
        )
    if gaps := report.of(Severity.HIGH):
        names = ", ".join(dict.fromkeys(each.protection.identifier for each, _ in gaps))
        raise RowbackError(
            ErrorId.COVERAGE_GAPS,
            f"a loss today could not be undone: {names}",
            state=NOTHING_CREATED,
            help="the fixes are above",
        )
