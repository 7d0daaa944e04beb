"""A plan as the command that asks for it again: a printed command must not ask for more than the user did."""

from __future__ import annotations

from guards.plain_text import shell_word
from recovery.model.load_strategy import LoadStrategy
from recovery.model.modes import DEFAULT
from recovery.model.recovery_plan import LEFT_OUT_BY_EXCEPT, RecoveryPlan, Transport, Why
from recovery.model.repair_plan import RepairRequest
from recovery.model.row_class import OnConflict
from recovery.model.target import format_utc


def command_for(verb: str, plan: RecoveryPlan, *options: str) -> str:
    """`rowback VERB` for the plan's instance, T, database and profile, how its copy is made, and with `options`.

    Each is quoted for a shell.
    """
    settings = plan.copy_settings
    return " ".join(
        (
            f"rowback {verb} {plan.source.identifier} --at {format_utc(plan.target_time)}",
            f"--database {shell_word(plan.database)}",
            *([f"--profile {shell_word(plan.profile)}"] if plan.profile else ()),
            *([f"--copy-parameter-group {shell_word(settings.parameter_group)}"] if settings.parameter_group else ()),
            *(["--inside-vpc"] if settings.inside_vpc else ()),
            *options,
        )
    )


def options_of(plan: RecoveryPlan, request: RepairRequest) -> list[str]:
    """All options that decide what a plan puts back. `request`: the plan's own, or what was asked of its case later.

    Decisions about single rows (an edited CSV) are no option of `plan` or `restore`: they are not among them.
    """
    return [
        *([] if request.mode is DEFAULT.name else [f"--mode {request.mode}"]),
        *incident_options(request),
        *([] if request.on_conflict is OnConflict.KEEP_LIVE else [f"--on-conflict {request.on_conflict}"]),
        *(["--all-or-nothing"] if plan.all_or_nothing else []),
        *([] if plan.transport is Transport.DUMP else [f"--transport {plan.transport}"]),
        *([] if plan.load is LoadStrategy.AUTO else [f"--load {plan.load}"]),
        *([f"--where {shell_word(plan.where)}"] if plan.where is not None else []),
        *table_options(plan),
        *(
            f"--except {shell_word('.'.join(out.name.key))}"
            for out in plan.left_out
            if out.reason == LEFT_OUT_BY_EXCEPT
        ),
    ]


def table_options(plan: RecoveryPlan) -> list[str]:
    """The tables that were named, as they were typed; none for a whole database."""
    named = dict.fromkeys(table.because for table in plan.tables if table.why is Why.NAMED)
    dropped = [".".join(name.key) for name in plan.dropped]
    return [f"--table {shell_word(text)}" for text in (*named, *dropped)]


def incident_options(request: RepairRequest) -> list[str]:
    """The options that name the incident's transactions."""
    named = [f"--incident-xid {xid}" for xid in request.incident_xids]
    return named + [f"--incident-xid {low}..{high}" for low, high in request.incident_ranges]
