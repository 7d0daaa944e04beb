"""Options that several verbs share, and the request they add up to."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from guards.plain import shell_word
from recovery.commands.completing import complete_case, complete_instance, complete_profile
from recovery.config import Profile, load_profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.plan import Transport
from recovery.model.repair import WRITTEN_AFTER_T, Mode, OnConflict, RepairPlan, RepairRequest
from recovery.model.report import Objectives
from recovery.model.target import parse_target_time
from recovery.model.values import counted

if TYPE_CHECKING:
    from recovery.workflow.asking import Request

Function = TypeVar("Function", bound=Callable[..., Any])
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 100 * 365 * 86400

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
region_option = click.option("--region", help="AWS region (default: boto3's own).")


class Bytes(click.ParamType[int]):
    """A size such as 8MiB or 500kB, as a number of bytes."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuse what is no size, and nothing."""
        from pydantic import ByteSize, TypeAdapter, ValidationError

        try:
            found = int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            found = 0
        if found <= 0:
            self.fail(f"{value!r} is not a size such as 8MiB", param, ctx)
        return found


BYTES = Bytes()


class IncidentIds(TypedDict):
    """Which transactions were the incident: single ids, and ranges of them."""

    incident_xids: tuple[int, ...]
    incident_ranges: tuple[tuple[int, int], ...]


class XidRange(click.ParamType[tuple[int, int]]):
    """A transaction id such as 3587, or the first and last of several: 3587..3760."""

    name = "xid"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Refuse what is no id, and a range from the later to the earlier."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,19})(?:\.\.(\d{1,19}))?", value)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if low > high:
            self.fail(f"{value!r} is no transaction id such as 3587, nor a range such as 3587..3760", param, ctx)
        return low, high


