"""`rowback find`: which statement did it, when, and was it committed. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from recovery.commands.options import instance_argument, json_option, profile_option, region_option
from recovery.commands.parameter_types import seconds
from recovery.config import load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.target import format_utc, parse_target_time


@click.command(epilog="Example: rowback find docs-staging --since 2h --table content.articles")
@instance_argument
@click.option("--since", metavar="2h", help="How far back to look (default: 2h; with --log: everything).")
@click.option("--from", "from_", metavar="TIME", help="Instead: from when, ISO 8601 with offset …")
@click.option("--to", "to", metavar="TIME", help="… and until when (default: now).")
@click.option("--tz", metavar="ZONE", help="IANA zone for times without offset.")
@click.option("--table", metavar="S.T", help="The table that lost something; every write to it counts.")
@click.option("--database", metavar="D", help="The database that lost something.")
@click.option(
    "--log",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A log file of this machine (plain, .csv, .json; each perhaps .gz). Repeatable.",
)
@click.option("--log-line-prefix", "prefix", help="How the server's lines begin, where nobody can be asked.")
@click.option("--log-timezone", "zone", metavar="ZONE", help="The server's log_timezone, where nobody can be asked.")
@click.option("--cloudwatch", is_flag=True, help="Read the export in CloudWatch Logs instead of the instance's files.")
@click.option("--show-values", is_flag=True, help="Show statements with their values, and parameters.")
@profile_option
@region_option
@json_option
def find(  # noqa: PLR0913, PLR0917 (one argument an option)
    instance: str | None,
    since: str | None,
    from_: str | None,
    to: str | None,
    tz: str | None,
    table: str | None,
    database: str | None,
    files: tuple[Path, ...],
    prefix: str | None,
    zone: str | None,
    cloudwatch: bool,
    show_values: bool,
    profile: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Which statement did it, who, when, was it committed, and which target time to restore to. Reads only."""
    from recovery.incident.rank_suspects import Question
    from recovery.investigation.find_incident import Search, find
    from recovery.report.find_text import find_text

    _refuse_unknown_zone(zone)
    loaded = load_profile(profile)
    begin, end = _span(since, from_, to, tz, whole=bool(files))
    search = Search(
        instance=instance or (None if files else loaded.instance),
        since=begin,
        until=end,
        question=Question(database=database or loaded.database, table=table, show_values=show_values),
        profile=loaded.model_copy(update={"region": region or loaded.region}),
        files=files,
        prefix=prefix,
        cloudwatch=cloudwatch,
        zone=zone,
    )
    finding = find(search, lambda text: click.echo(text, err=True))
    click.echo(finding.model_dump_json(indent=1) if as_json else find_text(finding))
    if not finding.suspects:
        raise RowbackError(
            ErrorId.NOTHING_SUSPECT,
            "no statement in these logs could have been the incident",
            *finding.silent,
            state=NOTHING_CREATED,
            help="look further back (--since 1d), at other sources (--log FILE), or ask copies: rowback bisect",
        )


def _refuse_unknown_zone(zone: str | None) -> None:
    from recovery.incident.log_line_prefix import is_zone

    if zone and not is_zone(zone):
        raise RowbackError(
            ErrorId.USAGE,
            f"'{zone}' is no time zone with one offset at a time",
            state=NOTHING_CREATED,
            help="write an IANA name such as --log-timezone Asia/Kolkata, or an offset: --log-timezone +05:30",
        )


def _span(
    since: str | None, from_: str | None, to: str | None, tz: str | None, *, whole: bool
) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    end = parse_target_time(to, zone=tz) if to else now
    if from_:
        begin = parse_target_time(from_, zone=tz)
    elif since is None and whole:
        begin = datetime(1970, 1, 2, tzinfo=UTC)
    else:
        begin = end - timedelta(seconds=seconds(since or "2h"))
    if begin >= end:
        raise RowbackError(
            ErrorId.USAGE,
            f"the search ends at {format_utc(end)}, before it begins at {format_utc(begin)}",
            state=NOTHING_CREATED,
            help="--from TIME --to TIME, or --since 2h",
        )
    return begin, end
