"""What a plan cannot fix beforehand: how long it will take, what it costs, who is in the way. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from recovery.aws.describe_protection import Protections
from recovery.aws.price_list import price_of
from recovery.aws.restorable_source import RestorableSource
from recovery.config import Profile
from recovery.errors import RowbackError
from recovery.incident.rank_suspects import Question
from recovery.incident.statement_redaction import without_values
from recovery.investigation.find_incident import Search, find
from recovery.model.incident_findings import Suspect
from recovery.model.outlook import LEAST_BILLED_S, Cost, Outlook, PastDuration
from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.target import format_utc
from recovery.planning.check_request import Request
from recovery.planning.original_login import target_on_original
from recovery.postgres.change_consumers import lock_holders, who_notices
from recovery.postgres.connect import IMPATIENT, Session, connect
from recovery.postgres.wal_and_replica_lag import wal_bytes_per_s
from recovery.store.case_directory import Case, all_cases

INCIDENT_WITHIN = timedelta(minutes=15)
SUSPECTS_SHOWN = 3


def look_ahead(plan: RecoveryPlan, instances: RestorableSource, profile: Profile) -> Outlook:
    """Everything but the log. What RDS does not say for want of a permission is None. Raises what connecting raises."""
    duration = _learned(plan, all_cases())
    replay_from = _replay_from(plan, instances)
    replay_s = (plan.target_time - replay_from).total_seconds() if replay_from else None
    with connect(target_on_original(instances.get(plan.source.identifier), plan.database, profile)) as original:
        original.execute(IMPATIENT)
        return Outlook(
            replay_from=replay_from,
            replay_s=replay_s,
            wal_bytes=_wal_bytes(original, replay_s),
            duration=duration,
            cost=_cost(plan, duration),
            in_the_way=tuple(_in_the_way(original, plan)),
            listeners=tuple(who_notices(original, plan.scope)),
        )


def with_incident(outlook: Outlook, plan: RecoveryPlan, profile: Profile) -> Outlook:
    """The same, with what the log says of the minutes after T."""
    question = Question(database=plan.database)
    search = Search(plan.source.identifier, plan.target_time, plan.target_time + INCIDENT_WITHIN, question, profile)
    try:
        finding = find(search, lambda text: None)
    except RowbackError as error:
        return outlook.model_copy(update={"incident": (f"the log could not be read: {error.fact}",)})
    lines = [_suspect_line(suspect) for suspect in finding.suspects[:SUSPECTS_SHOWN]]
    return outlook.model_copy(update={"incident": tuple(lines) or ("no statement in it could have been the incident",)})


def _in_the_way(original: Session, plan: RecoveryPlan) -> Iterator[str]:
    for holder in lock_holders(original, plan.scope):
        does = "the load waits for it" if holder.writes else "only reads"
        yield f"{holder.who}; {does}: {without_values(holder.query)}"


def _suspect_line(suspect: Suspect) -> str:
    what = "; ".join(suspect.effects) or suspect.statement
    who = f" by {suspect.role}" if suspect.role else ""
    return f"{format_utc(suspect.from_time)} {suspect.outcome}: {what}{who}"


def _replay_from(plan: RecoveryPlan, instances: RestorableSource) -> datetime | None:
    try:
        return Protections.connect(instances.region).automated_before(plan.source, plan.target_time)
    except RowbackError:
        return None


def _wal_bytes(original: Session, replay_s: float | None) -> int | None:
    rate = wal_bytes_per_s(original)
    return round(rate * replay_s) if rate is not None and replay_s is not None else None


def _learned(plan: RecoveryPlan, cases: Sequence[Case]) -> PastDuration | None:
    """From recovered cases of this instance; without any, from those of others."""
    recovered = [case for case in cases if case.outcome == "recovered"]
    same = [case for case in recovered if case.plan.source.resource_id == plan.source.resource_id]
    durations_s = [_seconds(case) for case in same or recovered]
    if not durations_s:
        return None
    return PastDuration(
        typical_s=median(durations_s),
        least_s=min(durations_s),
        most_s=max(durations_s),
        cases=len(durations_s),
        of=f"'{plan.source.identifier}'" if same else "other instances",
    )


def _seconds(case: Case) -> float:
    return round(sum(step.seconds for step in case.steps.values()), 1)


def _cost(plan: RecoveryPlan, duration: PastDuration | None) -> Cost | None:
    price = price_of(
        plan.copy_settings.instance_class, plan.source.region, plan.copy_settings.storage_like(plan.source)
    )
    if price is None:
        return None
    hourly = price.hourly(plan.source.allocated_gib)
    expected = hourly * max(duration.typical_s, LEAST_BILLED_S) / 3600 if duration else None
    return Cost(price=price, expected_usd=expected, most_usd=hourly * plan.copy_settings.expires_after_hours)


def of_copies(count: int, request: Request, instances: RestorableSource) -> str:
    """What that many copies one after the other take and cost, in words; unknown is said to be."""
    source = instances.get(request.instance)
    price = price_of(request.profile.copy_class or source.instance_class, source.region, source.storage)
    closed_cases = [
        case for case in all_cases() if case.plan.source.resource_id == source.resource_id and case.closed_at
    ]
    typical = median(_seconds(case) for case in closed_cases) if closed_cases else None
    time = f"about {typical * count / 60:,.0f} min" if typical is not None else "how long was never measured here"
    if price is None:
        return f"{time}, cost unknown"
    each_s = max(typical or 0.0, LEAST_BILLED_S)
    return f"{time}, at least ${price.hourly(source.allocated_gib) * each_s / 3600 * count:,.2f} ({price.source})"
