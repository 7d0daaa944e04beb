"""`rowback bisect`: find the time of a loss by asking copies of several times."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from guards.plain_text import shell_word
from recovery.commands.options import json_option, profile_option, region_option
from recovery.commands.parameter_types import seconds
from recovery.commands.shell_completion import complete_instance
from recovery.config import Profile, load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

if TYPE_CHECKING:
    from recovery.aws.restorable_source import RestorableSource
    from recovery.workflow.bisection import Bisection


@click.command(
    epilog="Example: rowback bisect docs-staging --database docs --good 'select count(*) > 0 from content.tags'"
)
@click.argument("instance", shell_complete=complete_instance)
@click.option("--database", required=True, metavar="D", help="The database that lost something.")
@click.option("--good", required=True, metavar="SQL", help="One SELECT of one boolean, true before the loss.")
@click.option("--from", "from_", metavar="TIME", help="Not before, ISO 8601 with offset (default: the window's start).")
@click.option("--to", "to", metavar="TIME", help="Not after (default: the end of the restore window).")
@click.option("--precision", default="60s", show_default=True, metavar="60s", help="Stop when it is that narrow.")
@click.option("--confirm", "confirmed", type=int, metavar="N", help="The number of copies, for automation.")
@profile_option
@region_option
@json_option
def bisect(  # noqa: PLR0913, PLR0917 (one argument an option)
    instance: str,
    database: str,
    good: str,
    from_: str | None,
    to: str | None,
    precision: str,
    confirmed: int | None,
    profile: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """When was it lost? For logs that do not say: restores a copy, asks it, removes it, and halves the time.

    Says what that costs and asks first. There is one copy at a time, like the copy of any case.
    """
    from recovery.aws.instances import Instances
    from recovery.model.target import format_utc
    from recovery.report.progress_listener import listener
    from recovery.workflow.bisection import bisect as halve
    from recovery.workflow.bisection import refuse_unless_lost, span_text

    loaded = load_profile(profile)
    loaded = loaded.model_copy(update={"region": region or loaded.region})
    instances = Instances.connect(loaded.region)
    search = _search(instances, loaded, (instance, database, good), (from_, to), seconds(precision))
    refuse_unless_lost(search, instances)
    _confirm(search, instances, confirmed)
    bracket = halve(
        search,
        instances,
        listener(),
        lambda at, held: click.echo(f"{format_utc(at)}: {'good' if held else 'lost'}", err=True),
    )
    times = {"good_at": bracket.good_at, "bad_at": bracket.bad_at}
    shown = {name: format_utc(at) if at else None for name, at in times.items()}
    click.echo(json.dumps(shown, indent=1) if as_json else span_text(bracket))
    if bracket.good_at is None:
        raise RowbackError(
            ErrorId.NOTHING_SUSPECT,
            f"no copy passed --good {good!r}",
            state="no copy is left, nothing was written",
            help="look further back with --from, or at an older snapshot",
        )
    click.echo(
        f"next: rowback plan {instance} --at {format_utc(bracket.good_at)} --database {shell_word(database)}", err=True
    )


def _search(
    instances: RestorableSource,
    profile: Profile,
    what: tuple[str, str, str],
    span: tuple[str | None, str | None],
    precision_s: float,
) -> Bisection:
    from recovery.compare.scope import ScopeRequest
    from recovery.model.recovery_plan import Transport
    from recovery.model.target import format_utc, parse_target_time
    from recovery.planning.check_request import Request
    from recovery.workflow.bisection import Bisection

    instance, database, good = what
    window = instances.window(instances.get(instance))
    since = parse_target_time(span[0]) if span[0] else window.earliest.replace(microsecond=0) + timedelta(seconds=1)
    until = parse_target_time(span[1]) if span[1] else window.latest.replace(microsecond=0)
    if since >= until:
        raise RowbackError(
            ErrorId.USAGE,
            f"there is no time between {format_utc(since)} and {format_utc(until)}",
            state=NOTHING_CREATED,
            help="--from TIME --to TIME, both in the restore window",
        )
    request = Request(
        instance=instance,
        database=database,
        target_time=since,
        scope=ScopeRequest(tables=(), leave_out=()),
        transport=Transport.COPY,
        profile=profile,
    )
    return Bisection(request, good, since, until, max(1, round(precision_s)))


def _confirm(search: Bisection, instances: RestorableSource, confirmed: int | None) -> None:
    """The number of copies, typed: each is an instance that costs money and takes its time."""
    from recovery.investigation.assess_outlook import of_copies

    cost = of_copies(search.copies, search.wanted, instances)
    click.echo(f"up to {search.copies} copies, one after the other; {cost}", err=True)
    if confirmed is None and sys.stdin.isatty():
        confirmed = click.prompt(f"Type the number of copies to go on ({search.copies})", err=True, type=int)
    if confirmed != search.copies:
        reason = "nobody confirmed that" if confirmed is None else f"{confirmed} is not that number"
        raise RowbackError(
            ErrorId.CONFIRMATION_MISSING,
            f"{search.copies} copies would be made, and {reason}",
            state=NOTHING_CREATED,
            help=f"add --confirm {search.copies}, or narrow the time: --from, --to, --precision",
        )
