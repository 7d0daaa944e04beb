"""The options that say what to put back, and the request they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from guards.plain_text import shell_word
from recovery.config import Profile, load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.load_strategy import LoadStrategy
from recovery.model.modes import DEFAULT, MODES
from recovery.model.modes.reload_mode import Mode
from recovery.model.recovery_plan import Transport
from recovery.model.recovery_report import Objectives
from recovery.model.repair_plan import RepairRequest
from recovery.model.row_class import OnConflict
from recovery.model.target import parse_target_time

if TYPE_CHECKING:
    from recovery.planning.check_request import Request

from recovery.commands.options import instance_argument, profile_option, region_option
from recovery.commands.parameter_types import XidRange, seconds

Function = TypeVar("Function", bound=Callable[..., Any])


class IncidentIds(TypedDict):
    """Which transactions were the incident: single ids, and ranges of them."""

    incident_xids: tuple[int, ...]
    incident_ranges: tuple[tuple[int, int], ...]


def incident_of(ranges: Sequence[tuple[int, int]]) -> IncidentIds:
    """The fields of a RepairRequest that `--incident-xid` fills."""
    return IncidentIds(
        incident_xids=tuple(low for low, high in ranges if low == high),
        incident_ranges=tuple((low, high) for low, high in ranges if low < high),
    )


class Asked(TypedDict):
    """What the shared options collect."""

    instance: str | None
    at: str | None
    tz: str | None
    database: str | None
    tables: Sequence[str]
    leave_out: Sequence[str]
    transport: str
    load: str
    mode: str
    where: str | None
    incident_xids: Sequence[tuple[int, int]]
    all_or_nothing: bool
    copy_parameter_group: str | None
    inside_vpc: bool
    on_conflict: str
    profile: str | None
    region: str | None
    wait_for_window: str | None
    max_cost_usd: float | None


def conflict_options() -> tuple[Callable[[Function], Function], ...]:
    """Who the incident was, and what becomes of rows that others changed after it."""
    return (
        click.option(
            "--incident-xid",
            "incident_xids",
            type=XidRange(),
            multiple=True,
            metavar="XID",
            help="A transaction of the incident, as rowback diff lists them, or a range: 3587..3760. Repeatable.",
        ),
        click.option(
            "--on-conflict",
            type=click.Choice([c.value for c in OnConflict]),
            default=OnConflict.KEEP_LIVE.value,
            show_default=True,
            help="A row that the incident and others after it changed.",
        ),
    )


REQUEST_OPTIONS = (
    instance_argument,
    click.option("--at", metavar="T", help="Target time, ISO 8601 with offset: 2026-11-22T14:20:00Z."),
    click.option("--tz", metavar="ZONE", help="IANA zone for a target time without offset."),
    click.option("--database", metavar="D", help="The affected database."),
    click.option(
        "--table",
        "tables",
        metavar="S.T",
        multiple=True,
        help="A table or pattern to put back (default: the whole database). Repeatable.",
    ),
    click.option(
        "--except",
        "leave_out",
        metavar="S.T",
        multiple=True,
        help="A table or pattern to leave as it is. Repeatable.",
    ),
    click.option(
        "--transport",
        type=click.Choice([t.value for t in Transport]),
        default=Transport.DUMP.value,
        show_default=True,
        help="pg_dump to disk, or rows streamed by COPY.",
    ),
    click.option(
        "--load",
        type=click.Choice([strategy.value for strategy in LoadStrategy]),
        default=LoadStrategy.AUTO.value,
        show_default=True,
        help="Tables loaded whole: swap builds them under hidden names and exchanges them; in-place drops their"
        " non-unique indexes before and builds them after the rows; plain keeps them; auto: the fastest that can be.",
    ),
    click.option(
        "--mode",
        type=click.Choice([name.value for name in MODES]),
        default=DEFAULT.name.value,
        show_default=True,
        help=" ".join(f"{mode.name}: {mode.summary}" for mode in MODES.values()),
    ),
    click.option("--where", metavar="SQL", help="Only rows of the one --table that fit, and rows on them."),
    *conflict_options(),
    click.option(
        "--all-or-nothing",
        is_flag=True,
        help="One row that cannot come back, or be deleted, keeps all others away (default: it is set aside and"
        " named).",
    ),
    click.option(
        "--copy-parameter-group",
        metavar="NAME",
        help="Parameter group of the copy (default: RDS's own).",
    ),
    click.option(
        "--inside-vpc",
        is_flag=True,
        help="Private addresses of the original's network are reached from here, though it has a public one.",
    ),
    click.option(
        "--max-cost",
        "max_cost_usd",
        type=click.FloatRange(min=0, min_open=True),
        metavar="USD",
        help="Let the copy expire before it costs more (reap removes it then); refuse if unsure.",
    ),
    click.option("--wait-for-window", metavar="10m", help="Wait for the restore window to reach T."),
    profile_option,
    region_option,
)


def request_options(function: Function) -> Function:
    """INSTANCE and everything that says what to put back."""
    for option in reversed(REQUEST_OPTIONS):
        function = option(function)
    return function


def profile_of(options: Asked) -> Profile:
    """The named profile with --region on top."""
    profile = load_profile(options["profile"])
    return profile.model_copy(update={"region": options["region"] or profile.region})


def request_of(options: Asked) -> Request:
    """One frozen request out of flags and profile. Raises usage for what is missing."""
    from recovery.compare.scope import ScopeRequest
    from recovery.planning.check_request import Request

    profile = profile_of(options)
    instance, database = options["instance"] or profile.instance, options["database"] or profile.database
    at = options["at"]
    if not (instance and at and database):
        raise _missing(instance, at, database)
    return Request(
        instance=instance,
        database=database,
        target_time=parse_target_time(at, zone=options["tz"]),
        scope=ScopeRequest(tables=tuple(options["tables"]), leave_out=tuple(options["leave_out"])),
        transport=Transport(options["transport"]),
        load=LoadStrategy(options["load"]),
        profile=profile,
        wait_for_window_s=seconds(options["wait_for_window"] or "0s"),
        repair=RepairRequest(
            mode=Mode(options["mode"]),
            on_conflict=OnConflict(options["on_conflict"]),
            **incident_of(options["incident_xids"]),
        ),
        where=options["where"],
        all_or_nothing=options["all_or_nothing"],
        copy_parameter_group=options["copy_parameter_group"],
        inside_vpc=options["inside_vpc"],
        max_cost_usd=options["max_cost_usd"],
        profile_name=options["profile"],
    )


def objectives_of(profile: Profile) -> Objectives:
    """RTO and RPO of the profile, in seconds."""
    return Objectives(
        recovery_time_s=round(profile.rto_minutes * 60) if profile.rto_minutes else None,
        data_loss_s=round(profile.rpo_minutes * 60) if profile.rpo_minutes else None,
    )


def _missing(instance: str | None, at: str | None, database: str | None) -> RowbackError:
    """What is missing, and the command with all that was given."""
    arguments = {"INSTANCE": instance, "--at": at, "--database": database}
    what = next(name for name, value in arguments.items() if not value)
    quoted = [
        shell_word(value) if value else name
        for name, value in (("INSTANCE", instance), ("TIME", at), ("DATABASE", database))
    ]
    command = "rowback {} {} --at {} --database {}".format(click.get_current_context().info_name, *quoted)
    form = "" if at else "; a TIME is written like 2026-11-22T14:20:00Z, or found: rowback find INSTANCE"
    return RowbackError(
        ErrorId.USAGE, f"{what} is missing", state=NOTHING_CREATED, help=command + form.replace("INSTANCE", quoted[0])
    )