def incident_of(asked: Sequence[tuple[int, int]]) -> IncidentIds:
    """The fields of a RepairRequest that `--incident-xid` fills."""
    return IncidentIds(
        incident_xids=tuple(low for low, high in asked if low == high),
        incident_ranges=tuple((low, high) for low, high in asked if low < high),
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
    mode: str
    where: str | None
    incident_xids: Sequence[tuple[int, int]]
    all_or_nothing: bool
    copy_parameter_group: str | None
    on_conflict: str
    profile: str | None
    region: str | None
    wait_for_window: str | None
    max_cost_usd: float | None


def conflict_options() -> tuple[Callable[[Function], Function], ...]:
    """Who the incident was, and what becomes of rows that others changed after it."""
    return (
        click.option(
            "--incident-xid", "incident_xids", type=XidRange(), multiple=True, metavar="XID",
            help="A transaction of the incident, as rowback diff lists them, or a range: 3587..3760. Repeatable.",
        ),
        click.option(
            "--on-conflict", type=click.Choice([c.value for c in OnConflict]), default=OnConflict.KEEP_LIVE.value,
            show_default=True, help="A row that the incident and somebody later changed.",
        ),
    )  # fmt: skip


def request_options(function: Function) -> Function:
    """INSTANCE and everything that says what to put back."""
    for option in reversed(
        (
            instance_argument,
            click.option("--at", metavar="T", help="Target time, ISO 8601 with offset: 2026-11-22T14:20:00Z."),
            click.option("--tz", metavar="ZONE", help="IANA zone for a target time without offset."),
            click.option("--database", metavar="D", help="The affected database."),
            click.option(
                "--table", "tables", metavar="S.T", multiple=True,
                help="A table or pattern to put back (default: the whole database). Repeatable.",
            ),
            click.option(
                "--except", "leave_out", metavar="S.T", multiple=True,
                help="A table or pattern to leave as it is. Repeatable.",
            ),
            click.option(
                "--transport", type=click.Choice([t.value for t in Transport]), default=Transport.DUMP.value,
                show_default=True, help="pg_dump to disk, or rows streamed by COPY.",
            ),
            click.option(
                "--mode", type=click.Choice([m.value for m in Mode]),
                default=Mode.MISSING.value, show_default=True,
                help="missing: put lost rows back. repair: also revert rows the incident changed. replace: back to T."
                " beside: load T's tables into a schema of their own.",
            ),
            click.option("--where", metavar="SQL", help="Only rows of the one --table that fit, and rows on them."),
            *conflict_options(),
            click.option(
                "--all-or-nothing", is_flag=True,
                help="One row that cannot come back keeps all others away (default: it is set aside and named).",
            ),
            click.option(
                "--copy-parameter-group", metavar="NAME",
                help="Parameter group of the temporary instance (default: RDS's own).",
            ),
            click.option(
                "--max-cost", "max_cost_usd", type=click.FloatRange(min=0, min_open=True), metavar="USD",
                help="Let the temporary instance expire before it costs more (reap removes it then); refuse if unsure.",
            ),
            click.option("--wait-for-window", metavar="10m", help="Wait for the restore window to reach T."),
            profile_option,
            region_option,
        )
    ):  # fmt: skip
        function = option(function)
    return function


profile_option = click.option(
    "--profile", metavar="NAME", help="Profile in rowback.toml.", shell_complete=complete_profile
)
instance_argument = click.argument("instance", required=False, shell_complete=complete_instance)
case_argument = click.argument("case_id", metavar="CASE", shell_complete=complete_case)


def profile_of(asked: Asked) -> Profile:
    """The named profile with --region on top."""
    profile = load_profile(asked["profile"])
    return profile.model_copy(update={"region": asked["region"] or profile.region})


def request_of(asked: Asked) -> Request:
    """One frozen request out of flags and profile. Raises usage for what is missing."""
    from recovery.compare.scope import ScopeRequest
    from recovery.workflow.asking import Request

    profile = profile_of(asked)
    instance, database = asked["instance"] or profile.instance, asked["database"] or profile.database
    at = asked["at"]
    if not (instance and at and database):
        raise _missing(instance, at, database)
    return Request(
        instance=instance,
        database=database,
        target_time=parse_target_time(at, zone=asked["tz"]),
        scope=ScopeRequest(tables=tuple(asked["tables"]), leave_out=tuple(asked["leave_out"])),
        transport=Transport(asked["transport"]),
        profile=profile,
        wait_for_window_s=seconds(asked["wait_for_window"] or "0s"),
        repair=RepairRequest(
            mode=Mode(asked["mode"]),
            on_conflict=OnConflict(asked["on_conflict"]),
            **incident_of(asked["incident_xids"]),
        ),
        where=asked["where"],
        all_or_nothing=asked["all_or_nothing"],
        copy_parameter_group=asked["copy_parameter_group"],
        max_cost_usd=asked["max_cost_usd"],
        profile_name=asked["profile"],
    )


def objectives_of(profile: Profile) -> Objectives:
    """RTO and RPO of the profile, in seconds."""
    return Objectives(
        recovery_time_s=round(profile.rto_minutes * 60) if profile.rto_minutes else None,
        data_loss_s=round(profile.rpo_minutes * 60) if profile.rpo_minutes else None,
    )


def seconds(text: str) -> float:
    """`90s`, `10m`, `2h`, `1d` as seconds. Raises usage."""
    found = re.fullmatch(r"(\d{1,12})([smhd])", text)
    if found and (length_s := int(found[1]) * UNITS_S[found[2]]) <= LONGEST_S:
        return float(length_s)
    raise RowbackError(
        ErrorId.USAGE,
        f"'{text}' is not a duration",
        state=NOTHING_CREATED,
        help="write it like 90s, 10m, 2h or 1d",
    )


def confirm(database: str, given: str | None, *, instead: str | None = None) -> None:
    """The user types the live database's name, or gives it as --confirm. Raises confirmation-missing."""
    if given is None and sys.stdin.isatty():
        given = click.prompt(
            f"Type the name of the live database to go on ({database})",
            err=True,
            default="",
            show_default=False,
        )
    if given != database:
        said = "nobody confirmed" if not given else f"'{given}' is not its name"
        raise RowbackError(
            ErrorId.CONFIRMATION_MISSING,
            f"database '{database}' is about to be written to and {said}",
            state="nothing was written to the original" if instead else NOTHING_CREATED,
            help=f"read the plan above, then: {instead}"
            if instead
            else f"read the plan above, then add --confirm {shell_word(database)}",
        )


def approver(database: str, confirmed: str | None, loss: int | None) -> Callable[[RepairPlan], None]:
    """Show a repair plan and have it approved: by typing the database's name, or beforehand with --confirm.

    A plan that gives up rows written after T needs their exact number as well. Raises confirmation-missing.
    """

    def approve(plan: RepairPlan) -> None:
        from recovery.report.repair_text import repair_text

        click.echo("\n" + repair_text(plan) + "\n", err=True)
        _confirm_loss(plan, database, loss)
        confirm(
            database, confirmed, instead=f"rowback apply {plan.case} {plan.digest[:8]} --confirm {shell_word(database)}"
        )

    return approve


def _confirm_loss(plan: RepairPlan, database: str, loss: int | None) -> None:
    if plan.loses and loss is None and sys.stdin.isatty():
        loss = click.prompt(
            f"{plan.loses:,} rows lose what was written after T. Type that number to go on", err=True, type=int
        )
    if plan.loses and loss != plan.loses:
        classes = [kind for kind in WRITTEN_AFTER_T if any(table.count(kind) for table in plan.tables)]
        listed = "".join(f" --show {kind.name.lower()}" for kind in classes)
        said = "nobody confirmed that" if loss is None else f"{loss} is not that number"
        raise RowbackError(
            ErrorId.CONFIRMATION_MISSING,
            f"{counted(plan.loses, 'row')} would lose what was written to them after T, and {said}",
            state="nothing was written to the original",
            help=f"look at them: rowback diff {plan.case}{listed}; then: rowback apply {plan.case}"
            f" {plan.digest[:8]} --confirm {shell_word(database)} --confirm-loss {plan.loses}",
        )


def _missing(instance: str | None, at: str | None, database: str | None) -> RowbackError:
    """What is missing, and the command with all that was given."""
    given = {"INSTANCE": instance, "--at": at, "--database": database}
    what = next(name for name, value in given.items() if not value)
    quoted = [shell_word(value) if value else name for name, value in
              (("INSTANCE", instance), ("TIME", at), ("DATABASE", database))]  # fmt: skip
    command = "rowback {} {} --at {} --database {}".format(click.get_current_context().info_name, *quoted)
    form = "" if at else "; a TIME is written like 2026-11-22T14:20:00Z, or found: rowback find INSTANCE"
    return RowbackError(
        ErrorId.USAGE, f"{what} is missing", state=NOTHING_CREATED, help=command + form.replace("INSTANCE", quoted[0])
    )
