"""Fold a case's journal into where it stands. Looking takes no lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

from recovery.errors import ErrorId
from recovery.model.case_progress import Standing, Status, StepStanding
from recovery.model.row_class import OnConflict
from recovery.store.case_directory import Case, fold
from recovery.store.journal import Record, is_driven, read_records
from recovery.workflow.case_account import account_of
from recovery.workflow.case_lifecycle import STEPS, outcome_of_load
from recovery.workflow.case_report import report_of

# Shares of the time where no past case tells: nearly all of it is waiting for RDS (sources: RDS-duration).
USUAL_S: Mapping[str, float] = {
    "await-copy": 900.0,
    "secure-copy": 60.0,
    "extract": 60.0,
    "load": 60.0,
    "remove-copy": 60.0,
}
ENDS: Mapping[str, Standing] = {
    "recovered": Standing.RECOVERED,
    "recovered in part": Standing.IN_PART,
    "loaded beside": Standing.BESIDE,
}
FOR_PEOPLE = {ErrorId.APPROVAL_MISSING.value, ErrorId.CONFIRMATION_MISSING.value}


def status_of(case: Case, records: Sequence[Record], past: Sequence[Case]) -> Status:
    """Where `case` stands. `past`: cases to learn from."""
    driven = is_driven(case.directory)
    typical = _typical([each for each in past if each.outcome in ENDS])
    steps = tuple(
        StepStanding(
            name=step.name,
            done=case.outcome_of(step.name) is not None,
            begun=step.name in case.steps and case.steps[step.name].attempts > 0,
            seconds=round(_so_far(case, step.name, records, driven=driven), 1),
        )
        for step in STEPS
    )
    current = None if case.closed_at else next((step.name for step in steps if not step.done), None)
    standing, reason = _standing(case, records, driven=driven)
    verification = report_of(case).verification
    return Status(
        case=case.id,
        seq=records[-1].seq,
        at=records[-1].at,
        opened_at=case.opened_at,
        instance=case.plan.source.identifier,
        database=case.plan.database,
        target_time=case.plan.target_time,
        standing=standing,
        reason=reason,
        steps=steps,
        current=current,
        progress=_progress(steps, typical or USUAL_S, over=case.closed_at is not None),
        eta_s=_eta(steps, typical) if standing is Standing.WORKING else None,
        rows=verification.rows if verification and not case.taken_back else None,
        not_back=account_of(case).not_back if verification and not case.taken_back else 0,
        not_deleted=account_of(case).not_deleted if verification and not case.taken_back else 0,
        written=case.wrote_to_original and not case.taken_back,
        keeps_newer=not case.request.reload_mode.overwrites_newer and case.request.on_conflict is OnConflict.KEEP_LIVE,
        copy_exists=case.outcome_of("start-copy") is not None and case.outcome_of("remove-copy") is None,
    )


def current_status(case: Case, past: Sequence[Case]) -> Status:
    """The same case as its journal is at this moment."""
    records = read_records(case.directory)
    return status_of(fold(case.directory, records), records, past)


def _standing(case: Case, records: Sequence[Record], *, driven: bool) -> tuple[Standing, str]:
    if case.taken_back:
        return Standing.TAKEN_BACK, "what was written was taken back"
    if case.closed_at:
        return ENDS.get(case.outcome, Standing.CLOSED), case.outcome
    failed = next((r for r in reversed(records) if r.event in ("step.failed", "step.start", "step.done")), None)
    if failed is not None and failed.event == "step.failed":
        waits = failed.data.get("id") in FOR_PEOPLE
        return (Standing.WAITING if waits else Standing.PAUSED), str(failed.data["error"])
    if driven:
        return Standing.WORKING, ""
    if case.outcome_of("verify") is not None:
        return ENDS[outcome_of_load(case)], "the copy is still there"
    waits = case.outcome_of("diff") is not None and not case.stops  # compared step by step: a person decides now
    return (Standing.WAITING if waits else Standing.PAUSED), (case.stops[-1] if case.stops else "")


def _so_far(case: Case, name: str, records: Sequence[Record], *, driven: bool) -> float:
    state = case.steps.get(name)
    if state is None:
        return 0.0
    if state.done is not None or not driven:
        return state.seconds
    begun = next((r.at for r in reversed(records) if r.event == "step.start" and r.step == name), None)
    return state.seconds + ((datetime.now(UTC) - begun).total_seconds() if begun else 0.0)


def _typical(past: Sequence[Case]) -> dict[str, float]:
    return {
        step.name: median(case.steps[step.name].seconds for case in past if step.name in case.steps)
        for step in STEPS
        if any(step.name in case.steps for case in past)
    }


def _progress(steps: Sequence[StepStanding], typical: Mapping[str, float], *, over: bool) -> float:
    if over:
        return 1.0
    whole = sum(max(typical.get(step.name, 1.0), 0.05) for step in steps)
    finished_s = 0.0
    for step in steps:
        share = max(typical.get(step.name, 1.0), 0.05)
        finished_s += share if step.done else min(step.seconds, 0.95 * share)
    return round(min(finished_s / whole, 0.99), 3)


def _eta(steps: Sequence[StepStanding], typical: Mapping[str, float]) -> float | None:
    if not typical:
        return None
    remaining_s = sum(max(typical.get(step.name, 0.0) - step.seconds, 0.0) for step in steps if not step.done)
    return round(remaining_s, 1)
